"""What all operations have in common."""

from typing import ClassVar


class Operation:
    """An operation of the stage with its operands; spec/operations says what the kinds of operands are.

    NAME and NUMBER are those of the table; OPERANDS holds (name, kind, set of numbers) in the order in which the stage
    has them in memory, FLAGS the names of the operands that are bits of one word.
    """

    __slots__ = ()
    NAME: ClassVar[str] = ""
    NUMBER: ClassVar[int] = -1
    OPERANDS: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    FLAGS: ClassVar[tuple[str, ...]] = ()
