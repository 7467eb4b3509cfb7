"""Where messages go: standard error for the user, and the file that --log names for the caller.

The callers read the file as JSON lines (containerd) or as one JSON value (Podman), so nothing but errors is
written to it unless --debug or --log-level asks; every record is one write(2), because processes share the file.
Without a file all records go to standard error, warnings among them, as JSON if that is asked for.
"""

import posix
import time

from pyoci import codec
from pyoci.errors import UsageError, printable, wrap

LEVELS = ("error", "warning", "info", "debug")
# conmon takes 8191 bytes of the last words of a runtime, by one read(2).
MESSAGE_MAX = 4000


class Log:
    """The log of this process; open() is called once, as early as the options are known."""

    def __init__(self) -> None:
        """Write to standard error, until open() knows better."""
        self.fd = -1
        self.json = False
        self.level = 0

    def open(self, path: str, form: str, level: str, *, debug: bool) -> None:
        """Open the file ("" for none); form is text or json, level one of LEVELS or "".

        Raises:
            UsageError: form or level is none of these, or the file is something else, as in ``journald:ID``.
            KernelError: the file cannot be opened.
        """
        self.json = form == "json"
        # A scheme as in RFC 3986, section 3.1; a file of such a name is given as ./NAME.
        scheme, colon, rest = path.partition(":")
        if colon and scheme == "file":
            path = rest
            if not path:
                raise UsageError("--log file: names no file")
        elif colon and all(part.isalnum() for part in scheme.replace("+", "-").replace(".", "-").split("-")):
            raise UsageError(f'the log is a file; "{scheme}:" is not supported')
        if path:
            flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOCTTY
            try:
                self.fd = posix.open(path, flags, 0o644)
            except OSError as error:
                raise wrap(f"opening the log file {path}", error) from error
        # From here on there is a file to complain in.
        if form not in ("", "text", "json"):
            raise UsageError(f'the log format is text or json, not "{form}"')
        if level not in ("", *LEVELS):
            raise UsageError(f'the log level is error, warning, info or debug, not "{level}"')
        self.level = 3 if debug else LEVELS.index(level or ("error" if self.fd >= 0 else "warning"))

    def wants(self, level: str) -> bool:
        """Tell whether records of this level are kept."""
        return LEVELS.index(level) <= self.level

    def record(self, level: str, message: str) -> None:
        """Add one record to the file, or to standard error where there is none, if the level is wanted."""
        if not self.wants(level):
            return
        if self.fd < 0 and not self.json:
            tell(message if level == "error" else f"{level}: {message}")
            return
        when = f"{utc(int(time.time()))}Z"
        if self.json:
            line = codec.dumps({"level": level, "msg": message, "time": when})
        else:
            line = f"time={codec.dumps(when)} level={level} msg={codec.dumps(message)}"
        write_quietly(self.fd if self.fd >= 0 else 2, line + "\n")


log = Log()


def error(message: str) -> None:
    """Tell the user, and the caller through the log."""
    message = one_line(message)
    log.record("error", message)
    if log.fd >= 0:
        tell(message)


def warning(message: str) -> None:
    """Note what does not alter the flow, where warnings are wanted.

    Where there is a log they stay off standard error: that is the container's own, or read as part of the output.
    """
    log.record("warning", one_line(message))


def info(message: str) -> None:
    """Note what is as it should be, for whoever wants to know."""
    log.record("info", one_line(message))


def debug(message: str) -> None:
    """Note a detail for whoever debugs."""
    if log.wants("debug"):
        log.record("debug", one_line(message))


def one_line(message: str) -> str:
    """Make one line of a message that is not too long for who reads it."""
    return printable(message if len(message) <= MESSAGE_MAX else message[:MESSAGE_MAX] + "…")


def tell(message: str) -> None:
    """Write a message for the user."""
    write_quietly(2, f"pyoci: {message}\n")


def write_quietly(fd: int, text: str) -> None:
    """Write a message; there is nobody to tell when that fails."""
    try:
        posix.write(fd, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return


def utc(seconds: int) -> str:
    """Write a time since the epoch as RFC 3339 does; strftime(3) would read the host's time zone for it."""
    date = time.gmtime(seconds)
    day = f"{date.tm_year:04}-{date.tm_mon:02}-{date.tm_mday:02}"
    return f"{day}T{date.tm_hour:02}:{date.tm_min:02}:{date.tm_sec:02}"
