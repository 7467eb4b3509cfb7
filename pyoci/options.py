"""What the verbs of the lifecycle can be asked for, beyond the configuration."""

from pyoci.errors import StateError, UsageError
from pyoci.record import Record

ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
NAME_MAX = 255
SIGNAL_MAX = 64
# What the C library leaves to programs of the realtime signals; signal(7).
REALTIME = {"RTMIN": 34, "RTMAX": 64}
SUFFIXES = "kmgtp"


class CreateOptions(Record):
    """Options of create and run; paths are absolute or relative to the current directory, "" is unset.

    expendable says that this process exists for this one call, as a command does: delete with force may kill it when
    it hangs in the middle of making the container.
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


class ExecOptions(Record):
    """Options of exec; process is the file of a process object, argv the words of a command line."""

    process: str = ""
    argv: "list[str]" = []
    tty: bool = False
    detach: bool = False
    cwd: str = ""
    env: "list[str]" = []
    user: str = ""
    additional_gids: "list[int]" = []
    capabilities: "list[str]" = []
    no_new_privs: bool = False
    process_label: str = ""
    apparmor: str = ""
    pid_file: str = ""
    console_socket: str = ""
    pidfd_socket: str = ""
    preserve_fds: int = 0
    cgroup: "list[str]" = []
    ignore_paused: bool = False


def check_id(container_id: str) -> None:
    """Refuse what is no container id.

    Raises:
        StateError: empty, ``.``, ``..``, too long for a file name, or other than letters, digits and ``_ + - .``.
    """
    if not container_id or container_id in (".", "..") or not ID_CHARACTERS.issuperset(container_id):
        shown = ascii(container_id)
        raise StateError(f"invalid container id {shown}: letters, digits and _ + - . only, and not . or ..")
    if len(container_id) > NAME_MAX:
        raise StateError(
            f"invalid container id: {len(container_id)} characters, at most {NAME_MAX} are possible"
        )


def parse_id(text: str, what: str) -> int:
    """Read a uid or gid: decimal digits only, 0 to 2**32 - 2; names are refused, never looked up (CVE-2026-30892).

    Raises:
        UsageError: it is anything else.
    """
    if not text or not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > 2**32 - 2:
        raise UsageError(f"{what} must be a number from 0 to 4294967294, not {ascii(text)}")
    return int(text)


def parse_user(text: str) -> "tuple[int, int | None]":
    """Read ``UID`` or ``UID:GID``; the gid is None when it is not given."""
    uid, colon, gid = text.partition(":")
    return parse_id(uid, "--user"), parse_id(gid, "the group of --user") if colon else None


def parse_gids(texts: "list[str]") -> "list[int]":
    """Read additional groups; each option may hold several, separated by commas."""
    return [parse_id(part, "--additional-gids") for text in texts for part in text.split(",")]


def parse_signal(text: str) -> int:
    """Read a signal: a number, ``TERM``, ``SIGTERM``, ``RTMIN+3``, in any case; 0 only asks whether it could be sent.

    Raises:
        UsageError: there is no such signal.
    """
    if text.isascii() and text.isdigit() and len(text) < 4:
        number = int(text)
        if number <= SIGNAL_MAX:
            return number
    from pyoci.config.tables import SIGNALS  # callers send numbers

    name = text.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    if name in SIGNALS:
        return SIGNALS[name]
    if f"SIG{name}" in SIGNALS:
        return SIGNALS[f"SIG{name}"]
    if base in REALTIME and (not sign or offset.isascii() and offset.isdigit() and len(offset) < 3):
        number = REALTIME[base] + (int(offset or 0) if sign != "-" else -int(offset))
        if REALTIME["RTMIN"] <= number <= REALTIME["RTMAX"]:
            return number
    raise UsageError(f"unknown signal {ascii(text)}")


def parse_size(text: str, what: str) -> int:
    """Read a number of bytes as Docker and runc do: ``64m``, ``64MiB``, ``1.5g``, powers of 1024; -1 is unlimited.

    Raises:
        UsageError: it is no such number, or too large.
    """
    if text == "-1":
        return -1
    number = text.lower().removesuffix("b")
    factor = 1
    if number[-2:-1] and number[-1] == "i" and number[-2] in SUFFIXES:
        number = number[:-1]
    if number and number[-1] in SUFFIXES:
        factor = 1 << 10 * (SUFFIXES.index(number[-1]) + 1)
        number = number[:-1].removesuffix(" ")
    whole, point, fraction = number.partition(".")
    digits = whole + fraction
    if not whole or point and not fraction or not digits.isascii() or not digits.isdigit() or len(digits) > 30:
        raise UsageError(f"{what} needs a number of bytes such as 64m or 1.5GiB, not {ascii(text)}")
    size = int(digits) * factor // int(f"1{'0' * len(fraction)}")
    if size >= 2**63:
        raise UsageError(f"{what}: {ascii(text)} is more than the kernel can count")
    return size
