"""pyoci killed in the middle: the journal is written before each side effect, so delete takes any prefix of a create back."""

import collections
import json
import os
import signal
from pathlib import Path

import pytest

from tests.helpers_leaks import alive, cgroups, descendants, processes_since, reap
from tests.helpers_runtime import some, wait_until

pytestmark = pytest.mark.requires("root")
# What changes nothing but this process, or answers a question.  Every other call of a create is a moment to be killed at.
HARMLESS = {
    "brk", "capget", "close", "dup", "exit", "fchdir", "fstat", "getdents64", "getegid", "geteuid", "getgid", "getpid", "getppid",
    "getrandom", "gettid", "getuid", "lseek", "lstat", "mmap", "mprotect", "munmap", "newfstatat", "openat2", "poll", "ppoll",
    "pread64", "prlimit64", "read", "readlink", "readlinkat", "rt_sigaction", "rt_sigprocmask", "sched_getaffinity", "sigaltstack",
    "socketpair", "stat", "statfs", "statx", "fstatfs", "sysinfo", "uname",
}  # fmt: skip
# How often each is called depends on how quick the stage is.
TIMING = {"recvmsg", "sendto"}


def create(runtime, bundle, trace, *inject):
    """Create under strace(1), which follows pyoci and none of its children."""
    plain, runtime.command = runtime.command, ["strace", "-o", str(trace), *inject, *runtime.command]
    try:
        return runtime.call("create", "--bundle", bundle.path, "--pid-file", bundle.path / "pid", bundle.id, meanwhile=reap)
    finally:
        runtime.command = plain


def moments(trace, claim):
    """The changing calls from *claim* on: name, and how many of that name came before it, plus one."""
    seen = collections.Counter()
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        name, parenthesis, _ = line.partition("(")
        seen[name] += 1
        changes = name not in HARMLESS and (name != "openat" or "O_CREAT" in line)
        if parenthesis and changes and (found or claim in line):
            found.append((name, seen[name]))
    return found


@pytest.mark.requires("strace")
@pytest.mark.parametrize("kind", ["", "no exit", pytest.param("user namespace", marks=pytest.mark.requires("userns"))])
def test_create_that_is_killed_at_any_call(runtime, bundle, tmp_path, capsys, kind):
    """Also where the container's filter lets no process exit: the stage, which is under it already, ends all the same.

    And where it takes several processes to come into the container.
    """
    refused = ["exit_group", "exit"] if kind == "no exit" else []
    if kind == "user namespace":
        bundle.user_namespace()
    if refused:
        rule = {"names": refused, "action": "SCMP_ACT_ERRNO"}
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    bundle.args("true")
    runtime.create(bundle, "--pid-file", str(bundle.path / "pid")).delete("--force").ok()  # byte code is written now
    assert create(runtime, bundle, tmp_path / "whole").status == 0
    found = moments(tmp_path / "whole", f', "{bundle.id}", 0700')
    assert len(found) > 15 and found[-1][0] == "exit_group"
    runtime.call("delete", "--force", bundle.id).ok()
    missed = []
    tried = some(found)
    for name, number in tried:
        result = create(runtime, bundle, tmp_path / "cut", "-e", f"inject={name}:signal=KILL:when={number}")
        assert result.status in (-signal.SIGKILL, 0), f"{name} {number}: {result}"
        missed += [] if result.status else [(name, number)]
        taken_back(runtime, bundle, f"killed at {name} {number}")
    with capsys.disabled():
        print(f"\n    create{' with ' * bool(kind)}{kind}: killed at {len(tried) - len(missed)} of {len(tried)} calls")
    assert len(missed) <= 2 and {name for name, _ in missed} <= TIMING, missed


def taken_back(runtime, bundle, when):
    """Demand that list shows what is left, that the stage has ended, and that delete takes the rest back."""
    known = [entry for entry in runtime.entries() if os.listdir(runtime.root / entry)]
    shown = json.loads(runtime.call("list", "--format", "json").ok().out) if known else []
    assert [entry["id"] for entry in shown] == known, when
    if not (runtime.entries() and '"created"' in runtime.call("state", bundle.id).out):
        wait_until(lambda: not processes_since(runtime.others), f"the stage ends with pyoci: {when}")
    runtime.call("delete", "--force", bundle.id, meanwhile=reap).ok()
    wait_until(lambda: not processes_since(runtime.others), f"no process: {when}")
    assert (runtime.entries(), cgroups(bundle.id)) == ([], []), when


def runs_sleep(pid):
    """Whether a process is sleep(1)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\0")
    except OSError:
        return False


def in_a_hook(runtime, bundle, number, kind="createRuntime"):
    """Let pyoci get a signal while a hook of create runs; give its Popen, the hook's pid, and the container."""
    bundle.config.setdefault("hooks", {})[kind] = [{"path": "/bin/sleep", "args": ["sleep", "60"]}]
    container = runtime.container(bundle)
    with open(bundle.path / "err", "w") as err:
        call = runtime.spawn("create", "--bundle", bundle.write(), bundle.id, stdout=container.stdout.fd, stderr=err)
    # By its command: in the container's PID namespace it has another number.
    hooks = wait_until(lambda: [pid for pid in descendants(call.pid) if runs_sleep(pid)], "the hook runs")
    call.send_signal(number)
    call.wait(20)
    wait_until(lambda: not any(alive(hook) for hook in hooks), "the hook has ended with pyoci")
    return call, container


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_hook_of_create_dies_with_pyoci(runtime, bundle, kind):
    _, container = in_a_hook(runtime, bundle, signal.SIGKILL, kind)
    wait_until(lambda: container.status == "stopped", "the stage has ended, too")
    container.call("start").failed("stopped")
    container.delete().ok()
    assert not cgroups(bundle.id)


def test_poststop_hooks_of_a_create_that_was_killed(runtime, bundle):
    """As those of one that failed: what a createRuntime hook has set up is theirs to take down."""
    mark = bundle.path / "mark"
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat >> {mark}"]}]}
    _, container = in_a_hook(runtime, bundle, signal.SIGKILL)
    wait_until(lambda: container.status == "stopped", "the stage has ended, too")
    assert not mark.exists()
    container.delete("--force").ok()
    state = json.loads(mark.read_text())
    assert (state["id"], state["status"], state["bundle"]) == (bundle.id, "stopped", str(bundle.path))
    assert not cgroups(bundle.id)


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_interrupted_create_takes_itself_back(runtime, bundle, number, kind):
    call, _ = in_a_hook(runtime, bundle, number, kind)
    assert call.returncode == 128 + number
    assert (bundle.path / "err").read_text() == f"pyoci: create {bundle.id}: interrupted by {number.name}\n"
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])


def test_directory_of_another_runtime_is_not_touched(runtime, bundle):
    """Callers let runtimes share a state root."""
    foreign = runtime.root / "foreign"
    foreign.mkdir(parents=True)
    (foreign / "state.json").write_text(json.dumps({"id": "foreign", "init_process_pid": 1}))
    for verb in ("state", "kill", "start", "delete"):
        runtime.call(verb, "foreign").failed("not made by pyoci")
    runtime.call("delete", "--force", "foreign").failed("not made by pyoci")
    runtime.call("create", "--bundle", bundle.write(), "foreign").failed("already exists")
    assert os.listdir(foreign) == ["state.json"]
    (foreign / "state.json").unlink()
    foreign.rmdir()
