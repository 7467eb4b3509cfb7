"""Freezing and thawing all processes of a cgroup, by v2 or by the freezer controller of v1.

Where the host has v2, pyoci uses that.  On a hybrid host another program may use the freezer of v1, which stops the
processes as well: so both are read, and both are thawed.
"""

import errno
from collections.abc import Mapping

from pyoci.cgroups.files import LONGEST_PAUSE, Deadline, read, read_or, tree, write
from pyoci.errors import KernelError, wrap


def frozen(paths: Mapping[str, str]) -> bool:
    """Return whether the cgroup itself was frozen (not one above it); False if it does not exist."""
    files = (("", "cgroup.freeze"), ("freezer", "freezer.self_freezing"))
    return any(read_or(f"{paths[key]}/{file}", "0").strip() == "1" for key, file in files if key in paths)


def holding(paths: Mapping[str, str]) -> str:
    """Return the directory in which a process would be frozen, because it or one above it is; "" for none."""
    if "" in paths and "frozen 1" in read_or(f"{paths['']}/cgroup.events", ""):
        return paths[""]
    if "freezer" in paths and read_or(f"{paths['freezer']}/freezer.state", "THAWED").strip() != "THAWED":
        return paths["freezer"]
    return ""


def freeze(paths: Mapping[str, str], seconds: float) -> None:
    """See Cgroup.freeze()."""
    deadline, directory = Deadline(seconds), paths.get("", paths.get("freezer", ""))
    if not directory:
        raise KernelError("freezing the container", errno.ENOENT, hint="it has no cgroup with a freezer")
    try:
        if "" in paths:
            _freeze_v2(directory, deadline)
        else:
            _freeze_v1(directory, deadline)
    except OSError as error:
        raise wrap(f"freezing the cgroup {directory}", error) from error


def _freeze_v2(directory: str, deadline: Deadline) -> None:
    write(f"{directory}/cgroup.freeze", "1")
    if not deadline.wait_for(f"{directory}/cgroup.events", "frozen 1"):
        write(f"{directory}/cgroup.freeze", "0")
        raise KernelError(f"freezing the cgroup {directory}", errno.ETIMEDOUT)


def _freeze_v1(directory: str, deadline: Deadline) -> None:
    """Freeze by freezer.state; a process that hangs in FREEZING often stops at the second attempt."""
    state = f"{directory}/freezer.state"
    write(state, "FROZEN")
    while read(state).strip() != "FROZEN":
        if not deadline.wait():
            write(state, "THAWED")
            raise KernelError(f"freezing the cgroup {directory}", errno.ETIMEDOUT)
        if deadline.pause >= LONGEST_PAUSE:
            write(state, "THAWED")
        write(state, "FROZEN")


def thaw(paths: Mapping[str, str]) -> None:
    """Let the processes continue; nothing happens if the cgroup is not frozen or does not exist."""
    for key, file, value in (("", "cgroup.freeze", "0"), ("freezer", "freezer.state", "THAWED")):
        if key in paths:
            _thaw(paths[key], file, value)


def thaw_killed(paths: Mapping[str, str]) -> None:
    """Thaw killed processes, also in cgroups below the container's that the container has frozen itself.

    SIGKILL ends processes that v2 has frozen, but not those that the freezer of v1 holds.
    """
    for directory in tree(paths["freezer"]) if "freezer" in paths else ():
        _thaw(directory, "freezer.state", "THAWED")


def _thaw(directory: str, file: str, value: str) -> None:
    try:
        write(f"{directory}/{file}", value)
    except FileNotFoundError:
        return
    except OSError as error:
        raise wrap(f"thawing the cgroup {directory}", error) from error
