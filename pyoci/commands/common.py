"""What the verbs share: the state root, the options of create and run, and output."""

import posix

from pyoci.cgroups.files import unprivileged
from pyoci.errors import Error, UsageError, wrap
from pyoci.options import CreateOptions
from pyoci.state import absolute, write_all

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
    if not unprivileged():
        return "/run/pyoci"
    runtime = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    return f"{runtime or f'/run/user/{posix.geteuid()}'}/pyoci"


def cgroup_manager(command: "Command") -> str:
    """Give the name of the cgroup manager."""
    name = str(command.globals["cgroup-manager"])
    if name not in MANAGERS:
        raise UsageError(f'the cgroup manager is cgroupfs, systemd or disabled, not "{name}"')
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
    )


def for_each(command: "Command", act: "Callable[[str], None]") -> None:
    """Do something to the container that the first word names, or with --regex to all whose id it matches.

    Raises:
        Error: the first failure, when all have had their turn.
    """
    ids = [command.words[0]]
    if command.options["regex"]:
        from pyoci.container import listing
        from pyoci.native import matches

        pattern = ids[0]
        matches(pattern, "")  # a malformed one is an error even where there is no container
        ids = [each["id"] for each in listing(state_root(command)) if matches(pattern, each["id"])]
    failures = []
    for container_id in ids:
        try:
            act(container_id)
        except Error as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


def show(text: str) -> int:
    """Print to standard output; gives the exit status."""
    try:
        write_all(1, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise wrap("writing to standard output", error) from error
    return 0
