"""What the tests inherit from whoever starts them, made ordinary: a nice value, signals that are ignored or blocked."""

import contextlib
import os
import signal
from types import FrameType

PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them itself, and subprocess gives them back to children


def _nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal as if it were ignored."""


def make_ordinary() -> None:
    """Let children start with nice value 0, and with no signal ignored or blocked.

    A shell without job control ignores SIGINT and SIGQUIT in a background command, nohup(1) ignores SIGHUP, and an
    exec keeps that.  This process goes on to disregard such a signal, by a handler: an exec resets those.
    Only with CAP_SYS_NICE can the nice value be lowered.
    """
    for number in signal.valid_signals() - set(PYTHONS_OWN):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.getpriority(os.PRIO_PROCESS, 0) > 0:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
