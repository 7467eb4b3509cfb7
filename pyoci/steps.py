"""The plan as data: steps, inputs, and files that are written for the stage.

A step is an operation of pyoci.operations with its operands, and the setting that it comes from.  pyoci.stage.encode
turns steps into the records that the stage reads.

Slots have names here and numbers in the stage.  Inputs fill their slots before the first step; every other slot is
filled by the first step that names it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pyoci.operations import Operation

SLOT_KINDS = ("slot", "new_slot", "optional_slot")


class Input:
    """A descriptor that the host side opens and passes to the stage.

    slot is the slot that it fills, origin the JSON pointer of the setting that needs it.
    """

    __slots__ = ()
    slot: str
    origin: str

    def open(self, opener: "Opener") -> int:
        """Return a new descriptor.

        Raises:
            OSError, Error: it cannot be opened, or is not what it must be.
        """
        raise NotImplementedError

    def describe(self) -> str:
        """Return what is opened, in words."""
        raise NotImplementedError

    def content(self) -> str:
        """Return what else decides about the descriptor, for the printed plan."""
        return ""


class Opener:
    """What inputs need to know of the host side to open themselves."""

    directory: str
    given: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A file in the stage's /proc/PID that the host side writes before it sends the plan.

    The stage cannot write it any more once it is undumpable.  what, origin and hints are those of a Step; if the file
    is not required, EACCES is only a warning.
    """

    file: str
    text: str
    what: str
    origin: str = ""
    hints: Mapping[int, str] = field(default_factory=dict)
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A compiled seccomp filter: the BPF program, and SECCOMP_FILTER_FLAG_*.

    by_readv says that it refuses read(2), but not readv(2).
    """

    program: bytes
    flags: int = 0
    by_readv: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation of the stage, and why it is there.

    what describes it in the words of log, error and ``pyoci plan`` ("mounting proc on /proc"); origin is the JSON
    pointer of the setting that asked for it; hints maps an errno to an explanation; subject names the program, where
    the sentence about a failure is not made of what.
    """

    operation: Operation
    what: str
    origin: str = ""
    subject: str = ""
    hints: Mapping[int, str] = field(default_factory=dict)

    def slots(self) -> Iterator[tuple[str, bool]]:
        """Return each slot that the operation names, and whether it is one that the operation fills."""
        for name, kind, _ in self.operation.OPERANDS:
            if kind in SLOT_KINDS and (slot := getattr(self.operation, name)):
                yield slot, kind == "new_slot"
            elif kind == "slots":
                yield from ((slot, False) for slot in getattr(self.operation, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that makes a process the container's.

    CLONE_NEW* flags of clone3(2), inputs, steps in order, and files in /proc.
    """

    clone_flags: int = 0
    inputs: list[Input] = field(default_factory=list)
    steps: list[Step]
    writes: list[Write] = field(default_factory=list)
