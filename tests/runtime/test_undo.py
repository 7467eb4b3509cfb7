"""A stage that dies, or an undo that fails: the first error is told, every step is tried, and what is left is known.

What could not be undone is named behind the error; its directory stays, list and state show it, and delete --force
removes it once that is possible.
"""

import json
import signal

import pytest

from tests.helpers_cgroups import resources
from tests.helpers_host import hierarchies
from tests.helpers_leaks import cgroups, processes_since, reap
from tests.helpers_runtime import wait_until

pytestmark = pytest.mark.requires("root")
PRIVATE = ("unshare", "--mount", "--propagation", "private")
# What the shell has on its standard input is the state.
STAGE = 'read -r state; pid=${state#*\\"pid\\":}; pid=${pid%%[,\\}]*}; pid=$(echo $pid)'


def shell(script):
    """Return a hook that is a shell script of the host."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}


def clean(runtime, bundle):
    """Demand that nothing is left."""
    wait_until(lambda: not processes_since(runtime.others), "no process is left")
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])


# ---- a stage that dies


@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_stage_that_is_killed(runtime, bundle, verb, number):
    bundle.without_namespace("pid")  # process 1 of one is spared all but SIGKILL
    bundle.config["hooks"] = {"createRuntime": [shell(f"{STAGE}; kill -{int(number)} $pid")]}
    runtime.container(bundle)
    line = runtime.call(verb, "--bundle", bundle.write(), bundle.id, meanwhile=reap).failed()
    assert line == f"pyoci: the container's init process was killed by {number.name}\n"
    clean(runtime, bundle)


@pytest.mark.parametrize("verb", ["create", "run"])
def test_stage_that_is_killed_by_its_filter(runtime, bundle, verb):
    """By a rule that depends on an argument: a profile that refuses such a call always is refused beforehand."""
    names = ["execve", "faccessat2", "faccessat", "close_range"]
    args = [{"index": 0, "value": 0, "op": "SCMP_CMP_NE"}]
    bundle.process["noNewPrivileges"] = False
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": names, "action": "SCMP_ACT_KILL_PROCESS", "args": args}],
    }
    runtime.container(bundle)
    line = runtime.call(verb, "--bundle", bundle.write(), bundle.id, meanwhile=reap).failed("SIGSYS", "/linux/seccomp")
    assert line.startswith("pyoci: the container's init process was killed by its seccomp filter (SIGSYS)"), line
    clean(runtime, bundle)


@pytest.mark.requires("memory")
@pytest.mark.parametrize("verb", ["create", "run"])
def test_stage_that_is_killed_by_its_memory_limit(runtime, bundle, verb):
    resources(bundle, memory={"limit": 4096})
    runtime.container(bundle)
    line = runtime.call(verb, "--bundle", bundle.write(), bundle.id, meanwhile=reap).failed("/linux/resources/memory")
    assert "the container's init process was killed by its memory limit of 4096 bytes" in line
    clean(runtime, bundle)


def test_ordinary_failures_are_not_told_as_a_death(runtime, bundle):
    bundle.mount("/x", type="bind", source="/nowhere", options=["bind"])
    line = runtime.refuses(bundle, "/nowhere", "ENOENT", "/mounts/5")
    assert "init process" not in line


# ---- an undo that fails


@pytest.fixture
def elsewhere(runtime):
    """Call the runtime in a mount namespace of its own, which a hook changes."""
    plain = runtime.command

    def call(*words):
        runtime.command = [*PRIVATE, *plain]
        try:
            return runtime.call(*words, meanwhile=reap)
        finally:
            runtime.command = plain

    return call


def still_known(runtime, bundle, status="stopped"):
    """Demand that what is left is shown, and can be deleted, whereafter nothing is."""
    (shown,) = json.loads(runtime.call("list", "--format", "json").ok().out)
    assert (shown["id"], shown["status"], shown["bundle"]) == (bundle.id, status, str(bundle.path))
    assert json.loads(runtime.call("state", bundle.id).ok().out)["status"] == status
    runtime.call("create", "--bundle", bundle.path, bundle.id).failed("already exists")
    runtime.call("delete", "--force", bundle.id, meanwhile=reap).ok()
    clean(runtime, bundle)


def read_only_cgroups():
    """Return the script that makes every hierarchy read-only in its mount namespace."""
    return "; ".join(f"mount --bind {path} {path} && mount -o remount,bind,ro {path}" for path in hierarchies())


@pytest.mark.parametrize("verb", ["create", "run"])
def test_cgroups_that_cannot_be_removed(runtime, bundle, elsewhere, verb):
    bundle.config["hooks"] = {"createRuntime": [shell(f"{read_only_cgroups()}; echo the cause; exit 7")]}
    runtime.container(bundle)
    line = elsewhere(verb, "--bundle", bundle.write(), bundle.id).failed("the cause", "could not be undone", "EROFS", bundle.id)
    assert line.startswith("pyoci: the createRuntime hook /bin/sh ended with status 7")
    still_known(runtime, bundle)


def busy(runtime, bundle):
    """Return the script that puts a mount into the state directory."""
    held = runtime.root / bundle.id / "device0"
    return f"touch {held}; mount --bind /dev/null {held}"


@pytest.mark.parametrize("verb", ["create", "run"])
def test_state_directory_that_cannot_be_removed(runtime, bundle, elsewhere, verb):
    bundle.config["hooks"] = {"createRuntime": [shell(f"{busy(runtime, bundle)}; exit 7")]}
    runtime.container(bundle)
    line = elsewhere(verb, "--bundle", bundle.write(), bundle.id).failed("status 7", "could not be undone", "device0", "EBUSY")
    assert line.startswith("pyoci: the createRuntime hook")
    assert not cgroups(bundle.id), "what could be undone was"
    still_known(runtime, bundle)


@pytest.mark.parametrize("verb", ["create", "run"])
def test_all_that_fails_is_named(runtime, bundle, elsewhere, verb):
    script = f"{busy(runtime, bundle)}; {read_only_cgroups()}; exit 7"
    bundle.config["hooks"] = {"createRuntime": [shell(script)]}
    runtime.container(bundle)
    elsewhere(verb, "--bundle", bundle.write(), bundle.id).failed("status 7", "could not be undone", "EROFS")
    still_known(runtime, bundle)


def test_delete_that_fails_can_be_tried_again(runtime, bundle, elsewhere):
    """Its poststop hooks run when it has succeeded, once."""
    mark = bundle.path / "mark"
    bundle.config["hooks"] = {"poststop": [shell(f"echo x >> {mark}")]}
    container = runtime.start(bundle.args("true"))
    container.wait()
    plain = runtime.command
    runtime.command = [*PRIVATE, "sh", "-c", f'{busy(runtime, bundle)}; exec "$@"', "sh", *plain]
    container.delete("--force").failed("device0", "EBUSY")
    runtime.command = plain
    assert not mark.exists()
    assert container.status == "stopped"
    container.delete().ok()
    assert mark.read_text() == "x\n"


# ---- each step of an undo


CHANGING = ("unlinkat", "unlink", "rmdir", "kill", "pidfd_send_signal", "waitid", "poll", "openat", "getdents64", "write", "close")


def traced(runtime, words, trace, *inject):
    """Call the runtime under strace."""
    plain, runtime.command = runtime.command, ["strace", "-o", str(trace), *inject, *runtime.command]
    try:
        return runtime.call(*words, meanwhile=reap)
    finally:
        runtime.command = plain


def undo_calls(trace):
    """Return the calls of an undo, as name and number of that name: those behind the last report of the stage."""
    seen, found = {}, []
    for line in trace.read_text(errors="replace").splitlines():
        name, parenthesis, _ = line.partition("(")
        seen[name] = seen.get(name, 0) + 1
        if name == "recvmsg":
            found = []
        elif parenthesis and name in CHANGING:
            found.append((name, seen[name], line))
    return found


@pytest.mark.requires("strace")
def test_each_call_of_an_undo_that_fails(runtime, bundle, tmp_path):
    """The program is not there: that is told, whichever call of the undo fails; what is left is known and can be deleted."""
    bundle.process["args"] = ["/bin/nowhere"]
    words = ("create", "--bundle", bundle.write(), bundle.id)
    cause = "/bin/nowhere"
    runtime.container(bundle)
    traced(runtime, words, tmp_path / "whole").failed(cause)
    found = undo_calls(tmp_path / "whole")
    assert len([call for call in found if call[0] in ("unlink", "unlinkat", "rmdir")]) >= 4
    for name, number, line in found[:: max(1, len(found) // 40)]:
        if name in ("close", "write"):
            continue
        result = traced(runtime, words, tmp_path / "cut", "-e", f"inject={name}:error=EIO:when={number}")
        where = f"{line}: {result}"
        assert result.status == 1 and cause in result.err.split("could not be undone")[0], where
        assert result.err.count("\n") == 1, where
        reap()
        if runtime.entries():
            assert "could not be undone" in result.err, where
            shown = json.loads(runtime.call("list", "--format", "json").ok().out)
            assert [each["id"] for each in shown] == [bundle.id], where
        runtime.call("delete", "--force", bundle.id, meanwhile=reap).ok()
        clean(runtime, bundle)


def calls_of_the_stage(trace):
    """Return what the stage calls before the program runs, and pyoci never does, as name and number of that name."""
    calls = {}
    for line in trace.read_text(errors="replace").splitlines():
        pid, _, call = line.partition(" ")
        name, parenthesis, _ = call.strip().partition("(")
        if parenthesis and name.isidentifier():
            calls.setdefault(pid, []).append(name)
    ours = next(iter(calls.values()))
    (stage,) = [names for names in calls.values() if "execveat" in names and "pivot_root" in names]
    stage = stage[: stage.index("execve")]
    return [(name, number + 1) for name in dict.fromkeys(stage) if name not in ours for number in range(stage.count(name))]


@pytest.mark.requires("strace")
def test_stage_that_is_killed_at_any_call(runtime, bundle, tmp_path):
    """Whatever it was about to do: its death is told, not what the host side saw of it, and nothing is left."""
    words = ("run", "--bundle", bundle.args("true").write(), bundle.id)
    runtime.container(bundle)
    assert traced(runtime, words, tmp_path / "whole", "-f", "-q").status == 0
    found = calls_of_the_stage(tmp_path / "whole")
    assert len(found) > 20
    for name, number in found[:: max(1, len(found) // 30)]:
        result = traced(runtime, words, tmp_path / "cut", "-f", "-q", "-e", f"inject={name}:signal=KILL:when={number}")
        where = f"{name} {number}: {result}"
        assert result.status == 1 and result.err.count("\n") == 1, where
        assert result.err.startswith("pyoci: the container's init process was killed"), where
        clean(runtime, bundle)
