"""The plan as data: steps, the inputs they use, and what is written for the stage beforehand.

A Step is an operation with its operands (pyoci.operations), and where it comes from.  Nothing here makes a system call;
pyoci.stage.encode turns steps into the records that the stage reads.

A slot is referred to by its name.  Inputs are the slots that are filled before the first step, from the host side; all
other slots are filled by the step that names them first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pyoci.operations import Operation

SLOT_KINDS = ("slot", "new_slot", "optional_slot")


class Input:
    """A descriptor that the host side opens and hands to the stage: which slot it fills, and the setting it is of."""

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


class Opener:
    """What inputs need to know of the host side to open themselves."""

    directory: str
    given: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A file in the stage's /proc/PID that the host side writes before it sends the plan.

    It belongs to the host's root once the stage has hidden itself.  what, origin and hints are as a Step's; what is not
    required and may not be written is warned of.
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
    """What turns a process into the container: how it is born, what is written for it, inputs, then steps in order.

    clone_flags are the CLONE_NEW* flags that the stage is born with.
    """

    clone_flags: int = 0
    inputs: list[Input] = field(default_factory=list)
    steps: list[Step]
    writes: list[Write] = field(default_factory=list)
