"""run in the foreground: exit status, streams, signals, and what is left afterwards."""

import signal

import pytest

pytestmark = pytest.mark.requires("root")


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_run_gives_the_exit_status(runtime, bundle, status):
    result = runtime.run(bundle.args(["exit", status]))
    assert (result.status, result.err) == (status, "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_run_gives_128_plus_the_signal(runtime, bundle, number):
    bundle.without_namespace("pid")
    assert runtime.run(bundle.args(["raise", int(number)])).status == 128 + number


def test_run_passes_stdio_through(runtime, bundle):
    result = runtime.run(bundle.args(["cat"], ["complain", "to stderr"]), stdin="from the caller")
    assert (result.status, result.out, result.err) == (0, "from the caller", "to stderr\n")


def test_run_deletes_afterwards(runtime, bundle):
    runtime.run(bundle.args("true")).ok()
    assert runtime.entries() == []


def test_run_keep(runtime, bundle):
    runtime.run(bundle.args("true"), "--keep").ok()
    assert runtime.containers[0].status == "stopped"
    runtime.containers[0].delete().ok()


def test_run_detached(runtime, bundle):
    container = runtime.container(bundle.args("wait"))
    file = bundle.path / "pid"
    result = runtime.call(
        "run", "--detach", "--pid-file", file, "--bundle", bundle.write(), bundle.id, out=container.stdout
    )
    assert result.status == 0
    container.init = container.pid
    container.until_ready()
    assert file.read_text() == str(container.init)
    container.kill("TERM")
    assert container.wait() == 128 + signal.SIGTERM


def test_run_forwards_signals(runtime, bundle):
    container = runtime.container(bundle.args("wait"))
    call = runtime.spawn("run", "--bundle", bundle.write(), bundle.id, stdout=container.stdout.fd)
    container.until_ready()
    for number in (signal.SIGUSR1, signal.SIGHUP):
        call.send_signal(number)
        container.until(lambda number=number: number in container.signals(), "the signal arrives")
    call.send_signal(signal.SIGTERM)
    assert call.wait(20) == 128 + signal.SIGTERM


@pytest.mark.usefixtures("one_file")
@pytest.mark.parametrize("kind", ["", "createRuntime"])
def test_run_where_the_caller_ignores_the_end_of_its_children(runtime, bundle, kind):
    """The kernel would collect ours then, and forget how they ended."""
    if kind:
        bundle.hook(kind, "true")
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)}
    assert runtime.run(bundle.args(["exit", 42]), **ignore).status == 42


@pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG])
def test_signals_that_are_about_the_runtime_itself_are_not_forwarded(runtime, bundle, number):
    """That a child of its own has ended, that nobody reads its output.

    The kernel delivers the lower number first: when SIGRTMAX has arrived, the other would have.
    """
    container = runtime.container(bundle.args("wait"))
    call = runtime.spawn("run", "--bundle", bundle.write(), bundle.id, stdout=container.stdout.fd)
    container.until_ready()
    call.send_signal(number)
    call.send_signal(signal.SIGRTMAX)
    container.until(lambda: signal.SIGRTMAX in container.signals(), "the last signal arrives")
    assert container.signals() == [signal.SIGRTMAX]
    call.send_signal(signal.SIGTERM)
    assert call.wait(20) == 128 + signal.SIGTERM
