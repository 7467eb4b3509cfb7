"""The caller's side of a terminal: handing the master over a socket, or being the terminal's other end oneself."""

import errno
import os
import select
import signal

from pyoci import native
from pyoci.config.source import Option
from pyoci.errors import Error
from pyoci.files import write_all
from pyoci.options import CreateOptions, ExecOptions
from pyoci.process import reap
from pyoci.signals import EVERYTHING
from pyoci.stage.conversation import Stage

lib, ffi = native.lib, native.ffi
CHUNK = 65536


def send_descriptors(options: CreateOptions | ExecOptions, stage: Stage) -> None:
    """Send the caller what it has asked for: the terminal's master, and a pidfd of the process.

    Raises:
        Error: nobody listens at a socket.
    """
    if options.console_socket and stage.console >= 0:
        _send("--console-socket", options.console_socket, stage.console, b"/dev/ptmx")
        os.close(stage.console)
        stage.console = -1
    if options.pidfd_socket:
        _send("--pidfd-socket", options.pidfd_socket, stage.pidfd, b"pidfd")


def _send(option: str, path: str, fd: int, text: bytes) -> None:
    with Option(option):
        native.send_fd(path, fd, text, connecting=f"connecting to the socket {path}", sending=f"sending to {path}")


def check(terminal: bool, socket: str, detach: bool) -> None:
    """Refuse combinations under which nobody would hold the terminal.

    Raises:
        Error: terminal and console socket do not fit.
    """
    if terminal and detach and not socket:
        raise Error(
            "cannot allocate a terminal for a detached container without --console-socket", "/process/terminal"
        )
    if socket and not detach:
        raise Error("--console-socket needs --detach: in the foreground pyoci itself holds the terminal")
    if not terminal and socket:
        raise Error("--console-socket needs a process with a terminal", "/process/terminal")


class Foreground:
    """A process in the foreground: its signals, its terminal, its end.

    Signals that pyoci gets are passed on; with a terminal the bytes are copied both ways, pyoci's own
    terminal is raw meanwhile, and changes of its size are handed on.
    """

    def __init__(self) -> None:
        """Read signals as data from now on; they are held back already, see pyoci.signals."""
        self.signals = native.check(lib.pyoci_signalfd(EVERYTHING), "making a signal descriptor")
        self.saved = ffi.new("struct pyoci_termios *")
        self.raw = False

    def wait(self, pidfd: int, master: int) -> int:
        """Stay until the process ends; gives its exit status, or 128 + n for signal n.

        master is that of a terminal which begin() has taken up, or -1.  pidfd must be a child's.
        """
        try:
            self._loop(pidfd, master)
        finally:
            self.end()
        status = reap(pidfd)
        return 128 - status if status < 0 else status

    def begin(self, master: int) -> None:
        """Take up a terminal, before its program runs: give it our size, and make ours raw.

        A line ends with CR LF only on a terminal, which makes it so itself: what goes into a pipe or a file has none.
        Whoever has taken a terminal by --console-socket decides that there.
        """
        if master < 0:
            return
        native.check(lib.pyoci_tty_plain_newlines(master), "setting up the terminal")
        self._resize(master)
        if os.isatty(0):
            self.raw = lib.pyoci_tty_raw(0, self.saved) == 0
        os.set_blocking(master, False)

    def end(self) -> None:
        """Restore our terminal, and stop reading signals."""
        if self.raw:
            lib.pyoci_tty_restore(0, self.saved)
            self.raw = False
        if self.signals >= 0:
            os.close(self.signals)
            self.signals = -1

    def _loop(self, pidfd: int, master: int) -> None:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self.signals, select.POLLIN)
        if master >= 0:
            poll.register(master, select.POLLIN)
            poll.register(0, select.POLLIN)
        pending = b""
        while True:
            if master >= 0:
                poll.modify(master, select.POLLIN | (select.POLLOUT if pending else 0))
            events = dict(poll.poll())
            if self.signals in events:
                self._forward(pidfd, master)
            if master in events and not self._copy_out(master, events[master]):
                poll.unregister(master)
                master = -1
            if master >= 0 and 0 in events and not pending:
                pending = self._read_input(poll)
            if master >= 0 and pending:
                pending = self._copy_in(master, pending)
            if pidfd in events:
                if master >= 0:
                    self._copy_out(master, select.POLLIN)
                return

    def _forward(self, pidfd: int, master: int) -> None:
        number = lib.pyoci_read_signal(self.signals)
        if number == signal.SIGWINCH and master >= 0:
            self._resize(master)
        elif number > 0 and number not in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG):
            lib.pyoci_pidfd_send_signal(pidfd, number)

    def _resize(self, master: int) -> None:
        """Set the size of the terminal to that of ours, if we have one."""
        size = ffi.new("unsigned short[2]")
        if lib.pyoci_winsize_get(0, size) == 0 and size[0]:
            lib.pyoci_winsize_set(master, size)

    def _copy_out(self, master: int, event: int) -> bool:
        """Copy what the container printed; False once the terminal has been closed on the other side."""
        while True:
            try:
                data = os.read(master, CHUNK)
            except BlockingIOError:
                return not event & select.POLLHUP or bool(event & select.POLLIN)
            except OSError as error:
                if error.errno == errno.EIO:
                    return False
                raise
            if not data:
                return False
            try:
                write_all(1, data)
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.EIO):
                    raise

    def _read_input(self, poll: select.poll) -> bytes:
        """Read from our standard input; at its end the container's terminal gets an end of file, ^D."""
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b""
        if not data:
            poll.unregister(0)
            return b"\x04"
        return data

    def _copy_in(self, master: int, pending: bytes) -> bytes:
        try:
            return pending[os.write(master, pending) :]
        except BlockingIOError:
            return pending
        except OSError:
            return b""
