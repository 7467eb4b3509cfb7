"""Readers: from a JSON value to what a record holds, or a finding.

A reader takes a value, its place and the list of findings; it gives what the record holds, or notes a finding
and gives None.  The place is a chain (outer place, name or index); only a finding makes a pointer of it.
"""

from pyoci.errors import printable
from pyoci.record import Members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import Any

    from pyoci.record import Record

    Place = tuple[Any, str | int] | None
    Findings = list[tuple[Place, str]]
    Reader = Callable[[Any, Place, Findings], Any]

# Documents are made by others, and may be wrong without an end.
NAMES_SHOWN = 3
HINTS_MAX = 20


class Strict(list["tuple[Place, str]"]):
    """Findings of a document in which a member that nobody knows is one, too."""


# ---- readers of single values ----


def type_name(value: object) -> str:
    """Give the JSON word for the type of *value*."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", str: "a string", list: "an array", Members: "an object"}
    return names.get(type(value), f"the number {value}")


def expected(what: str, value: object) -> str:
    """Give the words for a value of the wrong type."""
    return f"expected {what}, not {type_name(value)}"


def boolean(value: "Any", at: "Place", findings: "Findings") -> "Any":
    """Read true or false."""
    if type(value) is not bool:
        findings.append((at, expected("a boolean", value)))
    return value


def integer(low: int, high: int) -> "Reader":
    """Make a reader of integers in [low, high]; neither true nor 1.0 is an integer."""

    def read(value: "Any", at: "Place", findings: "Findings") -> "Any":
        if type(value) is int and low <= value <= high:
            return value
        out_of_range = f"{value} is out of range: {low} to {high}"
        findings.append((at, out_of_range if type(value) is int else expected("an integer", value)))
        return None

    return read


def string(value: "Any", at: "Place", findings: "Findings") -> "Any":
    """Read a string without NUL, which no system call could take."""
    if type(value) is str:
        if "\0" not in value:
            return value
        findings.append((at, "the string holds a NUL character"))
    else:
        findings.append((at, expected("a string", value)))
    return None


def text(rule: "Callable[[str], bool]", wrong: str) -> "Reader":
    """Make a reader of strings that follow *rule*; *wrong* completes ``"value" …``."""

    def read(value: "Any", at: "Place", findings: "Findings") -> "Any":
        if type(value) is str and "\0" not in value and rule(value):
            return value
        if string(value, at, findings) is not None:
            findings.append((at, f"{quote(value)} {wrong}"))
        return None

    return read


def word(kind: str, words: "Collection[str]") -> "Reader":
    """Make a reader of the words of a table."""

    def read(value: "Any", at: "Place", findings: "Findings") -> "Any":
        if type(value) is str and value in words:
            return value
        if string(value, at, findings) is not None:
            hint = did_you_mean(value, words) if len(findings) < HINTS_MAX else ""
            findings.append((at, f"unknown {kind} {quote(value)}{hint}"))
        return None

    return read


# ---- readers of arrays, maps and objects ----


def list_of(reader: "Reader", least: int = 0, most: int = 2**32) -> "Reader":
    """Make a reader of arrays of so many entries; gives a tuple."""

    def read(value: "Any", at: "Place", findings: "Findings") -> "Any":
        if type(value) is not list:
            findings.append((at, expected("an array", value)))
            return None
        if len(value) < least:
            findings.append((at, "needs at least one entry"))
        if len(value) > most:
            findings.append((at, f"has {len(value)} entries, {most} are possible"))
        return tuple([reader(item, (at, index), findings) for index, item in enumerate(value)])

    return read


def map_of(reader: "Reader", key: "Reader") -> "Reader":
    """Make a reader of objects that are maps, but for members that are null; gives Members."""

    def read(value: "Any", at: "Place", findings: "Findings") -> "Any":
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


def record(kind: "type[Record]", readers: "dict[str, Reader]") -> "Reader":
    """Make a reader of objects that become a record; members that *readers* lacks are ignored, but for Strict findings.

    A member that is null is absent: programs in Go write so what they have not set.
    """
    required = [name for name in readers if not hasattr(kind, name)]
    new, parts = object.__new__, tuple.__iter__

    def read(value: "Any", at: "Place", findings: "Findings") -> "Any":
        if type(value) is not Members:
            findings.append((at, expected("an object", value)))
            return None
        built = new(kind)
        fields = built.__dict__
        flat = parts(value)  # as items() does, for every object of every document
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
    """Give a member's name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def quote(text: str) -> str:
    """Give *text* in quotes, on one line and not endless."""
    return f'"{printable(text if len(text) <= 80 else text[:77] + "...")}"'


def some_of(names: "Sequence[str]") -> str:
    """Return names for a message: the first few, and how many more there are."""
    shown = ", ".join(printable(name[:80]) for name in names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


def did_you_mean(word: str, words: "Iterable[str]") -> str:
    """Return ``; did you mean "rslave"?`` when one of *words* is near, else "".

    Near is what takes few changes, is only written in other letters (``cap_chown``), lacks what all of *words* begin
    with (``SYS_ADMIN``), or is an abbreviation (``net``).
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


def common_head(words: "list[str]") -> str:
    """Return what all words begin with, up to a low line: ``CAP_``."""
    if len(words) < 2:
        return ""
    first, last = min(words), max(words)
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[: first.rfind("_", 0, same) + 1]


def abbreviates(short: str, word: str) -> bool:
    """Return whether *word* begins with the first letter of *short*, and has its others in their order."""
    rest = iter(word)
    return len(short) > 2 and short[0] == word[:1] and all(letter in rest for letter in short)


def edits(a: str, b: str) -> int:
    """Give the least number of insertions, deletions, changes and swaps of neighbours from *a* to *b*."""
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


def pointer_of(at: "Place") -> str:
    """Give the JSON pointer (RFC 6901) of a place."""
    parts: list[str] = []
    while at is not None:
        at, name = at
        parts.append(f"/{escaped(str(name))}")
    return "".join(reversed(parts))
