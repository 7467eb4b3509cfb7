"""Terminals: handed over by --console-socket, and bridged in the foreground (config.md, process.terminal)."""

import json
import os
import pty
import signal
import socket
import termios

import pytest

from tests.helpers_leaks import descendants, processes_since
from tests.helpers_runtime import SMALL_ENVIRONMENT, wait_until
from tests.helpers_terminal import ConsoleSocket, Master

pytestmark = pytest.mark.requires("root")


@pytest.fixture
def listener(bundle):
    """A console socket beside the bundle."""
    bundle.process["terminal"] = True
    found = ConsoleSocket(bundle.path)
    yield found
    found.close()


def start(runtime, bundle, listener, *options):
    """Create and start with the console socket; give the container and the master."""
    container = runtime.create(bundle, "--console-socket", str(listener.path), *options)
    master = Master(listener.receive()[0])
    container.start()
    return container, master


def last_json(text):
    """The last line that a terminal has shown, as JSON."""
    return json.loads([line for line in text.replace("\r", "").splitlines() if line.startswith("{")][-1])


def test_console_socket(runtime, bundle, listener):
    container, master = start(runtime, bundle.args("report", ["echo", "done"]), listener)
    report = last_json(master.read_until("done\r\n"))
    container.wait()
    master.close()
    assert all(report["tty"]), "0, 1 and 2 are the terminal"
    assert {report["fds"][n] for n in "012"} <= {"/dev/pts/0", "/dev/console"}
    assert report["tty"][0]["session"] == report["sid"] == 1, "it is the controlling terminal"
    assert report["tty"][0]["foreground"] == report["pgid"]
    assert report["dev"]["console"]["type"] == "c"
    assert list(report["fds"]) == ["0", "1", "2"]


def test_one_descriptor_and_some_data(runtime, bundle, listener):
    runtime.create(bundle, "--console-socket", str(listener.path))
    descriptor, data, count = listener.receive()
    assert count == 1 and 1 <= len(data) < 4096
    assert os.isatty(descriptor)
    os.close(descriptor)


def test_console_size(runtime, bundle, listener):
    bundle.process["consoleSize"] = {"height": 33, "width": 111}
    container, master = start(runtime, bundle.args("report", ["echo", "done"]), listener)
    found = last_json(master.read_until("done\r\n"))["tty"][0]
    container.wait()
    master.close()
    assert (found["rows"], found["columns"]) == (33, 111)


def test_console_belongs_to_the_user(runtime, bundle, listener):
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    container, master = start(runtime, bundle.args("report", ["echo", "done"]), listener)
    found = last_json(master.read_until("done\r\n"))["tty"][0]
    container.wait()
    master.close()
    assert found["uid"] == 1000


def test_callers_resize(runtime, bundle, listener):
    container, master = start(runtime, bundle.args("wait"), listener)
    master.read_until("ready")
    master.resize(44, 55)
    found = last_json(master.read_until('"columns":55}'))
    container.kill("KILL")
    container.wait()
    master.close()
    assert (found["signal"], found["rows"]) == (signal.SIGWINCH, 44)


def test_control_c_reaches_the_program(runtime, bundle, listener):
    container, master = start(runtime, bundle.args("wait"), listener)
    master.read_until("ready")
    master.write("\x03")
    assert container.wait() == 128 + signal.SIGINT
    master.close()


def test_create_with_a_terminal_lets_go_of_its_output(runtime, bundle, listener):
    """A caller that waits for the end of the runtime's stdout and stderr must not wait for the container."""
    runtime.container(bundle)
    reader, writer = os.pipe()
    call = runtime.spawn(
        "create", "--bundle", bundle.write(), "--console-socket", listener.path, bundle.id, stdout=writer, stderr=writer
    )
    os.close(writer)
    os.close(listener.receive()[0])
    assert call.wait(30) == 0
    os.set_blocking(reader, False)
    wait_until(lambda: _at_end(reader), "end of file", 3)
    os.close(reader)


def _at_end(descriptor):
    try:
        return os.read(descriptor, 100) == b""
    except BlockingIOError:
        return False


def test_long_socket_path(runtime, bundle):
    bundle.process["terminal"] = True
    deep = bundle.path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    listener = ConsoleSocket(deep)
    try:
        container, master = start(runtime, bundle.args(["echo", "hello"]), listener)
    finally:
        listener.close()
    master.read_until("hello")
    container.wait()
    master.close()


def test_terminal_without_a_socket(runtime, bundle):
    bundle.process["terminal"] = True
    runtime.refuses(bundle, "console")


def test_socket_without_a_terminal(runtime, bundle, listener):
    bundle.process["terminal"] = False
    runtime.refuses(bundle, "console", options=("--console-socket", str(listener.path)))


def test_nobody_listens(runtime, bundle):
    bundle.process["terminal"] = True
    runtime.refuses(bundle, options=("--console-socket", str(bundle.path / "nothing.sock")))


def test_terminal_in_a_user_namespace(runtime, bundle, listener):
    bundle.user_namespace()
    container, master = start(runtime, bundle.args("report", ["echo", "done"]), listener)
    found = last_json(master.read_until("done\r\n"))
    container.wait()
    master.close()
    assert all(found["tty"])


