"""What a stage's process looks like from outside, and the company that tests give it."""

import contextlib
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .harness import DEADLINE

CAP_SYS_ADMIN = 21


def status(pid: int, field: str) -> str:
    """A field of /proc/PID/status, its white space made blanks."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return " ".join(value.split())
    raise AssertionError(f"no field {field}")


def own_capabilities() -> int:
    """What this process may hand on."""
    return int(status(os.getpid(), "CapPrm"), 16)


def namespace(pid: int | str, kind: str) -> str:
    """The identity of a process's namespace."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def inside(pid: int, namespaces: str, *command: str) -> str:
    """Output of a command run in namespaces of a process (options of nsenter(1))."""
    result = subprocess.run(
        ["nsenter", "-t", str(pid), *namespaces.split(), "--", *command],
        stdout=subprocess.PIPE, text=True, check=True, timeout=DEADLINE,
    )
    return result.stdout.strip()


def wait_readable(fd: int) -> None:
    """Wait until a descriptor can be read (a pidfd: until the process has ended)."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(DEADLINE * 1000), "nothing happens"


def is_alive(pidfd: int) -> bool:
    """Whether the process of a pidfd still runs."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)


def is_hidden(pid: int) -> bool:
    """Whether a process of another user cannot be traced by him: not dumpable, its files in /proc are root's."""
    return Path(f"/proc/{pid}/environ").stat().st_uid == 0


@contextlib.contextmanager
def holder(*options: str) -> Iterator[int]:
    """A process that lives in new namespaces (options of unshare(1)); gives its pid."""
    process = subprocess.Popen(
        ["unshare", *options, "--", "sh", "-c", "echo ready; exec sleep 1000"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextlib.contextmanager
def stdio(**given: int) -> Iterator[None]:
    """Let what is started meanwhile have other descriptors 0, 1 and 2: stdin, stdout, stderr."""
    numbers = {"stdin": 0, "stdout": 1, "stderr": 2}
    saved = {name: os.dup(numbers[name]) for name in given}
    try:
        for name, fd in given.items():
            os.dup2(fd, numbers[name])
        yield
    finally:
        for name, fd in saved.items():
            os.dup2(fd, numbers[name])
            os.close(fd)


@contextlib.contextmanager
def opened(path: str | Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor for the time of a block."""
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def read_all(fd: int) -> str:
    """Everything up to the end of file, which must come before the deadline."""
    data = b""
    while True:
        wait_readable(fd)
        chunk = os.read(fd, 65536)
        if not chunk:
            return data.decode()
        data += chunk
