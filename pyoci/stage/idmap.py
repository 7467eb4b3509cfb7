"""The id mappings of a user namespace, written from outside; user_namespaces(7)."""

import errno
import os
from collections.abc import Sequence

from pyoci import programs
from pyoci.config.model import IDMapping
from pyoci.errors import Error
from pyoci.stage.procfile import write_file
from pyoci.steps import Write

HELPER_DIRECTORIES = ("/usr/bin", "/bin", "/usr/local/bin")


def write_maps(pid: int, uids: Sequence[IDMapping], gids: Sequence[IDMapping]) -> None:
    """Write the id mappings of the user namespace of *pid*.

    Root writes them; others may map only themselves, and need the setuid helpers newuidmap(1) and
    newgidmap(1) for more, which check /etc/subuid and /etc/subgid.

    Raises:
        Error: a mapping is refused.
    """
    if os.geteuid() == 0:
        _write(pid, "uid_map", uids)
        _write(pid, "gid_map", gids)
    elif _is_own(uids, os.geteuid()) and _is_own(gids, os.getegid()):
        what = "denying setgroups(2)"
        write_file(pid, Write(file="setgroups", text="deny", what=what, origin="/linux/gidMappings"))
        _write(pid, "uid_map", uids)
        _write(pid, "gid_map", gids)
    else:
        _run_helper("newuidmap", pid, uids, "/linux/uidMappings")
        _run_helper("newgidmap", pid, gids, "/linux/gidMappings")


def _is_own(maps: Sequence[IDMapping], own: int) -> bool:
    return len(maps) == 1 and maps[0].size == 1 and maps[0].hostID == own


def _write(pid: int, file: str, maps: Sequence[IDMapping]) -> None:
    hints = {errno.EINVAL: "the ranges must not overlap and be owned by pyoci's user"}
    origin = f"/linux/{file[:3]}Mappings"
    write_file(pid, Write(file=file, text=map_text(maps), what=f"writing {file}", origin=origin, hints=hints))


def map_text(maps: Sequence[IDMapping]) -> str:
    """Return id mappings as the kernel reads them; user_namespaces(7)."""
    return "".join(f"{each.containerID} {each.hostID} {each.size}\n" for each in maps)


def _run_helper(name: str, pid: int, maps: Sequence[IDMapping], origin: str) -> None:
    """Run newuidmap(1) or newgidmap(1) by absolute path, with an empty environment."""
    for directory in HELPER_DIRECTORIES:
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            break
    else:
        raise Error(f"mapping ids without privilege needs {name}, which is not installed", origin)
    numbers = [str(number) for m in maps for number in (m.containerID, m.hostID, m.size)]
    status, output = programs.run_program(path, [path, str(pid), *numbers], [], b"", timeout=30)
    if status != 0:
        raise Error(f"{name} refused the mapping: {output}", origin)
