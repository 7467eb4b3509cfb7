"""A Python program that uses pyoci: its signals, descriptors and children are as before, and nobody kills it."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.helpers_leaks import cgroups, reap
from tests.helpers_runtime import REPOSITORY, wait_until

pytest.importorskip("pyoci._native", reason="the extension is not built")
pytestmark = [pytest.mark.requires("root"), pytest.mark.usefixtures("pyoci_alone")]

PRELUDE = """
import ctypes, json, os, signal, sys
from pyoci.container import Container
from pyoci.errors import Error, HookError, Interrupted, StateError
from pyoci.options import CreateOptions, ExecOptions

root, bundle, name = sys.argv[1:]
options = CreateOptions(bundle=bundle)


def observe():
    mask = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    handlers = [str(signal.getsignal(n)) for n in range(1, 65) if n not in (32, 33)]
    fds = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}
    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    return mask, handlers, sorted(fds.items()), children


def tell(**what):
    print(json.dumps(what), flush=True)
"""


@pytest.fixture
def program(runtime, bundle):
    """Start a Python program that uses pyoci on the bundle; give its Popen."""
    started = []

    def start(script):
        runtime.container(bundle)
        code = PRELUDE + textwrap.dedent(script)
        words = [sys.executable, "-c", code, str(runtime.root), str(bundle.write()), bundle.id]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def lines(process):
    """Wait for the end of a program that succeeds; give what it told."""
    out, _ = process.communicate("", timeout=60)
    assert process.returncode == 0, out
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


LOOP = """
def create_and_delete():
    container = Container.create(root, name, options)
    container.start()
    pid = container.state.pid
    assert container.execute(ExecOptions(argv=["/bin/probe", "true"])) == 0
    assert container.execute(ExecOptions(argv=["/bin/probe", "true"], detach=True, pid_file=f"{bundle}/exec.pid")) == 0
    container.pause(); container.resume()
    assert container.status() == "running"
    os.waitpid(int(open(f"{bundle}/exec.pid").read()), 0)  # the container's PID namespace does not end before
    Container.delete(root, name, force=True)
    os.waitpid(pid, 0)
"""
CASES = {
    "create, start, exec, delete": LOOP + "act = create_and_delete",
    "run": 'act = lambda: Container.run(root, name, options)',
    "create that fails": """
def act():
    try:
        Container.create(root, name, options)
    except Error:
        return
    raise SystemExit("it did not fail")
""",
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_the_program_changes(bundle, program, case):
    bundle.args({"run": "true", "create that fails": "true"}.get(case, "wait"))
    if case == "create that fails":
        bundle.process["args"] = ["/nowhere"]
    script = CASES[case] + "\nact()\nbefore = observe()\nfor _ in range(5):\n    act()\ntell(before=before, after=observe())"
    told = lines(program(script))[-1]  # the container prints, too
    assert told["before"] == told["after"]


def hanging(bundle):
    """Let create hang in a hook; give the file that shows that it does."""
    mark = bundle.path / "mark"
    script = f"touch {mark}; exec sleep 60"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]}
    return mark


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_handler_of_the_program_is_called_once_all_is_taken_back(bundle, program, runtime, number):
    mark = hanging(bundle)
    process = program(f"""
        def handler(number, frame):
            tell(handler=number, left=os.listdir(root))
        signal.signal({int(number)}, handler)
        try:
            Container.create(root, name, options)
        except Interrupted as error:
            tell(error=str(error), number=error.number)
    """)
    wait_until(mark.exists, "the hook runs")
    process.send_signal(number)
    assert lines(process) == [
        {"handler": number, "left": []},
        {"error": f"create {bundle.id}: interrupted by {number.name}", "number": number},
    ]
    assert not cgroups(bundle.id)


def test_a_signal_that_the_program_blocks_stays_its_own(bundle, program):
    mark = bundle.path / "mark"
    script = f"touch {mark}; sleep 0.3"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]}
    process = program("""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        container = Container.create(root, name, options)
        tell(status=container.status(), waits=[int(n) for n in signal.sigpending()])
        Container.delete(root, name)
    """)
    wait_until(mark.exists, "the hook runs")
    process.send_signal(signal.SIGTERM)
    assert lines(process) == [{"status": "created", "waits": [signal.SIGTERM]}]


def test_a_container_object_holds_no_lock(bundle, program, runtime):
    """delete --force from another process took the holder of the lock for a create that hangs, and killed it."""
    process = program("""
        container = Container.create(root, name, options)
        tell(created=True)
        sys.stdin.readline()
        try:
            container.start()
        except StateError as error:
            tell(error=str(error))
    """)
    assert json.loads(process.stdout.readline()) == {"created": True}
    runtime.call("delete", "--force", bundle.id, meanwhile=reap).ok()
    assert process.poll() is None, "the program was killed"
    (told,) = lines(process)
    assert told["error"].startswith("container does not exist")


def test_a_program_in_the_middle_of_a_create_is_not_killed(bundle, program, runtime):
    """What it waits for is: so the create fails and takes itself back, and delete has nothing left to do."""
    mark = hanging(bundle)
    process = program("""
        try:
            Container.create(root, name, options)
        except HookError as error:
            tell(error=str(error), left=os.listdir(root))
    """)
    wait_until(mark.exists, "the hook runs")
    runtime.call("delete", "--force", bundle.id).ok()
    (told,) = lines(process)
    assert "was killed by signal 9" in told["error"] and told["left"] == []
    assert not cgroups(bundle.id)
