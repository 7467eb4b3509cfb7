"""Options of the lifecycle operations that are not in the configuration, and the parsers of their values."""

import re
import signal
from dataclasses import dataclass, field

from pyoci.errors import StateError, UsageError

ID = re.compile(r"[A-Za-z0-9_+.-]+")
NAME_MAX = 255
ID_MAX = 2**32 - 2  # (uid_t)-1 means "unchanged" to the kernel
SIZE = re.compile(r"(\d{1,30})(?:\.(\d{1,30}))?(?: ?([kmgtp])i?)?b?", re.ASCII | re.IGNORECASE)
SIZE_LIMIT = 2**63
EXPONENTS = {suffix: number for number, suffix in enumerate("kmgtp", 1)}
# What the C library leaves of the realtime signals for programs; signal(7).
REALTIME = re.compile(r"(RTMIN|RTMAX)([+-]\d{1,2})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """Options of create and run; paths are absolute or relative to the current directory, "" is unset.

    With expendable this process exists for this one call only, as a command does: ``delete --force`` may kill it when
    it hangs while it creates the container.
    """

    bundle: str = ""
    config: str = ""
    console_socket: str = ""
    pidfd_socket: str = ""
    pid_file: str = ""
    no_pivot: bool = False
    no_new_keyring: bool = False
    preserve_fds: int = 0
    cgroup_manager: str = "cgroupfs"
    detach: bool = False
    keep: bool = False
    expendable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """Options of exec; process is the file of a process object, argv a command that replaces its arguments."""

    process: str = ""
    argv: list[str] = field(default_factory=list)
    tty: bool = False
    detach: bool = False
    cwd: str = ""
    env: list[str] = field(default_factory=list)
    user: str = ""
    additional_gids: list[int] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    no_new_privs: bool = False
    process_label: str = ""
    apparmor: str = ""
    pid_file: str = ""
    console_socket: str = ""
    pidfd_socket: str = ""
    preserve_fds: int = 0
    cgroup: list[str] = field(default_factory=list)
    ignore_paused: bool = False


def check_id(container_id: str) -> None:
    """Check that a string can be the ID of a container.

    Raises:
        StateError: empty, ``.``, ``..``, too long for a file name, or other than letters, digits and ``_ + - .``.
    """
    if container_id in (".", "..") or not ID.fullmatch(container_id):
        shown = ascii(container_id)
        raise StateError(f"invalid container id {shown}: letters, digits and _ + - . only, and not . or ..")
    if len(container_id) > NAME_MAX:
        raise StateError(f"invalid container id: {len(container_id)} characters; the maximum is {NAME_MAX}")


def parse_id(text: str, what: str) -> int:
    """Return a uid or gid: decimal digits only; names are an error and never looked up (CVE-2026-30892).

    Raises:
        UsageError: anything else.
    """
    if not text.isascii() or not text.isdigit() or len(text) > len(str(ID_MAX)) or int(text) > ID_MAX:
        raise UsageError(f"{what} must be a number from 0 to {ID_MAX}, not {ascii(text)}")
    return int(text)


def parse_user(text: str) -> tuple[int, int | None]:
    """Return the ids of ``UID`` or ``UID:GID``; the gid is None when it is not given."""
    uid, colon, gid = text.partition(":")
    return parse_id(uid, "--user"), parse_id(gid, "the group of --user") if colon else None


def parse_gids(texts: list[str]) -> list[int]:
    """Return supplementary groups; each option can have several, separated by commas."""
    return [parse_id(part, "--additional-gids") for text in texts for part in text.split(",")]


def parse_signal(text: str) -> int:
    """Return the number of a signal: ``15``, ``TERM``, ``SIGTERM``, ``RTMIN+3``, in upper or lower case.

    0 sends nothing: kill(2) only checks whether it could.

    Raises:
        UsageError: there is no such signal.
    """
    if text.isascii() and text.isdigit() and len(text) < 4 and int(text) < signal.NSIG:
        return int(text)
    name = text.upper().removeprefix("SIG")
    if name == "UNUSED":  # an old name, which Python does not have
        return signal.SIGSYS
    if f"SIG{name}" in signal.Signals.__members__:
        return signal.Signals[f"SIG{name}"]
    if match := REALTIME.fullmatch(name):
        computed = int(signal.Signals[f"SIG{match[1]}"]) + int(match[2])
        if signal.SIGRTMIN <= computed <= signal.SIGRTMAX:
            return computed
    raise UsageError(f"unknown signal {ascii(text)}")


def parse_size(text: str, what: str) -> int:
    """Return a number of bytes, written as for Docker and runc: ``64m``, ``64MiB``, ``1.5g``; -1 is unlimited.

    All suffixes are powers of 1024.

    Raises:
        UsageError: not a number of bytes, or too large.
    """
    if text == "-1":
        return -1
    match = SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{what} must be a number of bytes, such as 64m or 1.5GiB, not {ascii(text)}")
    whole, fraction, suffix = match[1], match[2] or "", match[3] or ""
    size = (int(whole + fraction) << 10 * EXPONENTS.get(suffix.lower(), 0)) // int("1" + "0" * len(fraction))
    if size >= SIZE_LIMIT:
        raise UsageError(f"{what}: {ascii(text)} is too large")
    return size
