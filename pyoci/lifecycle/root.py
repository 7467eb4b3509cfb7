"""The state root, below which every container has its directory: made, opened, and checked for its owner."""

import os
import stat

from pyoci.errors import Error, wrap

O_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def require_ours(found: os.stat_result, what: str, *, shared: bool = False) -> None:
    """Require that a file or directory belongs to root or to us, and that no other user can change it.

    With shared others may write to a directory where they cannot remove or rename what is ours, as in /tmp.

    Raises:
        Error: it belongs to somebody else, or can be written by others.
    """
    if found.st_uid not in (0, os.geteuid()):
        raise Error(f"{what} belongs to user {found.st_uid}; pyoci believes only what root or its own user has made")
    if found.st_mode & OTHERS_WRITE and not (shared and found.st_mode & stat.S_ISVTX):
        raise Error(f"{what} can be written by others (mode {stat.S_IMODE(found.st_mode):04o})")


def open_root(root: str) -> int:
    """Open the state root; OSError when there is none.

    Raises:
        Error: somebody else could change what is in it.
    """
    fd = os.open(root, O_DIRECTORY)
    try:
        require_ours(os.fstat(fd), f"the state root {root}", shared=True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def make_root(root: str) -> None:
    """Make the state root and its missing parents, mode 0700."""
    try:
        os.stat(root)
    except FileNotFoundError:
        parent = root.rpartition("/")[0]
        if parent:
            make_root_parents(parent)
        try:
            os.mkdir(root, 0o1700)  # sticky: what prunes XDG_RUNTIME_DIR passes over it
        except FileExistsError:
            return
        except OSError as error:
            raise wrap(f"making the state root {root}", error, hint=root_hint(root)) from error


def root_hint(root: str) -> str:
    """Say what the place of a state root that cannot be made comes from."""
    guessed = root.startswith("/run/user") and not os.environ.get("XDG_RUNTIME_DIR")
    return "XDG_RUNTIME_DIR is not set, which names a directory for it, as --root does" if guessed else ""


def make_root_parents(path: str) -> None:
    """Make the missing parents of the state root."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_root_parents(path.rpartition("/")[0])
        os.mkdir(path, 0o700)
    except OSError as error:
        raise wrap(f"making {path}", error, hint=root_hint(path)) from error
