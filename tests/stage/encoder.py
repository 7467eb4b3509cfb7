"""Plans written by hand: an encoder of the tests' own.

It knows the operations from spec/operations and the form of a plan from the comment of native/plan.h. Neither pyoci's
classes nor the generated C are used, so that a mistake in them cannot hide one in the stage.

    plan = Plan()
    plan.step("attach", mount=0, target="/x", device=True)
"""

import os
import re
import struct
import tomllib
from pathlib import Path
from typing import Any, NamedTuple, Self

TREE = Path(__file__).parents[2]
SPEC = TREE / "spec" / "operations"

HEAD = struct.Struct("=6I")
STEP = struct.Struct("=HHI")
NONE = -1

# How an operand is written, and what "nothing" is for it.
NUMBER64, NUMBER, SIGNED, PAIR = "Q", "I", "i", "II"
FORMS: dict[str, tuple[str, Any]] = {
    "number64": (NUMBER64, 0),
    "flags64": (NUMBER64, 0),
    "device": (NUMBER64, 0),
    "strings": (PAIR, []),
    "slots": (PAIR, []),
    "ids": (PAIR, []),
    "filter": (PAIR, b""),
    "slot": (SIGNED, None),
    "new_slot": (SIGNED, None),
    "optional_slot": (SIGNED, NONE),
    "text": (NUMBER, ""),
    "path": (NUMBER, None),
    "host_path": (NUMBER, None),
    "number": (NUMBER, 0),
    "signed": (SIGNED, 0),
    "flags": (NUMBER, 0),
    "enum": (NUMBER, 0),
    "mode": (NUMBER, 0),
    "uid": (NUMBER, 0),
    "gid": (NUMBER, 0),
}


class Operation(NamedTuple):
    """An operation of the table: operands maps a name to its kind, in the order in memory."""

    number: int
    operands: dict[str, str]
    flags: list[str]

    @property
    def format(self) -> str:
        """The operands' part of a step."""
        return "=" + "".join(FORMS[kind][0] for kind in self.operands.values())

    def flag(self, name: str) -> int:
        """The bit of a flag."""
        return 1 << self.flags.index(name)


def _size(kind: str) -> int:
    return struct.calcsize("=" + FORMS[kind][0])


def _operations() -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for path in sorted(SPEC.glob("[0-9]-*.toml")):
        for name, entry in tomllib.loads(path.read_text()).items():
            kinds = {each: given["kind"] for each, given in entry.get("operands", {}).items()}
            packed = dict(sorted(kinds.items(), key=lambda item: -_size(item[1])))
            found[name] = Operation(len(found), packed, list(entry.get("flags", {})))
    return found


def _constants() -> dict[str, int]:
    groups = tomllib.loads((SPEC / "constants.toml").read_text()).values()
    return {group["prefix"] + name: value for group in groups for name, value in group["values"].items()}


def _enums(text: str) -> dict[str, int]:
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found: dict[str, int] = {}
    for body in re.findall(r"enum \w+ \{(.*?)\}", text, flags=re.S):
        value = 0
        for name, given in re.findall(r"(\w+)(?:\s*=\s*(\w+))?\s*(?:,|$)", body):
            value = int(given, 0) if given else value
            found[name] = value
            value += 1
    return found


OPERATIONS = _operations()
NUMBERS = _enums((TREE / "native" / "plan.h").read_text()) | _constants()
WORDS = max(struct.calcsize(operation.format) + 7 for operation in OPERATIONS.values()) // 8


def number(name: str) -> int:
    """Value of an enumerator of plan.h, or of a constant of the table."""
    return NUMBERS[name]


def record(op: int, flags: int = 0, operands: bytes = b"", unused: int = 0) -> bytes:
    """A step from its parts."""
    return STEP.pack(op, flags, unused) + operands.ljust(8 * WORDS, b"\0")


class Plan:
    """A plan in the making: the strings of the steps are put into the table as they come."""

    def __init__(self) -> None:
        self.steps: list[bytes] = []
        self.table = bytearray(b"\0")
        self.slots = 0

    def copy(self) -> "Plan":
        """Return another plan that begins with the same steps."""
        other = Plan()
        other.steps, other.table, other.slots = list(self.steps), bytearray(self.table), self.slots
        return other

    def string(self, text: str) -> int:
        """Offset of a string in the table."""
        return self.strings([text])[0] if text else 0

    def strings(self, texts: list[str]) -> tuple[int, int]:
        """Offset and count of a list: strings one behind the other."""
        offset = len(self.table)
        for text in texts:
            self.table += os.fsencode(text) + b"\0"
        return (offset if texts else 0), len(texts)

    def array(self, data: bytes, item: int) -> tuple[int, int]:
        """Offset, a multiple of 8, and count of an array."""
        self.table += b"\0" * (-len(self.table) % 8)
        offset = len(self.table)
        self.table += data + b"\0"
        return offset, len(data) // item

    def _operand(self, kind: str, value: Any) -> tuple[int, ...]:
        match kind:
            case "strings":
                return self.strings(value)
            case "text" | "path" | "host_path":
                return (self.string(value),)
            case "slots" | "ids":
                return self.array(struct.pack(f"={len(value)}I", *value), 4)
            case "filter":
                return self.array(value, 8)
            case "slot" | "new_slot" | "optional_slot":
                self.slots = max(self.slots, value + 1)
        return (value,)

    def step(self, op: str, **operands: Any) -> Self:
        """Add a step: operands by their names, flags as true or false; what may be left out is nothing."""
        operation = OPERATIONS[op]
        unknown = operands.keys() - operation.operands.keys() - set(operation.flags)
        assert not unknown, f"{op} has no {', '.join(unknown)}"
        values: list[int] = []
        for name, kind in operation.operands.items():
            value = operands.get(name, FORMS[kind][1])
            assert value is not None, f"{op} needs {name}"
            values += self._operand(kind, value)
        flags = sum(operation.flag(name) for name in operation.flags if operands.get(name))
        self.steps.append(record(operation.number, flags, struct.pack(operation.format, *values)))
        return self

    def encode(self, ninputs: int = 0) -> bytes:
        """The plan as the block of memory that the stage reads."""
        nslots = max(self.slots, ninputs)
        head = (number("PLAN_MAGIC"), number("PLAN_VERSION"), len(self.steps), len(self.table), nslots, ninputs)
        return HEAD.pack(*head) + b"".join(self.steps) + bytes(self.table)

    def pause(self) -> Self:
        """Add a barrier that no parent lets pass: the stage can be looked at."""
        return self.step("barrier", point=number("BARRIER_HOOKS"))
