"""The plan as data: steps, the inputs they use, and their constructors.

A Step names an operation of native/plan.h, holds its operands as plain values (strings, lists of
strings, bytes, numbers, slot names) and knows how to describe itself and which JSON pointer it came
from.  Nothing here makes a system call; pyoci.native encodes the steps as records.

A slot is referred to by its name.  Inputs are the slots that are filled before the first step, from
the host side; all other slots are filled by the step that names them first.
"""

from pyoci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Operand = int | str | bytes | list[str]


class Input(Record):
    """A descriptor that the host side opens and hands to the stage.

    kind says how: ``file`` (path opened read-only), ``path`` (O_PATH), ``tree`` (a detached clone made
    by the host, because it must stay a peer of the host's mount), ``node`` (a device node made
    by the host; detail holds its mode, device number, uid and gid), ``namespace`` (path,
    checked to be of type detail), ``fifo`` (opened for reading and writing), ``memfd`` (made empty;
    filled at a barrier), ``pidfd``, ``userns`` (a new user namespace with the mappings of maps),
    ``descriptor`` (already open).  maps holds two lines of ``containerID:hostID:size`` words, uids and gids.
    changes names a setting that changes the namespace, which therefore must not be the host's.
    """

    slot: str
    kind: str
    path: str = ""
    detail: str = ""
    origin: str = ""
    maps: str = ""
    changes: str = ""


class Write(Record):
    """A file in the stage's /proc/PID that the host side writes before it sends the plan.

    It belongs to the host's root once the stage has hidden itself.  what, origin and hints are as a Step's; what is not
    required and may not be written is warned of.
    """

    file: str
    text: str
    what: str
    origin: str = ""
    hints: "Mapping[int, str]" = {}
    required: bool = True


class Step(Record):
    """One operation of the stage.

    what describes it in the words of log, error and ``pyoci plan`` ("mounting proc on /proc"); origin
    is the JSON pointer of the setting that asked for it; hints maps an errno to an explanation; subject
    names the program, where the sentence about a failure is not made of what.
    strings maps an operand's letter to text: a str is one string, a list of str a list (its count goes
    into the next letter), bytes a blob (its number of items, length / blob_item, into the next letter).
    """

    op: str
    what: str
    origin: str = ""
    subject: str = ""
    slot: str = ""
    flags: int = 0
    strings: "Mapping[str, str | list[str] | bytes]" = {}
    numbers: "Mapping[str, int]" = {}
    slots: "Mapping[str, str]" = {}
    blob_item: int = 4
    hints: "Mapping[int, str]" = {}


class Plan(Record):
    """What turns a process into the container: how it is born, what is written for it, inputs, then steps in order."""

    clone_flags: int
    inputs: "list[Input]"
    steps: "list[Step]"
    writes: "list[Write]" = []

    def describe(self) -> "list[tuple[str, str]]":
        """Give every step in words, with the JSON pointer it comes from ("" for pyoci's own)."""
        return [(step.what, step.origin) for step in self.steps]
