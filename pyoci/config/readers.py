"""Readers turn a JSON value into the value of a field, or append a finding.

A reader takes a value, its place in the document and the list of findings.  If the value is wrong it appends a
finding; what it returns is then not used.  A place is a chain (outer place, name or index), from which only a finding
makes a JSON pointer.
"""

import os.path
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from pyoci.errors import printable
from pyoci.members import Members

Place = tuple[Any, str | int] | None
Findings = list[tuple[Place, str]]
Reader = Callable[[Any, Place, Findings], Any]

# A document may have any number of mistakes, and searching for similar names is slow.
NAMES_SHOWN = 3
HINTS_MAX = 20


class Strict(Findings):
    """Findings of a document in which unknown members are errors."""


# ---- readers of single values ----


def type_name(value: object) -> str:
    """Return the JSON name for the type of *value*, as it reads behind "not"."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", str: "a string", list: "an array", Members: "an object"}
    return names.get(type(value), f"the number {value}")


def expected(what: str, value: object) -> str:
    return f"expected {what}, not {type_name(value)}"


def boolean(value: Any, at: Place, findings: Findings) -> Any:
    if type(value) is not bool:
        findings.append((at, expected("a boolean", value)))
    return value


def integer(low: int, high: int) -> Reader:
    """Return a reader of integers in [low, high]; true and 1.0 are not integers."""

    def read(value: Any, at: Place, findings: Findings) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        out_of_range = f"{value} is out of range: {low} to {high}"
        findings.append((at, out_of_range if type(value) is int else expected("an integer", value)))
        return None

    return read


def string(value: Any, at: Place, findings: Findings) -> Any:
    """Read a string; NUL is refused, because no system call can take it."""
    if type(value) is str:
        if "\0" not in value:
            return value
        findings.append((at, "the string holds a NUL character"))
    else:
        findings.append((at, expected("a string", value)))
    return None


def text(rule: Callable[[str], object], wrong: str) -> Reader:
    """Return a reader of strings for which *rule* is true; *wrong* completes the message ``"value" …``."""

    def read(value: Any, at: Place, findings: Findings) -> Any:
        if type(value) is str and "\0" not in value and rule(value):
            return value
        if string(value, at, findings) is not None:
            findings.append((at, f"{quote(value)} {wrong}"))
        return None

    return read


def word(kind: str, words: Collection[str]) -> Reader:
    """Return a reader of strings that are one of *words*; messages call them *kind*."""

    def read(value: Any, at: Place, findings: Findings) -> Any:
        if type(value) is str and value in words:
            return value
        if string(value, at, findings) is not None:
            hint = did_you_mean(value, words) if len(findings) < HINTS_MAX else ""
            findings.append((at, f"unknown {kind} {quote(value)}{hint}"))
        return None

    return read


# ---- readers of arrays, maps and objects ----


def list_of(reader: Reader, least: int = 0, most: int = 2**32) -> Reader:
    """Return a reader of arrays with *least* to *most* entries; it returns a tuple."""

    def read(value: Any, at: Place, findings: Findings) -> Any:
        if type(value) is not list:
            findings.append((at, expected("an array", value)))
            return None
        if len(value) < least:
            findings.append((at, "needs at least one entry"))
        if len(value) > most:
            findings.append((at, f"has {len(value)} entries, {most} are possible"))
        return tuple([reader(item, (at, index), findings) for index, item in enumerate(value)])

    return read


def map_of(reader: Reader, key: Reader) -> Reader:
    """Return a reader of objects with arbitrary member names; null members are dropped, and it returns Members."""

    def read(value: Any, at: Place, findings: Findings) -> Any:
        if type(value) is not Members:
            findings.append((at, expected("an object", value)))
            return None
        made: list[Any] = []
        for name, item in value.items():
            if item is not None:
                key(name, (at, name), findings)
                made += (name, reader(item, (at, name), findings))
        return Members(made)

    return read


def record(kind: type, readers: dict[str, Reader]) -> Reader:
    """Return a reader of objects that become a *kind*, a dataclass of pyoci.config.model.

    Members without a reader are ignored unless the findings are Strict.  A null member counts as absent: programs
    written in Go write null for what they have not set.
    """
    required = [name for name in readers if not hasattr(kind, name)]
    new, parts = object.__new__, tuple.__iter__

    def read(value: Any, at: Place, findings: Findings) -> Any:
        if type(value) is not Members:
            findings.append((at, expected("an object", value)))
            return None
        # The __init__ of a frozen dataclass would call object.__setattr__ for every field.
        built: Any = new(kind)
        fields = built.__dict__
        flat = parts(value)  # value.items() without the call
        for name, item in zip(flat, flat, strict=True):
            reader = readers.get(name)
            if reader is not None and item is not None:
                fields[name] = reader(item, (at, name), findings)
            elif item is not None and isinstance(findings, Strict):
                hint = did_you_mean(name, readers) if len(findings) < HINTS_MAX else ""
                findings.append(((at, name), f"unknown member{hint}"))
        for name in required:
            if name not in fields:
                findings.append(((at, name), f'"{name}" is missing'))
        return built

    return read


# ---- words for messages ----


def escaped(name: str) -> str:
    """Return a member's name as a reference token of a JSON pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def quote(text: str) -> str:
    """Return *text* in double quotes for a message: printable, and not longer than 80 characters."""
    return f'"{printable(text if len(text) <= 80 else text[:77] + "...")}"'


def some_of(names: Sequence[str]) -> str:
    """Return the first few of *names* for a message, and how many more there are."""
    shown = ", ".join(printable(name[:80]) for name in names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return ``; did you mean "rslave"?`` if one of *words* is similar to *word*, else "".

    A word is similar if it takes few edits, differs only in case (``cap_chown``), lacks the common prefix of *words*
    (``SYS_ADMIN``) or is an abbreviation (``net``).
    """
    word = word if len(word) <= 64 else ""
    words = [*words]
    head = len(common_head(words))
    best, least = "", max(1, len(word) // 3) + 1
    for candidate in words if word else ():
        for form in (candidate, candidate[head:]):
            distance = 0 if form.lower() == word.lower() else edits(word, form)
            if distance < least:
                best, least = candidate, distance
    if word and not best:
        best = next((candidate for candidate in words if abbreviates(word, candidate)), "")
    return f'; did you mean "{best}"?' if best else ""


def common_head(words: Sequence[str]) -> str:
    """Return the common prefix of all words up to its last underscore, such as ``CAP_``."""
    prefix = os.path.commonprefix(words) if len(words) > 1 else ""
    return prefix[: prefix.rfind("_") + 1]


def abbreviates(short: str, word: str) -> bool:
    """Return whether *short* has the first letter of *word* and some of the others, in order."""
    rest = iter(word)
    return len(short) > 2 and short[0] == word[:1] and all(letter in rest for letter in short)


def edits(a: str, b: str) -> int:
    """Return the number of insertions, deletions, substitutions and swaps of neighbours from *a* to *b*."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def pointer_of(at: Place) -> str:
    """Return the JSON pointer (RFC 6901) of a place."""
    parts: list[str] = []
    while at is not None:
        at, name = at
        parts.append(f"/{escaped(str(name))}")
    return "".join(reversed(parts))
