"""Stopping all processes of a cgroup, and letting them run on; paths are those of a Cgroup.

The container is frozen in v2 where that is there.  On a hybrid host somebody else may use the freezer of v1, which
holds processes all the same: both are looked at, and both are thawed.
"""

import errno

from pyoci.cgroups.files import Deadline, read, read_or, tree, write
from pyoci.errors import KernelError, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def frozen(paths: "Mapping[str, str]") -> bool:
    """Return whether this cgroup was frozen (not one above it); False when it is gone."""
    files = (("", "cgroup.freeze"), ("freezer", "freezer.self_freezing"))
    return any(read_or(f"{paths[key]}/{file}", "0").strip() == "1" for key, file in files if key in paths)


def holding(paths: "Mapping[str, str]") -> str:
    """Return the directory where a process that enters stands still, as it or one above it is frozen; "" for none."""
    if "" in paths and "frozen 1" in read_or(f"{paths['']}/cgroup.events", ""):
        return paths[""]
    if "freezer" in paths and read_or(f"{paths['freezer']}/freezer.state", "THAWED").strip() != "THAWED":
        return paths["freezer"]
    return ""


def freeze(paths: "Mapping[str, str]", seconds: float) -> None:
    """Do what Cgroup.freeze() promises."""
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
    """Freeze by freezer.state; what hangs in FREEZING often stops at a second try."""
    state = f"{directory}/freezer.state"
    write(state, "FROZEN")
    while read(state).strip() != "FROZEN":
        if not deadline.wait():
            write(state, "THAWED")
            raise KernelError(f"freezing the cgroup {directory}", errno.ETIMEDOUT)
        if deadline.pause >= 50:
            write(state, "THAWED")
        write(state, "FROZEN")


def thaw(paths: "Mapping[str, str]") -> None:
    """Let the processes run on; nothing happens when the cgroup is gone or not frozen."""
    for key, file, value in (("", "cgroup.freeze", "0"), ("freezer", "freezer.state", "THAWED")):
        if key in paths:
            _thaw(paths[key], file, value)


def thaw_killed(paths: "Mapping[str, str]") -> None:
    """Let processes run on that were killed, also where the container has frozen them in a cgroup below its own.

    SIGKILL ends what is frozen in v2, but not what the freezer of v1 holds.
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
