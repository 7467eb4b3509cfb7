"""Everything that pyoci raises on purpose.

    Error                 one line for the user; exit status 1
    ├── UsageError        the command line is wrong
    ├── ConfigError       config.json (or another document) is wrong; holds every Problem
    ├── StateError        the container is missing, or in the wrong status
    │   └── NoContainerError
    ├── KernelError       a system call failed; holds errno
    ├── HookError         a hook failed or ran out of time; holds its output
    └── Interrupted       a signal that ends programs has arrived; holds its number

Only ``__main__`` prints them; nobody logs and re-raises.
"""

import errno as _errno
import posix

from pyoci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Source(Protocol):
        """What is needed of pyoci.config.source.Source."""

        def find(self, pointers: "list[str]") -> "list[Spot]":
            """Return where the values at JSON pointers stand."""


def printable(text: str) -> str:
    """Escape what is no printable character: names hold newlines, and a message is one line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Spot(Record):
    """Where a setting stands: a document or an option, and line and column (from 1) in it, 0 where it has none."""

    source: str = "config.json"
    line: int = 0
    column: int = 0
    pointer: str = ""

    def __str__(self) -> str:
        """Return ``config.json:41:17: /mounts/3``, ``process.json: /cwd`` or ``--cwd``."""
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return f"{place}: {self.pointer}" if self.pointer else place


class Error(Exception):
    """A failure that pyoci explains in one line; exit_status is what the process returns.

    origin is the JSON pointer of the setting that asked for what failed ("" when none did), more what follows its
    place.  An error is located once it is clear which document this is; its text is read only then.
    """

    exit_status = 1

    def __init__(self, message: str, origin: str = "", more: str = "") -> None:
        """Keep the parts; the sentence is made when it is asked for."""
        self.message = message
        self.origin = origin
        self.more = more
        self.spot: Spot | None = None
        super().__init__(message, origin, more)

    def locate(self, source: "Source") -> None:
        """Find the setting in the source, unless it has been found already."""
        if self.origin and self.spot is None:
            (self.spot,) = source.find([self.origin])

    def words(self) -> str:
        """Return the sentence without the place."""
        return self.message

    def __str__(self) -> str:
        """Return ``what failed [config.json:41:17: /mounts/3]; more``."""
        place = f" [{self.spot or Spot(pointer=self.origin)}]" if self.spot or self.origin else ""
        return f"{self.words()}{place}{f'; {self.more}' if self.more else ''}"


class UsageError(Error):
    """The command line cannot be understood."""


class StateError(Error):
    """The operation is not allowed for this container now, or there is no such container."""


class NoContainerError(StateError):
    """There is no such container; the words are those that callers look for."""

    def __init__(self, container_id: str, root: str) -> None:
        """Take what was asked for."""
        super().__init__(f"container does not exist: {container_id} in {root}")


class HookError(Error):
    """A hook failed; the message names it and ends with what it printed."""


class Interrupted(Error):
    """A signal has ended what was being done, and that has been taken back; the exit status is 128 + its number."""

    def __init__(self, what: str, number: int, name: str) -> None:
        """Take what was being done, and the signal."""
        self.number = number
        self.exit_status = 128 + number
        super().__init__(f"{what}: interrupted by {name}")


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
        super().__init__(problems[0].message)
        self.document = document
        self.problems = problems

    def locate(self, source: "Source") -> None:
        """Find the problems in the source, unless the reader of the document has found them already."""
        if self.problems[0].line == 0:
            spots = source.find([problem.pointer for problem in self.problems])
            self.document = spots[0].source
            self.problems = [
                Problem(pointer=spot.pointer, message=problem.message, line=spot.line, column=spot.column)
                for spot, problem in zip(spots, self.problems, strict=True)
            ]

    def __str__(self) -> str:
        """Give one line: the first problem in full, and how many more there are."""
        first = self.problems[0]
        spot = Spot(source=self.document, line=first.line, column=first.column, pointer=first.pointer)
        more = len(self.problems) - 1
        rest = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
        return printable(f"{spot}: {first.message}{rest}")


class KernelError(Error):
    """A system call failed while doing *what*.

    number is errno, origin the JSON pointer of the setting that asked for it ("" when none did),
    hint a short explanation where errno misleads.
    """

    def __init__(self, what: str, number: int, origin: str = "", hint: str = "") -> None:
        super().__init__(what, origin, hint)
        self.number = number

    def words(self) -> str:
        """Return ``mounting proc on /proc: Operation not permitted (EPERM)``."""
        return f"{self.message}: {errno_text(self.number)}"


def errno_text(number: int) -> str:
    """Give ``No such file or directory (ENOENT)``; strerror(3) and the constant's name."""
    return f"{posix.strerror(number)} ({_errno.errorcode.get(number, number)})"


def wrap(what: str, error: OSError, origin: str = "", hint: str = "") -> KernelError:
    """Turn an OSError into a KernelError that says what was being done."""
    return KernelError(what, error.errno or 0, origin, hint)
