"""The log: messages go to standard error for the user, and to the file of --log for the caller.

containerd reads the file as JSON lines and Podman as one JSON value, so only errors are written to it unless --debug
or --log-level asks for more.  Every record is one write(2), because processes share the file.  Without a file all
records go to standard error, warnings among them.
"""

import os
import time

from pyoci import codec
from pyoci.errors import UsageError, printable, wrap

LEVELS = ("error", "warning", "info", "debug")
# conmon reads at most 8191 bytes of a runtime's standard error, with one read(2).
MESSAGE_MAX = 4000


class Log:
    """The log of this process; open() is called once, as early as the options are known."""

    def __init__(self) -> None:
        self.fd = -1
        self.json = False
        self.level = 0

    def open(self, path: str, form: str, level: str, *, debug: bool) -> None:
        """Open the file ("" for none); form is text or json, level one of LEVELS or "".

        Raises:
            UsageError: form or level is invalid, or path has a scheme, as in ``journald:ID``.
            KernelError: the file cannot be opened.
        """
        self.json = form == "json"
        # A scheme as in RFC 3986, section 3.1; a file with such a name can be given as ./NAME.
        scheme, colon, rest = path.partition(":")
        if colon and scheme == "file":
            path = rest
            if not path:
                raise UsageError("--log file: names no file")
        elif colon and all(part.isalnum() for part in scheme.replace("+", "-").replace(".", "-").split("-")):
            raise UsageError(f'--log must be a file; "{scheme}:" is not supported')
        if path:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
            try:
                self.fd = os.open(path, flags, 0o644)
            except OSError as error:
                raise wrap(f"opening the log file {path}", error) from error
        # From here on errors are written to the file.
        if form not in ("", "text", "json"):
            raise UsageError(f'--log-format must be text or json, not "{form}"')
        if level not in ("", *LEVELS):
            raise UsageError(f'--log-level must be error, warning, info or debug, not "{level}"')
        self.level = 3 if debug else LEVELS.index(level or ("error" if self.fd >= 0 else "warning"))

    def wants(self, level: str) -> bool:
        """Return whether records of this level are written."""
        return LEVELS.index(level) <= self.level

    def record(self, level: str, message: str) -> None:
        """Write one record to the file, or to standard error if there is none, if its level is wanted."""
        if not self.wants(level):
            return
        if self.fd < 0 and not self.json:
            write_stderr(message if level == "error" else f"{level}: {message}")
            return
        when = f"{utc(int(time.time()))}Z"
        if self.json:
            line = codec.dumps({"level": level, "msg": message, "time": when})
        else:
            line = f"time={codec.dumps(when)} level={level} msg={codec.dumps(message)}"
        write_quietly(self.fd if self.fd >= 0 else 2, line + "\n")


log = Log()


def error(message: str) -> None:
    """Report an error to the user, and to the caller through the log."""
    message = one_line(message)
    log.record("error", message)
    if log.fd >= 0:
        write_stderr(message)


def warning(message: str) -> None:
    """Log a warning.

    With a log file it does not go to standard error, which can be the container's, or be parsed by the caller.
    """
    log.record("warning", one_line(message))


def info(message: str) -> None:
    log.record("info", one_line(message))


def debug(message: str) -> None:
    if log.wants("debug"):
        log.record("debug", one_line(message))


def one_line(message: str) -> str:
    """Return a message as one line of limited length."""
    return printable(message if len(message) <= MESSAGE_MAX else message[:MESSAGE_MAX] + "…")


def write_stderr(message: str) -> None:
    write_quietly(2, f"pyoci: {message}\n")


def write_quietly(fd: int, text: str) -> None:
    """Write a message; a failure cannot be reported."""
    try:
        os.write(fd, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return


def utc(seconds: int) -> str:
    """Return a time since the epoch in the form of RFC 3339; strftime(3) would read the host's time zone."""
    date = time.gmtime(seconds)
    day = f"{date.tm_year:04}-{date.tm_mon:02}-{date.tm_mday:02}"
    return f"{day}T{date.tm_hour:02}:{date.tm_min:02}:{date.tm_sec:02}"
