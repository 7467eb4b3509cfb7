"""Signals while something is half made, seen from outside: one line, 128 + n, and nothing is left.

test_killed.py has those that arrive while a hook of create runs, test_foreground.py those that are handed to the program.
"""

import signal
from pathlib import Path

import pytest

from tests.helpers_leaks import cgroups, processes_since
from tests.helpers_runtime import wait_until

pytestmark = pytest.mark.requires("root")
ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
# The pid is that of the state on the hook's standard input.
STAGE = 'read -r state; pid=${state#*\\"pid\\":}; pid=${pid%%[,\\}]*}; pid=$(echo $pid)'


def shell(script, **more):
    """Return a hook that is a shell script of the host."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], **more}


def status_of(pid, field):
    """Read a field of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{field}:"))


class Call:
    """A call of the runtime that is under way, with its messages in a file."""

    def __init__(self, runtime, bundle, verb, *options, **popen):
        """Start it."""
        self.container = runtime.container(bundle)
        self.err = bundle.path / "err"
        with open(self.err, "w") as err:
            words = (verb, *options, "--bundle", bundle.write(), bundle.id)
            self.process = runtime.spawn(*words, stdout=self.container.stdout.fd, stderr=err, **popen)

    def interrupted(self, runtime, number, verb):
        """Send a signal; demand the line and the status for it, and that all is gone."""
        self.process.send_signal(number)
        assert self.process.wait(20) == 128 + number, self.err.read_text()
        id = self.container.id
        assert self.err.read_text() == f"pyoci: {verb} {id}: interrupted by {number.name}\n"
        assert (runtime.entries(), cgroups(id)) == ([], [])
        wait_until(lambda: not processes_since(runtime.others), "no process is left")


def stopped_stage(bundle):
    """Let a hook stop the stage, which then does not answer any more; give the file that says so."""
    mark = bundle.path / "stopped"
    bundle.config["hooks"] = {"createRuntime": [shell(f"{STAGE}; kill -STOP $pid; echo $pid > {mark}.tmp; mv {mark}.tmp {mark}")]}
    return mark


@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("number", ENDING)
def test_a_stage_that_does_not_answer(runtime, bundle, verb, number):
    mark = stopped_stage(bundle)
    call = Call(runtime, bundle, verb)
    wait_until(mark.exists, "the stage is stopped")
    call.interrupted(runtime, number, verb)


@pytest.mark.parametrize("options", [(), ("--detach",)])
@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer", "poststart"])
def test_run_in_its_hooks(runtime, bundle, kind, options):
    mark = bundle.rootfs / "tmp/mark"
    if kind == "startContainer":
        bundle.mount("/tmp", type="bind", source=str(bundle.rootfs / "tmp"), options=["bind"])
        bundle.hook(kind, "write", "/tmp/mark", "x", "--", "hang")
    else:
        bundle.config["hooks"] = {kind: [shell(f"touch {mark}; sleep 60")]}
    call = Call(runtime, bundle.args("wait"), "run", *options)
    wait_until(mark.exists, "the hook runs")
    call.interrupted(runtime, signal.SIGTERM, "run")


@pytest.mark.parametrize("verb", ["create", "run"])
def test_what_the_caller_ignores_does_not_interrupt(runtime, bundle, verb):
    """As under nohup(1)."""
    mark, go = bundle.path / "mark", bundle.path / "go"
    bundle.config["hooks"] = {"createRuntime": [shell(f"touch {mark}; until test -e {go}; do sleep 0.05; done")]}
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    call = Call(runtime, bundle.args("true"), verb, **ignore)
    wait_until(mark.exists, "the hook runs")
    call.process.send_signal(signal.SIGHUP)
    go.touch()
    assert call.process.wait(20) == 0
    assert call.err.read_text() == ""


def test_poststop_hooks_of_an_interrupted_create_run_and_can_be_interrupted_too(runtime, bundle):
    create, poststop, done = (bundle.path / name for name in ("create", "poststop", "done"))
    bundle.config["hooks"] = {
        "createRuntime": [shell(f"touch {create}; sleep 60")],
        "poststop": [shell(f"touch {poststop}; sleep 60; touch {done}")],
    }
    call = Call(runtime, bundle, "create")
    wait_until(create.exists, "the hook runs")
    call.process.send_signal(signal.SIGTERM)
    wait_until(poststop.exists, "the poststop hook runs")
    call.process.send_signal(signal.SIGINT)
    assert call.process.wait(20) == 128 + signal.SIGTERM, "the first one is told"
    assert call.err.read_text().startswith(f"pyoci: create {bundle.id}: interrupted by SIGTERM")
    assert call.err.read_text().count("\n") == 1
    assert not done.exists()


@pytest.mark.parametrize("kind", ["createContainer", "startContainer"])
def test_programs_and_hooks_have_no_signal_held_back(runtime, bundle, kind):
    bundle.hook(kind, "report")
    container = runtime.waiting(bundle)
    for field in ("SigBlk", "SigIgn"):
        assert int(status_of(container.init, field), 16) == 0


def test_a_stopped_create_is_taken_apart_by_delete(runtime, bundle):
    """It holds the lock and does nothing: the process exists for this create only, so delete with force ends it."""
    mark = bundle.path / "mark"
    bundle.config["hooks"] = {"createRuntime": [shell(f"touch {mark}; sleep 60")]}
    call = Call(runtime, bundle, "create")
    wait_until(mark.exists, "the hook runs")
    call.process.send_signal(signal.SIGSTOP)
    runtime.call("delete", "--force", bundle.id).ok()
    assert call.process.wait(20) == -signal.SIGKILL
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])


@pytest.mark.parametrize("verb", ["create", "start"])
def test_delete_of_a_container_whose_hook_hangs(runtime, bundle, verb):
    """The hook is killed, so that the verb fails and takes itself back; pyoci itself is not."""
    mark = bundle.path / "mark"
    bundle.config["hooks"] = {"createRuntime" if verb == "create" else "poststart": [shell(f"touch {mark}; sleep 60")]}
    if verb == "create":
        call = Call(runtime, bundle, "create").process
    else:
        runtime.create(bundle.args("wait"))
        call = runtime.spawn("start", bundle.id, stderr=-3)
    wait_until(mark.exists, "the hook runs")
    runtime.call("delete", "--force", bundle.id).ok()
    assert call.wait(20) == 1
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])


def test_list_and_state_show_what_is_being_made(runtime, bundle):
    mark, go = bundle.path / "mark", bundle.path / "go"
    bundle.config["hooks"] = {"createRuntime": [shell(f"touch {mark}; until test -e {go}; do sleep 0.05; done")]}
    call = Call(runtime, bundle, "create")
    wait_until(mark.exists, "the hook runs")
    assert call.container.status == "creating"
    (line,) = [line for line in runtime.call("list").ok().out.splitlines() if bundle.id in line]
    assert "creating" in line.split() and str(bundle.path) in line
    go.touch()
    assert call.process.wait(20) == 0
    assert call.container.status == "created"
