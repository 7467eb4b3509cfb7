"""Signals that are held back: when they interrupt, and when they wait."""

import os
import signal

import pytest

from pyoci.errors import Interrupted
from pyoci.signals import Signals


def test_what_has_happened_comes_before_a_signal():
    read, write = os.pipe()
    with Signals("run one", everything=True) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.write(write, b"the program runs")
        assert signals.wait((read,)) == [read]
        os.read(read, 100)
        with pytest.raises(Interrupted, match="run one: interrupted by SIGUSR1"):
            signals.wait((read,))
    os.close(read)
    os.close(write)
