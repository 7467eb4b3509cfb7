"""The harness: what a caller of the tests ignores, blocks or has made nice does not reach what they start.

And a build that is older than its sources is not tested.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import helpers_runtime

TREE = Path(__file__).resolve().parents[2]
SHOW = "import os, signal; print(open('/proc/self/status').read(), os.nice(0))"
CHILD = f"import subprocess, sys; from tests.helpers_start import make_ordinary; make_ordinary(); subprocess.run([sys.executable, '-c', {SHOW!r}])"


def bits(*numbers: int) -> int:
    return sum(1 << number - 1 for number in numbers)


# make starts programs that ignore these, and no program can change that; signal(7).
OF_THE_C_LIBRARY = bits(32, 33)


def started(*prefix: str) -> tuple[dict[str, int], int]:
    """Start a program as the tests do, below *prefix*; return its masks of signals and its nice value."""
    command = [*prefix, sys.executable, "-c", CHILD]
    shown = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=60, check=True).stdout
    *lines, nice = shown.splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: int(fields[name], 16) & ~OF_THE_C_LIBRARY for name in ("SigIgn", "SigBlk")}, int(nice)


def test_signals_that_a_shell_ignores_in_the_background() -> None:
    masks, _ = started("sh", "-c", "trap '' HUP INT QUIT TERM; exec \"$@\"", "sh")
    assert masks == {"SigIgn": bits(13, 25), "SigBlk": 0}, "those that Python ignores, and no others"


def test_blocked_signals() -> None:
    block = "import os, signal, sys; signal.pthread_sigmask(0, (2, 15, 34)); os.execv(sys.argv[1], sys.argv[1:])"
    masks, _ = started(sys.executable, "-c", block)
    assert masks["SigBlk"] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to lower the nice value")
def test_nice() -> None:
    assert started("nice", "-n", "5")[1] == 0


def test_the_source_that_is_newer_than_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers_runtime, "REPOSITORY", tmp_path)
    built = tmp_path / "build" / "pyoci"
    for number, name in enumerate(("pyoci/a.py", "native/stage/b.c", "build/pyoci", "native/__pycache__/c.pyc", "pyoci/d.so")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (number, number))
    assert helpers_runtime.newer_source() == ""
    os.utime(built, (0, 0))
    assert helpers_runtime.newer_source() == "native/stage/b.c"
    built.unlink()
    assert helpers_runtime.newer_source() == ""
