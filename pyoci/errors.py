"""Everything that pyoci raises on purpose.

    Error                 one line for the user; exit status 1
    ├── UsageError        the command line is wrong
    ├── ConfigError       config.json (or another document) is wrong; holds every Problem
    ├── StateError        the container is missing, or in the wrong status
    ├── KernelError       a system call failed; holds errno
    └── HookError         a hook failed or ran out of time; holds its output

Only ``__main__`` prints them; nobody logs and re-raises.
"""

import errno as _errno
import posix

from pyoci.record import Record


def printable(text: str) -> str:
    """Escape what is no printable character: names hold newlines, and a message is one line."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Error(Exception):
    """A failure that pyoci explains in one line; exit_status is what the process returns."""

    exit_status = 1


class UsageError(Error):
    """The command line cannot be understood."""


class StateError(Error):
    """The operation is not allowed for this container now, or there is no such container."""


class HookError(Error):
    """A hook failed; the message names it and ends with what it printed."""


class Problem(Record):
    """One thing wrong in a document.

    pointer is a JSON pointer (RFC 6901, "" for the document itself), line and column count from 1
    and are 0 where the place is not known.
    """

    pointer: str
    message: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Give ``/mounts/3/type: message`` as the user reads it."""
        return printable(f"{self.pointer}: {self.message}" if self.pointer else self.message)


class ConfigError(Error):
    """A document is wrong; problems lists all that was found, document is its file name."""

    def __init__(self, document: str, problems: "list[Problem]") -> None:
        """Take the document's name and at least one problem."""
        self.document = document
        self.problems = problems
        super().__init__(document, problems)

    def __str__(self) -> str:
        """Give one line: the first problem in full, and how many more there are."""
        first = self.problems[0]
        place = f"{self.document}:{first.line}:{first.column}" if first.line else self.document
        more = len(self.problems) - 1
        rest = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
        return f"{place}: {first}{rest}"


class KernelError(Error):
    """A system call failed while doing *what*.

    number is errno, origin the JSON pointer of the setting that asked for it ("" when none did),
    hint a short explanation where errno misleads.
    """

    def __init__(self, what: str, number: int, origin: str = "", hint: str = "") -> None:
        """Keep the parts; the sentence is made when it is asked for."""
        self.what = what
        self.number = number
        self.origin = origin
        self.hint = hint
        super().__init__(what, number, origin, hint)

    def __str__(self) -> str:
        """Give ``mounting proc on /proc: Operation not permitted (EPERM) [config.json: /mounts/0]; hint``."""
        text = f"{self.what}: {errno_text(self.number)}"
        if self.origin:
            text += f" [config.json: {self.origin}]"
        if self.hint:
            text += f"; {self.hint}"
        return text


def errno_text(number: int) -> str:
    """Give ``No such file or directory (ENOENT)``; strerror(3) and the constant's name."""
    return f"{posix.strerror(number)} ({_errno.errorcode.get(number, number)})"


def wrap(what: str, error: OSError, origin: str = "", hint: str = "") -> KernelError:
    """Turn an OSError into a KernelError that says what was being done."""
    return KernelError(what, error.errno or 0, origin, hint)
