"""How a new process comes into a cgroup: it is born in that of v2, or moved there, as into those of v1.

It is born in a cgroup that pyoci has made.  One that was there before may have been killed before: recent kernels end
every process that is cloned into such a cgroup.  (They compare how often it and the cgroup that the process comes from
were killed, so that it can happen with a new one, too.)  To move a process there has no such effect.
"""

import errno
import posix

from pyoci.cgroups.files import read_or
from pyoci.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from pyoci.cgroups.cgroup import Cgroup

    Started = TypeVar("Started")

# The kernel's answers for a cgroup of v2 that cannot have processes.
UNFIT = (errno.EBUSY, errno.EOPNOTSUPP)
# The same for the cgroup of a container that has moved itself to another, and may have removed its own.
LEFT = (*UNFIT, errno.ENOENT)
KILLED_AT_BIRTH = errno.ECHILD
# Controllers that may be enabled for the children of a cgroup that has processes itself; cgroup-v2.rst, "Threads".
THREADED = ("cpu", "cpuset", "perf_event", "pids")


def start(cgroup: "Cgroup", spawn: "Callable[[int | None], Started]") -> "tuple[Started, bool]":
    """Start a stage, in the cgroup's directory of v2 if that can be; tell whether it is there.

    *spawn* takes that directory, or None.

    Raises:
        KernelError: it could not be started, or the cgroup cannot have it.
    """
    directory = cgroup.descriptor()
    if directory is not None:
        try:
            return spawn(directory), True
        except KernelError as error:
            explain(error, cgroup.paths()[""])
            if error.number != KILLED_AT_BIRTH:
                raise
        finally:
            posix.close(directory)
    return spawn(None), False


def explain(error: KernelError, directory: str) -> None:
    """Add to the error of entering a cgroup of v2 why that cannot have processes."""
    if error.number in UNFIT and not error.more:
        error.more = unfitness(directory, ())


def unfitness(directory: str, harmless: "tuple[str, ...]" = THREADED) -> str:
    """Return why a cgroup of v2 cannot have processes; "" when it can.

    harmless are the controllers that may be enabled for its children.
    """
    kind = read_or(f"{directory}/cgroup.type", "").strip()
    if kind == "threaded":
        return f"the cgroup {directory} is threaded: it takes only threads of the processes of its domain"
    if kind == "domain invalid":
        return f"the cgroup {directory} lies in a threaded one, where none but threaded ones can be used"
    enabled = [name for name in read_or(f"{directory}/cgroup.subtree_control", "").split() if name not in harmless]
    if enabled:
        return f"the cgroup {directory} has controllers enabled for its children: {' '.join(enabled)}"
    return ""


def tell_reached_limit(error: BaseException, paths: "Mapping[str, str]") -> None:
    """Add to an error that says EAGAIN which limit of tasks is reached, of the cgroup or of one above it."""
    if not isinstance(error, KernelError) or error.number != errno.EAGAIN or error.more:
        return
    directory = paths.get("pids", paths.get("", ""))
    while directory.count("/") > 1:
        limit, present = read_or(f"{directory}/pids.max", "max").strip(), read_or(f"{directory}/pids.current", "0")
        # A process that enters a PID namespace is two for a moment.
        if limit != "max" and int(present) + 2 > int(limit):
            error.more = f"the cgroup {directory} may have {limit} tasks at most (pids.max), and has {int(present)}"
            return
        directory = directory.rpartition("/")[0]
    error.more = "a limit of tasks may have been reached: RLIMIT_NPROC, kernel.pid_max, kernel.threads-max"
