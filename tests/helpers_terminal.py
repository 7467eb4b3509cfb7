"""The caller's half of a console: the socket that receives the master, and terminals of our own."""

import array
import contextlib
import fcntl
import os
import select
import socket
import struct
import termios
import time
from pathlib import Path

from tests.helpers_runtime import DEADLINE


class ConsoleSocket:
    """What conmon and the shim listen on for ``--console-socket``."""

    def __init__(self, directory: Path, name: str = "console.sock") -> None:
        """Listen; a long path is bound through the directory's descriptor."""
        self.path = directory / name
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.ExitStack() as stack:
            handle = os.open(directory, os.O_PATH | os.O_DIRECTORY)
            stack.callback(os.close, handle)
            self.listener.bind(f"/proc/self/fd/{handle}/{name}")
        self.listener.listen()
        self.listener.settimeout(DEADLINE)

    def receive(self) -> tuple[int, bytes, int]:
        """Accept one connection; give the descriptor, the data beside it, and how many descriptors came."""
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(DEADLINE)
            data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4 * 16))
            descriptors = array.array("i")
            for _, _, payload in ancillary:
                descriptors.frombytes(payload[: len(payload) // 4 * 4])
            rest = connection.recv(4096)
        assert rest == b"", "one message, then the connection is closed"
        assert descriptors, "no descriptor came"
        return descriptors[0], data, len(descriptors)

    def close(self) -> None:
        """Stop listening."""
        self.listener.close()


class Master:
    """The master side of a pseudo-terminal."""

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor over."""
        self.fd = descriptor
        self.seen = b""

    def read_until(self, text: str, deadline: float = DEADLINE) -> str:
        """Read until *text* has come, or the other side is gone."""
        end = time.monotonic() + deadline
        while text.encode() not in self.seen:
            ready = select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]
            assert ready, f"no {text!r} within {deadline} s: {self.seen!r}"
            try:
                chunk = os.read(self.fd, 65536)
            except OSError:  # EIO: nobody has the other side open
                chunk = b""
            assert chunk, f"the terminal ended without {text!r}: {self.seen!r}"
            self.seen += chunk
        return self.seen.decode(errors="replace")

    def write(self, text: str) -> None:
        """Type something."""
        os.write(self.fd, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Hang up."""
        os.close(self.fd)
