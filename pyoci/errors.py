"""The exceptions that pyoci raises.

    Error                 one line for the user; exit status 1
    ├── UsageError        the command line is wrong
    ├── ConfigError       config.json (or another document) is wrong; holds every Problem
    ├── StateError        the container is missing, or in the wrong status
    │   └── NoContainerError  the container does not exist
    ├── KernelError       a system call failed; holds errno
    ├── HookError         a hook failed or ran out of time; holds its output
    └── Interrupted       a signal has interrupted the operation; holds its number

Only ``__main__`` prints them; no other code logs an exception and raises it again.
"""

import os
from dataclasses import dataclass
from errno import errorcode
from typing import Protocol


def printable(text: str) -> str:
    """Return *text* with unprintable characters escaped: a name may hold a newline, and a message is one line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """The place of a setting: a document or a command-line option, and line and column in it.

    line and column start at 1, and are 0 if they are not known.
    """

    source: str = "config.json"
    line: int = 0
    column: int = 0
    pointer: str = ""

    def __str__(self) -> str:
        """Return ``config.json:41:17: /mounts/3``, ``process.json: /cwd`` or ``--cwd``."""
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return f"{place}: {self.pointer}" if self.pointer else place


class Source(Protocol):
    """What locating an error needs of a pyoci.config.source.Source."""

    def find(self, pointers: list[str]) -> list[Spot]:
        """Return the places of the values at JSON pointers."""


class Error(Exception):
    """A failure, which the user gets to see as one line; exit_status is the exit status of the process.

    origin is the JSON pointer of the setting that caused the failure ("" for none), more an explanation that follows
    the place of that setting.  The place itself is found by locate().
    """

    exit_status = 1

    def __init__(self, message: str, origin: str = "", more: str = "") -> None:
        self.message = message
        self.origin = origin
        self.more = more
        self.spot: Spot | None = None
        super().__init__(message, origin, more)

    def locate(self, source: Source) -> None:
        """Set the place of the setting, unless it is known already."""
        if self.origin and self.spot is None:
            (self.spot,) = source.find([self.origin])

    def words(self) -> str:
        """Return the message without the place."""
        return self.message

    def __str__(self) -> str:
        """Return ``what failed [config.json:41:17: /mounts/3]; more``."""
        place = f" [{self.spot or Spot(pointer=self.origin)}]" if self.spot or self.origin else ""
        return f"{self.words()}{place}{f'; {self.more}' if self.more else ''}"


class UsageError(Error):
    """The command line cannot be understood."""


class StateError(Error):
    """The operation is not allowed in the container's status, or there is no such container."""


class NoContainerError(StateError):
    """The container does not exist; callers match the words of the message."""

    def __init__(self, container_id: str, root: str) -> None:
        super().__init__(f"container does not exist: {container_id} in {root}")


class HookError(Error):
    """A hook failed; the message names the hook and ends with its output."""


class Interrupted(Error):
    """A signal has interrupted an operation, which was undone; the exit status is 128 plus the signal's number."""

    def __init__(self, what: str, number: int, name: str) -> None:
        self.number = number
        self.exit_status = 128 + number
        super().__init__(f"{what}: interrupted by {name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A mistake in a document.

    pointer is a JSON pointer (RFC 6901, "" for the document itself); line and column start at 1, and are 0 if they are
    not known.
    """

    pointer: str
    message: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return ``/mounts/3/type: message``."""
        return printable(f"{self.pointer}: {self.message}" if self.pointer else self.message)


class ConfigError(Error):
    """A document is not valid; document is its name, problems lists at least one problem."""

    def __init__(self, document: str, problems: list[Problem]) -> None:
        super().__init__(problems[0].message)
        self.document = document
        self.problems = problems

    def locate(self, source: Source) -> None:
        """Set the places of the problems, unless they are known already."""
        if self.problems[0].line == 0:
            spots = source.find([problem.pointer for problem in self.problems])
            self.document = spots[0].source
            self.problems = [
                Problem(pointer=spot.pointer, message=problem.message, line=spot.line, column=spot.column)
                for spot, problem in zip(spots, self.problems, strict=True)
            ]

    def __str__(self) -> str:
        """Return the first problem, and the number of the others."""
        first = self.problems[0]
        spot = Spot(source=self.document, line=first.line, column=first.column, pointer=first.pointer)
        more = len(self.problems) - 1
        rest = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
        return printable(f"{spot}: {first.message}{rest}")


class KernelError(Error):
    """A system call failed with the errno *number* while pyoci was doing *what*.

    origin is the JSON pointer of the setting that caused the call ("" for none), hint an explanation if the errno alone
    would mislead.
    """

    def __init__(self, what: str, number: int, origin: str = "", hint: str = "") -> None:
        super().__init__(what, origin, hint)
        self.number = number

    def words(self) -> str:
        """Return ``mounting proc on /proc: Operation not permitted (EPERM)``."""
        return f"{self.message}: {errno_text(self.number)}"


def errno_text(number: int) -> str:
    """Return ``No such file or directory (ENOENT)``."""
    return f"{os.strerror(number)} ({errorcode.get(number, number)})"


def wrap(what: str, error: OSError, origin: str = "", hint: str = "") -> KernelError:
    """Return a KernelError for *error*, which was raised while doing *what*."""
    return KernelError(what, error.errno or 0, origin, hint)
