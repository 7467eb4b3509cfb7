"""The rules across the fields of a process and of resources.

Both are part of config.json and documents of their own: exec --process reads a process, update --resources resources.
"""

import re
from collections.abc import Callable, Iterator

from pyoci.config.model import Process
from pyoci.config.readers import escaped, quote
from pyoci.config.resources import Resources

# JSON pointer and message of each violation of a rule.
Found = Iterator[tuple[str, str]]

REALTIME = ("SCHED_FIFO", "SCHED_RR")
CPUS_MAX = 8192  # the largest CONFIG_NR_CPUS
# One entry of a list of CPUs or memory nodes; cpuset(7), "List format".
RANGE = re.compile(r"\s*([0-9]{1,19})(?:-([0-9]{1,19}))?\s*")


# ---- process ----


def console_size_fits(process: Process, at: str) -> Found:
    """The numbers of consoleSize have 16 bits, ioctl_tty(2); without a terminal it is ignored (config.md#process)."""
    size = process.consoleSize
    if size is None or not process.terminal:
        return
    for field, value in (("height", size.height), ("width", size.width)):
        if value > 0xFFFF:
            yield f"{at}/consoleSize/{field}", f"{value} is out of range: 0 to 65535"


def rlimits_are_sound(process: Process, at: str) -> Found:
    """Each type is listed once (config.md#posix-process), and a soft limit is not above the hard one."""
    seen: set[str] = set()
    for index, rlimit in enumerate(process.rlimits):
        if rlimit.type in seen:
            yield f"{at}/rlimits/{index}", f"{rlimit.type} is listed twice"
        seen.add(rlimit.type)
        if rlimit.soft > rlimit.hard:
            yield f"{at}/rlimits/{index}/soft", f"{rlimit.soft} is above the hard limit {rlimit.hard}"


def scheduler_fits_policy(process: Process, at: str) -> Found:
    """The attributes are those that the policy takes (sched(7), sched_setattr(2))."""
    scheduler = process.scheduler
    if scheduler is None:
        return
    at, policy = f"{at}/scheduler", scheduler.policy
    if not -20 <= scheduler.nice <= 19:
        yield f"{at}/nice", f"{scheduler.nice} is out of range: -20 to 19"
    if policy in REALTIME and not 1 <= scheduler.priority <= 99:
        yield f"{at}/priority", f"{policy} needs a priority of 1 to 99, not {scheduler.priority}"
    if policy not in REALTIME and scheduler.priority:
        yield f"{at}/priority", f"{policy} takes no priority"
    if policy == "SCHED_DEADLINE":
        period = scheduler.period or scheduler.deadline  # as in the kernel
        if not 1024 <= scheduler.runtime <= scheduler.deadline <= period < 2**63:
            yield at, "SCHED_DEADLINE needs 1024 <= runtime <= deadline <= period, in nanoseconds"
        return
    for field in ("runtime", "deadline", "period"):
        if getattr(scheduler, field):
            yield f"{at}/{field}", f"{policy} takes no {field}"


def io_priority_is_complete(process: Process, at: str) -> Found:
    """A class that has levels needs a priority (ioprio_set(2))."""
    io = process.ioPriority
    if io and io.priority is None and io.class_ != "IOPRIO_CLASS_IDLE":
        yield f"{at}/ioPriority/priority", f'"priority" is missing: {io.class_} needs one'


def exec_affinity_is_a_list(process: Process, at: str) -> Found:
    """The members initial and final are lists of CPUs (config.md#linux-process)."""
    affinity = process.execCPUAffinity
    if affinity is None:
        return
    for field, value in (("initial", affinity.initial), ("final", affinity.final)):
        listed = number_list(value)
        if listed is None:
            yield f"{at}/execCPUAffinity/{field}", f'{quote(value)} is not a list such as "0-3,7"'
        elif any(each.stop > CPUS_MAX for each in listed) or sum(map(len, listed)) > CPUS_MAX:
            yield f"{at}/execCPUAffinity/{field}", f"{quote(value)} is out of range: 0 to {CPUS_MAX - 1}"


# ---- resources ----


def burst_is_below_quota(resources: Resources, at: str) -> Found:
    """The burst is not above a positive quota (config-linux.md#cpu)."""
    cpu = resources.cpu
    if cpu is not None and cpu.quota is not None and cpu.burst is not None and 0 < cpu.quota < cpu.burst:
        yield f"{at}/cpu/burst", f"burst {cpu.burst} is above quota {cpu.quota}"


def weight_devices_have_weight(resources: Resources, at: str) -> Found:
    """Each entry of weightDevice has weight or leafWeight (config-linux.md#block-io)."""
    for index, device in enumerate(resources.blockIO.weightDevice if resources.blockIO else ()):
        if device.weight is None and device.leafWeight is None:
            yield f"{at}/blockIO/weightDevice/{index}/weight", '"weight" or "leafWeight" is missing'


def rdma_has_limit(resources: Resources, at: str) -> Found:
    """Each entry of rdma has hcaHandles or hcaObjects (config-linux.md#rdma)."""
    for name, limits in resources.rdma.items():
        if limits.hcaHandles is None and limits.hcaObjects is None:
            yield f"{at}/rdma/{escaped(name)}/hcaHandles", '"hcaHandles" or "hcaObjects" is missing'


def unified_keys_are_files(resources: Resources, at: str) -> Found:
    """The keys of unified are names of files in the cgroup's directory (config-linux.md#unified)."""
    for name in resources.unified:
        if not is_file_name(name):
            yield f"{at}/unified/{escaped(name)}", f"{quote(name)} is not the name of a file of a cgroup"


# ---- all of them ----

PROCESS_CHECKS: tuple[Callable[[Process, str], Found], ...] = (
    console_size_fits,
    rlimits_are_sound,
    scheduler_fits_policy,
    io_priority_is_complete,
    exec_affinity_is_a_list,
)

RESOURCE_CHECKS: tuple[Callable[[Resources, str], Found], ...] = (
    burst_is_below_quota,
    weight_devices_have_weight,
    rdma_has_limit,
    unified_keys_are_files,
)


def check_process(process: Process, at: str = "") -> list[tuple[str, str]]:
    """Return JSON pointer and message for every violation; *at* is the pointer of the process in the document."""
    return [problem for check in PROCESS_CHECKS for problem in check(process, at)]


def check_resources(resources: Resources, at: str = "") -> list[tuple[str, str]]:
    """Return JSON pointer and message for every violation; *at* is the pointer of the resources in the document."""
    return [problem for check in RESOURCE_CHECKS for problem in check(resources, at)]


# ---- forms of text ----


def number_list(text: str) -> list[range] | None:
    """Return the ranges of a list such as ``0-3,7`` (cpuset(7), "List format"), or None if *text* is not one."""
    ranges = []
    for part in text.split(",") if text.strip() else ():
        match = RANGE.fullmatch(part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            return None
        ranges.append(range(int(match[1]), int(match[2] or match[1]) + 1))
    return ranges


def is_file_name(name: str) -> bool:
    return "/" not in name and name not in ("", ".", "..")
