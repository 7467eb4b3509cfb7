"""Writing values to the files of a cgroup, and explaining why the kernel refuses one."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from pyoci.cgroups.files import read_or, shown, write
from pyoci.errors import KernelError, wrap

PERIOD = "a period has 1000 to 1000000 microseconds"
QUOTA = "a quota has at least 1000 microseconds (-1: unlimited), and is no larger share of its period than one above it"
BURST = "a burst is no longer than the quota, and there is none without a quota"
REALTIME = "the realtime runtime is no longer than its period (-1: unlimited), and no larger a share than one above it"
TOGETHER = "the limit of memory and swap together must not be less than that of memory"
# The values that the kernel accepts, by file; it refuses others with EINVAL.
RANGES = {
    "cpu.cfs_period_us": PERIOD,
    "cpu.cfs_quota_us": QUOTA,
    "cpu.cfs_burst_us": BURST,
    "cpu.rt_period_us": REALTIME,
    "cpu.rt_runtime_us": REALTIME,
    "cpu.max": f"{QUOTA}; {PERIOD}",
    "cpu.max.burst": BURST,
    "memory.limit_in_bytes": TOGETHER,
    "memory.memsw.limit_in_bytes": TOGETHER,
    "pids.max": "at most 4194304 tasks are possible",
    "blkio.weight": "a weight is 10 to 1000",
    "blkio.weight_device": "a weight is 10 to 1000",
    "blkio.leaf_weight": "a weight is 10 to 1000",
    "blkio.leaf_weight_device": "a weight is 10 to 1000",
    "blkio.bfq.weight": "a weight is 1 to 1000",
    "io.bfq.weight": "a weight is 1 to 1000",
    "io.weight": "a weight is 10 to 1000",
}
# The errnos for CPUs and memory nodes that the machine or the cgroup above does not have, or for a malformed list.
NOT_AVAILABLE = (errno.EINVAL, errno.ERANGE, errno.EACCES, errno.ENOSPC, errno.ENODEV)
AVAILABLE = {
    "cpuset.cpus": ("CPUs", ("cpuset.cpus.effective", "cpuset.effective_cpus")),
    "cpuset.mems": ("memory nodes", ("cpuset.mems.effective", "cpuset.effective_mems")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One value for one file of a cgroup.

    controller: the controller that the file belongs to.
    pointer: the JSON pointer of the setting.
    tolerated: errnos that are not errors for this value.
    instead: what to write if the kernel does not have the file.
    postponed: the value depends on others; if the kernel refuses it with EINVAL, it is written again at the end.
    """

    controller: str
    file: str
    value: str
    pointer: str
    tolerated: tuple[int, ...] = ()
    instead: Self | None = None
    postponed: bool = False


def perform(writes: Sequence[Write], directory_of: Callable[[str], str | None]) -> None:
    """Write all values in order; directory_of returns the directory for a controller, or None.

    Raises:
        KernelError: the kernel refuses a value, or does not have the controller or the file.
    """
    again = [one for one in writes if _perform(one, directory_of, one.postponed)]
    for one in again:
        _perform(one, directory_of, postpone=False)


def _perform(one: Write, directory_of: Callable[[str], str | None], postpone: bool) -> bool:
    """Write one value; return True if it must be written again later."""
    directory = directory_of(one.controller)
    if directory is None:
        if errno.ENOENT in one.tolerated:
            return False
        raise KernelError(
            f"setting {one.file} to {shown(one.value)}",
            errno.ENOENT,
            one.pointer,
            f"the host has no {one.controller} controller in use",
        )
    try:
        write(f"{directory}/{one.file}", one.value)
    except OSError as error:
        if error.errno == errno.ENOENT and one.instead is not None:
            return _perform(one.instead, directory_of, postpone)
        if postpone and error.errno == errno.EINVAL:
            return True
        if error.errno not in one.tolerated:
            raise wrap(
                f"setting {directory}/{one.file} to {shown(one.value)}",
                error,
                one.pointer,
                _hint(one, error.errno, directory),
            ) from error
    return False


def _hint(one: Write, number: int | None, directory: str) -> str:
    if number == errno.ENOENT:
        return f"the {one.controller} controller of this kernel has no such file here, or is not enabled"
    if number == errno.EBUSY and one.controller == "memory":
        return "more memory is in use"
    if number in NOT_AVAILABLE and one.file in AVAILABLE:
        return _available(one.file, directory)
    return RANGES.get(one.file, "") if number in (errno.EINVAL, errno.ERANGE) else ""


def _available(file: str, directory: str) -> str:
    """Return which CPUs or memory nodes can be used: those of the cgroup above."""
    kind, names = AVAILABLE[file]
    above = directory.rpartition("/")[0]
    usable = next((text for name in names if (text := read_or(f"{above}/{name}", "").strip())), "")
    return f"the {kind} that can be used here are {usable}" if usable else ""
