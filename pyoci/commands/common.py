"""Helpers of several verbs: the state root, the options of create and run, the selection of containers, output."""

import os
import re
import warnings
from collections.abc import Callable

from pyoci.cli import Command
from pyoci.errors import Error, Interrupted, UsageError, printable, wrap
from pyoci.files import absolute, write_all
from pyoci.kernel import is_host_root
from pyoci.lifecycle.root import open_root
from pyoci.log import error as error_line
from pyoci.native import ffi, lib
from pyoci.options import CreateOptions
from pyoci.undo import notes

MANAGERS = ("", "cgroupfs", "systemd", "disabled")


def state_root(command: Command) -> str:
    """Return the directory of container state.

    The default for root on the host does not depend on the environment.  Other users, and root in a user namespace,
    have theirs in XDG_RUNTIME_DIR, where an empty value counts as unset.
    """
    root: str = command.globals["root"]
    if root:
        return absolute(root.rstrip("/") or "/")
    if is_host_root():
        return "/run/pyoci"
    return f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{os.geteuid()}'}/pyoci"


def cgroup_manager(command: Command) -> str:
    name: str = command.globals["cgroup-manager"]
    if name not in MANAGERS:
        raise UsageError(f'--cgroup-manager must be cgroupfs or disabled, not "{printable(name)}"')
    return "systemd" if command.globals["systemd-cgroup"] else name or "cgroupfs"


def create_options(command: Command) -> CreateOptions:
    """Return the options of create, run and plan."""
    given = command.options
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
        keep=given.get("keep", False),
        expendable=True,
    )


def selected_ids(command: Command) -> list[str]:
    """Return the IDs that the verb applies to: its first word or, with --regex, all that the word matches.

    Raises:
        UsageError: the regular expression is malformed.
    """
    word = command.words[0]
    if not command.options["regex"]:
        return [word]
    try:
        with warnings.catch_warnings():  # re warns about syntax that may change; the expression is not ours
            warnings.simplefilter("ignore")
            expression = re.compile(word)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"not a regular expression ({error}): {ascii(word)}") from error
    return [name for name in names_below(state_root(command)) if expression.search(name)]


def names_below(root: str) -> list[str]:
    """Return the sorted names in a state root; one that does not exist yet has none.

    Raises:
        Error: it cannot be read, or another user could change it.
    """
    try:
        fd = open_root(root)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise wrap(f"reading the state root {root}", error) from error


def for_each(ids: list[str], act: Callable[[str], None]) -> int:
    """Call *act* for every container, even if it fails for some; return the exit status.

    Raises:
        Error: the last error; those before it have been reported.
        Interrupted: a signal has arrived; the remaining containers are left as they are.
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
    """Print to standard output and return the exit status 0; the static file has no sys.stdout."""
    try:
        write_all(1, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise wrap("writing to standard output", error) from error
    return 0


def commit() -> str:
    """Return the commit that pyoci was built from."""
    return ffi.string(lib.pyoci_commit).decode() or "unknown"


def libseccomp_version() -> str:
    number = lib.pyoci_seccomp_version()
    return f"{number >> 16}.{number >> 8 & 0xFF}.{number & 0xFF}"
