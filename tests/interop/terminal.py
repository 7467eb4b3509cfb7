"""Run a command whose standard streams are a pseudo-terminal and return what it showed."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path


def run(
    command: list[str],
    *,
    env: dict[str, str],
    cwd: Path,
    rows: int = 33,
    columns: int = 99,
    typed: bytes = b"",
    prompt: bytes = b"",
    deadline: float = 60.0,
) -> tuple[int, str]:
    """Run `command` on a terminal; type `typed` once `prompt` was shown. Return its status and all output."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    child = subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        shown = _converse(master, typed, prompt, time.monotonic() + deadline)
        return child.wait(10), shown.decode(errors="replace").replace("\r\n", "\n")
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(master)


def _converse(master: int, typed: bytes, prompt: bytes, end: float) -> bytes:
    shown = b""
    poll = select.poll()
    poll.register(master, select.POLLIN)
    while True:
        assert poll.poll(max(0, end - time.monotonic()) * 1000), (
            f"nothing more came on the terminal after {shown!r}"
        )
        try:
            chunk = os.read(master, 4096)
        except OSError:  # EIO: the last process closed the terminal
            return shown
        if not chunk:
            return shown
        shown += chunk
        if typed and prompt in shown:
            os.write(master, typed)
            typed = b""
