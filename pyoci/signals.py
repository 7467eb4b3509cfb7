"""Signals while something is half made: they are held back, and whoever waits looks for them.

A program that embeds pyoci finds its signal mask and its handlers as they were: a signal for which it has a handler
ends what is being done, too, and is handed to the handler when that has been taken back.
"""

import os
import select
import signal
from collections.abc import Iterable
from typing import Self

from pyoci import native
from pyoci.errors import Interrupted

lib, ffi = native.lib, native.ffi
# What others send to end a program, by the action that it has unless it asks for another; signal(7).
ENDS_A_PROGRAM = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTERM,
    signal.SIGXCPU,
)
# A fault of our own; and two that the C library keeps for itself, nptl(7).
FAULTS = (
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGSEGV,
    signal.SIGSYS,
)
OF_THE_C_LIBRARY = (32, 33)


def mask(numbers: Iterable[int]) -> int:
    """Return a set of signals as the kernel takes it."""
    return sum(1 << number - 1 for number in numbers)


ENDING = mask(ENDS_A_PROGRAM)
EVERYTHING = ((1 << 64) - 1) & ~mask((*FAULTS, *OF_THE_C_LIBRARY))


class Signals:
    """Signals that are held back between ``with`` and its end: those that end a program, or all of them.

    A signal that the caller had ignored or blocked does not interrupt.
    """

    def __init__(self, what: str, *, everything: bool = False) -> None:
        """*what* is being done, as an error names it."""
        self.what = what
        self.hold = EVERYTHING if everything else ENDING
        self.held = ffi.new("struct pyoci_held *")
        self.fd = -1
        self.taken: list[int] = []

    def __enter__(self) -> Self:
        """Block the signals."""
        result = lib.pyoci_hold_signals(self.hold, ENDING, self.held)
        self.fd = native.check(result, "holding signals back")
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the mask, and pass signals that have arrived on to the handlers of the program."""
        os.close(self.fd)
        lib.pyoci_release_signals(self.held)
        for number in self.taken:
            if self.held.handled >> number - 1 & 1:
                os.kill(os.getpid(), number)

    def check(self) -> None:
        """Check whether a signal has arrived.

        Raises:
            Interrupted: it has.
        """
        number = lib.pyoci_read_signal(self.fd)
        if number > 0:
            self.taken.append(number)
            raise Interrupted(self.what, number, signal.Signals(number).name)

    def wait(self, fds: Iterable[int], milliseconds: float | None = None) -> list[int]:
        """Wait until one of the descriptors can be read (or has ended); none when the time is over.

        A descriptor that is ready comes before a signal: once the program runs, the signal is for it and ends no start.

        Raises:
            Interrupted: a signal has arrived, and nothing else.
        """
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        for fd in fds:
            poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(milliseconds)]
        if ready == [self.fd]:
            self.check()
        return [fd for fd in ready if fd != self.fd]