# ---- the foreground


class Foreground:
    """The runtime with a terminal of ours as its stdio."""

    def __init__(self, runtime, *args):
        """Start the call in a session that has the terminal."""
        master, slave = pty.openpty()
        self.slave = slave
        self.master = Master(master)
        self.before = termios.tcgetattr(slave)
        self.master.resize(20, 70)
        self.call = runtime.spawn(
            *args, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**SMALL_ENVIRONMENT, "TERM": "xterm"},
        )  # fmt: skip

    def end(self, status):
        """Demand the exit status, and that the terminal is as it was."""
        found = self.call.wait(30)
        after = termios.tcgetattr(self.slave)
        self.master.close()
        os.close(self.slave)
        assert found == status
        assert after[:4] == self.before[:4], "the terminal's modes are restored"


def test_foreground(runtime, bundle):
    bundle.process["terminal"] = True
    runtime.container(bundle)
    front = Foreground(runtime, "run", "--bundle", bundle.args("report", ["echo", "done"]).write(), bundle.id)
    report = last_json(front.master.read_until("done\r\n"))
    front.end(0)
    assert all(report["tty"])
    assert (report["tty"][0]["rows"], report["tty"][0]["columns"]) == (20, 70)


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("stdin", ["terminal", "nothing"])
def test_lines_in_a_pipe_end_as_the_program_ends_them(runtime, bundle, verb, stdin):
    """Only a terminal wants CR LF, and makes it itself: a pipe gets what a program without a terminal would write."""
    front, slave = pty.openpty()
    call = {"stdin": slave if stdin == "terminal" else None}
    lines = [["echo", "one"], ["echo", "two\r"], ["echo", "three"]]
    if verb == "run":
        bundle.process["terminal"] = True
        shown = runtime.run(bundle.args(*lines), **call)
    else:
        shown = runtime.waiting(bundle).exec(*lines, options=("--tty",), **call)
    os.close(slave)
    os.close(front)
    assert (shown.status, shown.out) == (0, "one\ntwo\r\nthree\n")


def test_our_own_terminal_ends_lines_itself(runtime, bundle):
    """While it is raw for the keys that are typed."""
    bundle.process["terminal"] = True
    runtime.container(bundle)
    front = Foreground(runtime, "run", "--bundle", bundle.args("wait").write(), bundle.id)
    assert front.master.read_until("ready").count("\n") == front.master.seen.count(b"\r\n")
    _, output, _, local = termios.tcgetattr(front.slave)[:4]
    front.call.send_signal(signal.SIGTERM)
    front.end(128 + signal.SIGTERM)
    assert output & termios.OPOST and output & termios.ONLCR
    assert not local & (termios.ICANON | termios.ECHO | termios.ISIG)


def test_foreground_input_resize_and_status(runtime, bundle):
    bundle.process["terminal"] = True
    runtime.container(bundle)
    front = Foreground(runtime, "run", "--bundle", bundle.args("wait").write(), bundle.id)
    front.master.read_until("ready")
    front.master.resize(31, 101)
    os.kill(front.call.pid, signal.SIGWINCH)
    front.master.read_until('"rows":31,"columns":101')
    front.master.write("\x03")
    front.end(128 + signal.SIGINT)


def test_foreground_big_output(runtime, bundle):
    """Nothing of the end is lost when the program exits at once."""
    bundle.process["terminal"] = True
    (bundle.rootfs / "etc/big").write_text("0123456789abcde\n" * 20000)
    runtime.container(bundle)
    front = Foreground(runtime, "run", "--bundle", bundle.args(["cat", "/etc/big"], ["echo", "the end"]).write(), bundle.id)
    text = front.master.read_until("the end\r\n")
    front.end(0)
    assert text.count("0123456789abcde") == 20000


def test_exec_in_the_foreground(runtime, bundle):
    container = runtime.waiting(bundle)
    front = Foreground(runtime, "exec", "--tty", container.id, "/bin/probe", "report", "--", "echo", "done", "--", "exit", "7")
    report = last_json(front.master.read_until("done\r\n"))
    front.end(7)
    assert all(report["tty"])
    assert report["tty"][0]["session"] == report["sid"]


def test_exec_with_a_console_socket(runtime, bundle):
    container = runtime.waiting(bundle)
    before = set(descendants())
    listener = ConsoleSocket(bundle.path)
    process = {**bundle.process, "terminal": True, "args": ["/bin/probe", "report", "--", "echo", "done"]}
    container.exec_process(process, "--detach", "--console-socket", listener.path).ok()
    master = Master(listener.receive()[0])
    report = last_json(master.read_until("done\r\n"))
    master.close()
    listener.close()
    assert all(report["tty"])
    wait_until(lambda: not processes_since(before), "the program has ended")


def test_a_socket_where_nobody_accepts(runtime, bundle):
    """It is given up after some seconds: a caller that hangs must not make pyoci hang."""
    bundle.process["terminal"] = True
    path = str(bundle.path / "full")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        runtime.refuses(bundle, path, "ETIMEDOUT", options=("--console-socket", path))
