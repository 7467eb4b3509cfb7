"""Why a cgroup of v2 cannot have processes; cgroup-v2.rst, "Threads" and "No Internal Process Constraint"."""

import errno

from pyoci.cgroups.files import read_or
from pyoci.errors import KernelError

# The errnos of the kernel for a cgroup that cannot have processes.
UNFIT = (errno.EBUSY, errno.EOPNOTSUPP)
# Controllers that a cgroup may enable for its children although it has processes itself.
THREADED = ("cpu", "cpuset", "perf_event", "pids")


def explain(error: KernelError, directory: str) -> None:
    """Add to the error of a process that could not enter the cgroup why the cgroup cannot have processes."""
    if error.number in UNFIT and not error.more:
        error.more = unfitness(directory, ())


def unfitness(directory: str, harmless: tuple[str, ...] = THREADED) -> str:
    """Return why the cgroup cannot have processes, or "" if it can.

    harmless lists controllers that do not matter when they are enabled for the cgroup's children.
    """
    kind = read_or(f"{directory}/cgroup.type", "").strip()
    if kind == "threaded":
        return f"the cgroup {directory} is threaded: it takes only threads of the processes of its domain"
    if kind == "domain invalid":
        return f"the cgroup {directory} lies in a threaded one, where only threaded cgroups can be used"
    enabled = [name for name in read_or(f"{directory}/cgroup.subtree_control", "").split() if name not in harmless]
    if enabled:
        return f"the cgroup {directory} has controllers enabled for its children: {' '.join(enabled)}"
    return ""
