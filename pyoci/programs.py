"""Programs of the host that are run to their end: hooks, newuidmap(1), ps(1)."""

import os
import select
import time
from collections.abc import Callable
from errno import EINTR
from signal import SIGKILL

from pyoci.log import debug
from pyoci.native import check, cstring, ffi, lib
from pyoci.signals import Signals

TAIL, OUTPUT_LIMIT = 4096, 16 << 20


class ProgramTimeout(Exception):
    """A program of the host ran out of time and was killed; the text is what it printed."""


def run_program(
    path: str,
    argv: list[str],
    env: list[str],
    text: bytes,
    timeout: int | None,
    *,
    whole: bool = False,
    bound: bool = False,
    signals: Signals | None = None,
    started: Callable[[int], None] | None = None,
) -> tuple[int, str]:
    """Run a program of the host to its end, with *text* on its standard input.

    timeout is in seconds, None waits for ever; a bound program is killed when this process dies.  Gives the exit
    status (negative: the signal that killed it) and the end of what it printed, as one line; with whole all of
    it, as it is.  started is called with its pid.

    Raises:
        OSError: it cannot be run.
        ProgramTimeout: it was killed, with its process group.
        Interrupted: one of *signals* has arrived; it was killed, too.
    """
    begun = time.monotonic()
    pid, pidfd, output = _start(path, argv, env, text, bound)
    try:
        if started is not None:
            started(pid)
        status, told = _watch(pid, pidfd, output, timeout, whole, signals)
        after = f"after {(time.monotonic() - begun) * 1000:.3f} ms"
        debug(f"{path} has ended with status {status} {after}{told and f'; it printed: {told}'}")
        return status, told
    except BaseException:
        _end_group(pid)
        raise
    finally:
        os.close(pidfd)
        os.close(output)


def _start(path: str, argv: list[str], env: list[str], text: bytes, bound: bool) -> tuple[int, int, int]:
    """Start the program; gives its pid, its pidfd, and the reading end of what it prints."""
    debug(f"running {' '.join([path, *argv[1:]])}")
    memfd = check(lib.pyoci_memfd(b"pyoci-stdin", text, len(text), 0), "making a memfd")
    output, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(output, False)  # this end only: the program's writes block when the pipe is full
    pidfd = ffi.new("int *")
    pid = -EINTR
    try:
        pid = lib.pyoci_execute(
            cstring(path), _packed(argv), len(argv), _packed(env), len(env), memfd, write_end, -1, bound, pidfd
        )
    finally:
        os.close(memfd)
        os.close(write_end)
        if pid < 0:
            os.close(output)
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid))
    return pid, pidfd[0], output


def _end_group(pid: int) -> None:
    """Kill what is left of a program's process group, and the program, unless that has been waited for."""
    try:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            os.killpg(pid, SIGKILL)  # it has not been waited for, so the number is still its own
        os.waitpid(pid, 0)
    except OSError:
        return


def _watch(
    pid: int, pidfd: int, output: int, timeout: int | None, whole: bool, signals: Signals | None
) -> tuple[int, str]:
    """Collect output until the program ends; what its children print later is not waited for."""
    deadline = None if timeout is None else time.monotonic() + timeout
    poll = select.poll()
    for fd in (output, pidfd, *([signals.fd] if signals else [])):
        poll.register(fd, select.POLLIN)
    tail, ended = b"", False
    while not ended:
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        events = dict(poll.poll(left))
        if signals and signals.fd in events:
            signals.check()
        ended = pidfd in events
        if output in events or ended:
            tail = _drain(output, tail, poll, OUTPUT_LIMIT if whole else TAIL)
        if not events:
            _end_group(pid)
            raise ProgramTimeout(printed(one_line(_drain(output, tail, poll, TAIL).decode("utf-8", "replace"))))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = tail.decode("utf-8", "replace")
    return status, text if whole else one_line(text)


def _drain(fd: int, tail: bytes, poll: select.poll, limit: int) -> bytes:
    """Read what is there, and keep the end of it."""
    while True:
        try:
            chunk = os.read(fd, 65536)
        except BlockingIOError:
            return tail
        if not chunk:
            poll.modify(fd, 0)
            return tail
        tail = (tail + chunk)[-limit:]


def _packed(texts: list[str]) -> bytes:
    """Put strings one behind the other, each with its NUL."""
    return b"".join(cstring(text) + b"\0" for text in texts)


def ended(code: int) -> str:
    """Say how a program ended that did not succeed; *code* is its exit status, or minus the signal that killed it."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"


def printed(text: str) -> str:
    """Say what a program printed, in one line; "" when it was nothing."""
    line = one_line(text)
    return f"it printed: {line}" if line else ""


def one_line(text: str) -> str:
    """Fold a text into one line that a terminal can show."""
    return " | ".join(
        "".join(c if c.isprintable() else " " for c in line).strip() for line in text.strip().splitlines()
    )
