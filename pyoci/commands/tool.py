"""A verb of the tool circle: run it here, or from the static file in the package that is installed beside it.

    PREFIX/bin/pyoci          the static file: has no such verb
    PREFIX/libexec/pyoci      the launcher (native/launcher.c): checks and runs PREFIX/lib/pyoci

In the tree, and where somebody copies an installation's parts together, the static file is in PREFIX itself.
"""

import posix
import sys

from pyoci.errors import Error, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyoci.cli import Command

S_IFMT, S_IFLNK, SHARED = 0o170000, 0o120000, 0o022


def run(command: "Command") -> int:
    """Do what the verb says.

    Raises:
        Error: the static file has no package beside it, or one that somebody else could have changed.
    """
    if getattr(sys, "frozen", False):
        hand_over(command.verb)
    match command.verb:
        case "validate":
            from pyoci.tools.validate import run
        case _:
            from pyoci.tools.completion import run
    return run(command)


def hand_over(verb: str) -> "NoReturn":
    """Become the installed package's command, with the words and the environment that we were given.

    Raises:
        Error: there is none, or it is not to be trusted.
    """
    launcher = find_launcher()
    if not launcher:
        raise Error(
            f"{verb} needs pyoci's Python package, and this file stands alone: install both (make install), "
            f"or run python3 -m pyoci {verb} where pip has installed it"
        )
    for path in (launcher.rpartition("/")[0], launcher):
        check(path)
    try:
        posix.execve(launcher, sys.argv, posix.environ)
    except OSError as error:
        raise wrap(f"running {launcher}", error) from error


def find_launcher() -> str:
    """Give the path of the launcher beside the static file, "" where there is none."""
    try:
        here = posix.readlink("/proc/self/exe").rpartition("/")[0]
    except OSError:
        return ""
    for prefix in (here.rpartition("/")[0], here):
        path = f"{prefix}/libexec/pyoci"
        try:
            posix.lstat(path)
        except OSError:
            continue
        return path
    return ""


def check(path: str) -> None:
    """Refuse what others could have put there; the launcher does so with what it starts.

    Whoever can change the directories above can change the static file, too.
    """
    try:
        status = posix.lstat(path)
    except OSError as error:
        raise wrap(f"checking {path}", error) from error
    if status.st_mode & S_IFMT == S_IFLNK:
        raise Error(f"{path}: is a symbolic link; refusing to run it")
    if status.st_uid not in (0, posix.geteuid()):
        raise Error(f"{path}: belongs to another user; refusing to run it")
    if status.st_mode & SHARED:
        raise Error(f"{path}: others can write it; refusing to run it (chmod go-w)")
