"""What the verbs share: the state root, the options of create and run, and output."""

import posix

from pyoci.errors import Error, Interrupted, UsageError, printable, wrap
from pyoci.files import absolute, write_all
from pyoci.lifecycle.directory import open_root
from pyoci.log import error as error_line
from pyoci.options import CreateOptions
from pyoci.undo import notes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.cli import Command

MANAGERS = ("", "cgroupfs", "systemd", "disabled")


def state_root(command: "Command") -> str:
    """Give the directory below which containers are recorded.

    The default of the host's root does not depend on the environment; others, and the root of a user
    namespace, have theirs in XDG_RUNTIME_DIR, where an empty value counts as unset.
    """
    root = str(command.globals["root"])
    if root:
        return absolute(root.rstrip("/") or "/")
    from pyoci.kernel import is_host_root  # --version and --help have no use for it

    if is_host_root():
        return "/run/pyoci"
    runtime = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    return f"{runtime or f'/run/user/{posix.geteuid()}'}/pyoci"


def cgroup_manager(command: "Command") -> str:
    """Give the name of the cgroup manager."""
    name = str(command.globals["cgroup-manager"])
    if name not in MANAGERS:
        raise UsageError(f'the cgroup manager is cgroupfs or disabled, not "{printable(name)}"')
    return "systemd" if command.globals["systemd-cgroup"] else name or "cgroupfs"


def create_options(command: "Command") -> CreateOptions:
    """Turn the options of create or run into what the lifecycle takes."""
    given: Any = command.options
    return CreateOptions(
        bundle=given["bundle"],
        config=given["config"],
        console_socket=given["console-socket"],
        pidfd_socket=given["pidfd-socket"],
        pid_file=given["pid-file"],
        no_pivot=given["no-pivot"],
        no_new_keyring=given["no-new-keyring"],
        preserve_fds=given["preserve-fds"],
        cgroup_manager=cgroup_manager(command),
        detach=given["detach"],
        keep=bool(given.get("keep")),
        expendable=True,
    )


def chosen(command: "Command") -> "list[str]":
    """Give the ids that the verb is for: its first word, or with --regex every container that this matches.

    Raises:
        UsageError: the expression is malformed.
    """
    word = command.words[0]
    if not command.options["regex"]:
        return [word]
    from pyoci.native import ffi, lib  # no other way to name a container needs the extension

    ids = names_below(state_root(command))
    matched = ffi.new("uint8_t[]", len(ids) or 1)
    names = "".join(f"{name}\0" for name in ids)
    if lib.pyoci_regex(raw(word), raw(names), len(ids), matched) < 0:
        raise UsageError(f"{ascii(word)} is not a regular expression")
    return [name for name, found in zip(ids, matched, strict=False) if found]


def names_below(root: str) -> "list[str]":
    """List what a state root holds, in order; one that does not exist yet holds nothing.

    Raises:
        Error: it cannot be read, or somebody else could change it.
    """
    try:
        fd = open_root(root)
        try:
            return sorted(posix.listdir(fd))
        finally:
            posix.close(fd)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise wrap(f"reading the state root {root}", error) from error


def raw(text: str) -> bytes:
    """Give the bytes that a word of the command line, or a file's name, was made of."""
    return text.encode("utf-8", "surrogateescape")


def each(ids: "list[str]", act: "Callable[[str], None]") -> int:
    """Do *act* to every container, whatever happens to the others; gives the exit status.

    Raises:
        Error: what went wrong with the last one that failed; what went wrong with those before is shown.
        Interrupted: a signal has arrived; the others are left as they are.
    """
    failure = None
    for container_id in ids:
        try:
            act(container_id)
        except Interrupted:
            raise
        except Error as error:
            if failure is not None:
                error_line(f"{failure}{notes(failure)}")
            failure = error
    if failure is not None:
        raise failure
    return 0


def show(text: str) -> int:
    """Print to standard output; gives the exit status."""
    try:
        write_all(1, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise wrap("writing to standard output", error) from error
    return 0


def commit() -> str:
    """Return the commit that pyoci was built from."""
    from pyoci.native import ffi, lib  # the other verbs that need this file have no use for it

    return ffi.string(lib.pyoci_commit).decode() or "unknown"


def libseccomp_version() -> str:
    """Return the version of libseccomp that compiles the filters."""
    from pyoci.native import lib

    number = lib.pyoci_seccomp_version()
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}"
