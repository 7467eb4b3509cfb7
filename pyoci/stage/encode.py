"""A plan as the block of memory that the stage reads: native/plan.h, native/operations.h."""

from collections.abc import Callable, Sequence
from struct import Struct, pack
from typing import Any

from pyoci import operations
from pyoci.native import lib
from pyoci.operations import WORDS, Operation
from pyoci.steps import Plan

HEAD = Struct("=6I")
OPERATION_HEAD = "=HHI"
# By kind of operand: the format of its member, and the method of Table that turns it into numbers.
FORMATS = {
    "number64": ("Q", ""),
    "flags64": ("Q", ""),
    "device": ("Q", ""),
    "strings": ("II", "list"),
    "slots": ("II", "slots"),
    "ids": ("II", "ids"),
    "filter": ("II", "filter"),
    "slot": ("i", "slot"),
    "new_slot": ("i", "slot"),
    "optional_slot": ("i", "slot"),
    "text": ("I", "text"),
    "path": ("I", "text"),
    "host_path": ("I", "text"),
    "signed": ("i", ""),
}
NUMBER = ("I", "")
SOCK_FILTER_SIZE = 8  # struct sock_filter


class Encoder:
    """The string table of a plan, and the numbers of its slots."""

    def __init__(self, slots: Sequence[str]) -> None:
        """Begin with the empty string at offset 0, and with the slots of the inputs."""
        self.data = bytearray(1)
        self.numbers = {name: index for index, name in enumerate(slots)}

    def slot(self, name: str) -> int:
        """Return the number of a slot, -1 for none."""
        return self.numbers.setdefault(name, len(self.numbers)) if name else -1

    def text(self, text: str) -> int:
        """Return the offset of a string, which holds no NUL."""
        if not text:
            return 0
        offset = len(self.data)
        self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return offset

    def list(self, texts: Sequence[str]) -> tuple[int, int]:
        """Return the offset and the number of strings, one behind the other."""
        offset = len(self.data)
        for text in texts:
            self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return (offset if texts else 0), len(texts)

    def slots(self, names: Sequence[str]) -> tuple[int, int]:
        """Return the offset and the number of slots."""
        return self._array(pack(f"={len(names)}i", *map(self.slot, names)), len(names))

    def ids(self, ids: Sequence[int]) -> tuple[int, int]:
        """Return the offset and the number of users or groups."""
        return self._array(pack(f"={len(ids)}I", *ids), len(ids))

    def filter(self, program: bytes) -> tuple[int, int]:
        """Return the offset and the number of instructions of a BPF program."""
        return self._array(program, len(program) // SOCK_FILTER_SIZE)

    def _array(self, items: bytes, count: int) -> tuple[int, int]:
        self.data += bytes(-len(self.data) % 8)
        offset = len(self.data)
        self.data += items + b"\0"
        return offset, count

    def record(self, operation: Operation) -> bytes:
        """Return a step."""
        record, members = RECORDS[type(operation)]
        flags = 0
        for bit, name in enumerate(operation.FLAGS):
            flags |= getattr(operation, name) << bit
        values: list[int] = [operation.NUMBER, flags, 0]
        for name, encode in members:
            value: Any = getattr(operation, name)
            if encode is not None:
                value = encode(self, value)
            if type(value) is tuple:
                values += value
            else:
                values.append(value)
        return record.pack(*values)


def layout(kind: type[Operation]) -> tuple[Struct, list[tuple[str, Callable[[Encoder, Any], Any] | None]]]:
    """Return how a step of this operation lies in memory, and how each operand is turned into its numbers."""
    form = OPERATION_HEAD
    members: list[tuple[str, Callable[[Encoder, Any], Any] | None]] = []
    for name, operand, _ in kind.OPERANDS:
        letters, method = FORMATS.get(operand, NUMBER)
        form += letters
        members.append((name, getattr(Encoder, method) if method else None))
    size = Struct(OPERATION_HEAD).size + 8 * WORDS
    return Struct(f"{form}{size - Struct(form).size}x"), members


RECORDS = {
    kind: layout(kind)
    for kind in vars(operations).values()
    if isinstance(kind, type) and issubclass(kind, Operation) and kind.NUMBER >= 0
}


def encode(plan: Plan) -> bytes:
    """Return *plan* as the stage reads it."""
    return encode_with_slots(plan)[0]


def encode_with_slots(plan: Plan) -> tuple[bytes, int]:
    """Return *plan* as the stage reads it, and how many slots it has."""
    encoder = Encoder([given.slot for given in plan.inputs])
    records = [encoder.record(step.operation) for step in plan.steps]
    data = encoder.data
    if data[-1]:
        data += b"\0"
    slots = len(encoder.numbers)
    head = HEAD.pack(lib.PLAN_MAGIC, lib.PLAN_VERSION, len(records), len(data), slots, len(plan.inputs))
    return b"".join([head, *records, data]), slots
