"""A plan for people and programs: each step's operation with all of its operands."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from pyoci import codec, linux
from pyoci.config.tables import CAPABILITIES, RLIMITS
from pyoci.errors import printable
from pyoci.operations import Operation
from pyoci.plan.host import Action, Entry

SETS: dict[str, Mapping[str, int]] = {
    **linux.SETS,
    "capabilities": {name: 1 << number for name, number in CAPABILITIES.items()},
    "rlimit": RLIMITS,
}


def operands(operation: Operation) -> dict[str, Any]:
    """Return every operand by name, as JSON can hold it: flags and enums by their names, modes in octal."""
    kinds = {name: (kind, of) for name, kind, of in operation.OPERANDS}
    return {
        each.name: _value(getattr(operation, each.name), *kinds.get(each.name, ("flag", "")))
        for each in fields(operation)  # type: ignore[arg-type]
    }


def _value(value: Any, kind: str, of: str) -> Any:
    if kind in ("flags", "flags64"):
        return flag_names(value, SETS[of])
    if kind == "enum":
        return next((word for word, number in SETS[of].items() if number == value), value)
    if kind == "mode":
        return f"{value:04o}"
    if kind == "device":
        return f"{os.major(value)}:{os.minor(value)}"
    if kind == "filter":
        return value.hex()
    return list(value) if kind in ("strings", "slots", "ids") else value


def flag_names(value: int, names: Mapping[str, int]) -> str | int:
    """Return the names of the bits of *value*, the widest first, and what is left as a number."""
    found: list[str] = []
    for name, bits in sorted(names.items(), key=lambda pair: (-pair[1].bit_count(), pair[1])):
        if bits and value & bits == bits:
            found.append(name)
            value &= ~bits
    return "|".join([*found, *([hex(value)] if value else [])]) or 0


def words(operation: Operation) -> str:
    """Return the operation in one line: its name, then each operand that is not its default."""
    parts = [operation.NAME]
    shown = operands(operation)
    for each in fields(operation):  # type: ignore[arg-type]
        value = getattr(operation, each.name)
        if value == each.default or (each.default == () and not value):
            continue
        parts.append(each.name if value is True else f"{each.name}={codec.dumps(shown[each.name])}")
    return " ".join(parts)


def as_json(entry: Entry) -> dict[str, Any]:
    """Return one entry with all that belongs to it."""
    if isinstance(entry, Action):
        return {"by": "pyoci", "what": entry.what, "origin": entry.origin, "path": entry.path, "value": entry.value}
    number, step = entry
    return {
        "by": "stage",
        "step": number,
        "what": step.what,
        "origin": step.origin,
        "op": step.operation.NAME,
        "operands": operands(step.operation),
    }


def as_lines(entries: Iterable[Entry], *, numbered: bool = True) -> Iterator[str]:
    """Return two lines for each entry: what is done in words, then the operation, or the path and value.

    A configuration may hold line ends, and what makes a terminal do something: each line is printable.
    """
    for entry in entries:
        if isinstance(entry, Action):
            head, more = "  --  ", " = ".join(part for part in (entry.path, entry.value.strip()) if part)
            what, origin = entry.what, entry.origin
        else:
            number, step = entry
            head, more = f"{number:>4}  " if numbered else "  ..  ", words(step.operation)
            what, origin = step.what, step.origin
        yield printable(f"{head}{what}{f'  [{origin}]' if origin else ''}")
        if more:
            yield printable(f"{'':>8}{more}")

