"""Starting a process in a cgroup: clone3(2) creates it in a cgroup of v2, or it is moved there, as into those of v1.

Only a cgroup that pyoci has created is used with clone3(2).  An existing cgroup may have been killed before, and recent
kernels kill every process that is cloned into such a cgroup.  (They compare how often the cgroup and that of the parent
were killed, so it can happen with a new cgroup, too.)  Moving a process there does not have this effect.
"""

import errno
import os
from collections.abc import Callable, Mapping
from typing import TypeVar

from pyoci.cgroups.cgroup import Cgroup
from pyoci.cgroups.files import read_or
from pyoci.cgroups.unfit import UNFIT, explain
from pyoci.errors import KernelError

# The errnos for the cgroup of a container that has moved its processes elsewhere, and may have removed the cgroup.
LEFT = (*UNFIT, errno.ENOENT)
KILLED_AT_BIRTH = errno.ECHILD

Started = TypeVar("Started")


def start(cgroup: Cgroup, spawn: Callable[[int | None], Started]) -> tuple[Started, bool]:
    """Start a process by *spawn*, which takes a descriptor of the cgroup's directory of v2, or None.

    Return what *spawn* returns, and whether the process is in that directory's cgroup.

    Raises:
        KernelError: the process could not be started, or the cgroup cannot have it.
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
            os.close(directory)
    return spawn(None), False


def tell_reached_limit(error: BaseException, paths: Mapping[str, str]) -> None:
    """Add to an EAGAIN error which limit of tasks was reached, that of the cgroup or of one above it."""
    if not isinstance(error, KernelError) or error.number != errno.EAGAIN or error.more:
        return
    directory = paths.get("pids", paths.get("", ""))
    while directory.count("/") > 1:
        limit, present = read_or(f"{directory}/pids.max", "max").strip(), read_or(f"{directory}/pids.current", "0")
        # A process that enters a PID namespace counts twice for a moment.
        if limit != "max" and int(present) + 2 > int(limit):
            error.more = f"the cgroup {directory} is limited to {limit} tasks (pids.max), and has {int(present)}"
            return
        directory = directory.rpartition("/")[0]
    error.more = "a limit of tasks may have been reached: RLIMIT_NPROC, kernel.pid_max, kernel.threads-max"
