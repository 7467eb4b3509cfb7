"""A seccomp profile is written by whoever writes the configuration, and is in force before the program runs.

What a runtime still has to do under it may be refused, asked about, or answered with EINTR for ever.  Then create fails
with the rule that is to blame; it does not hang, nothing spins, and no process outlives a runtime that was killed.
"""

import contextlib
import errno
import platform
import signal
import socket

import pytest

from tests.helpers_runtime import wait_exit, wait_until

pytestmark = [pytest.mark.requires("root", "seccomp", "known_calls")]
FEW = ["capget", "capset", "execve", "exit", "exit_group", "prctl", "read", "write"]
MORE = ["close", "execveat", "brk", "mmap", "munmap", "mprotect", "set_tid_address", "set_robust_list", "rt_sigaction",
        "rt_sigprocmask", "ioctl", "fstat", "newfstatat", "faccessat2", "rseq", "prlimit64", "futex", "getrandom", "readlink",
        "readlinkat", "fcntl", *(["arch_prctl"] if platform.machine() == "x86_64" else [])]  # fmt: skip
REFUSING = ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_NOTIFY"]


def profile(bundle, default, *rules, early=False, **more):
    """Set the filter; early: it is in force before the capabilities are dropped."""
    bundle.process["noNewPrivileges"] = not early
    bundle.linux["seccomp"] = {"defaultAction": default, "syscalls": [*rules], **more}
    return bundle


def allowing(*names):
    """A rule."""
    return {"names": [*names], "action": "SCMP_ACT_ALLOW"}


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("missing", ["write", "read", "execve"])
@pytest.mark.parametrize("action", REFUSING[:3])
def test_a_default_that_refuses_what_is_needed(runtime, bundle, early, missing, action):
    names = [name for name in FEW if name not in (missing, "exit", "exit_group")]
    profile(bundle, action, allowing(*names), early=early)
    runtime.refuses(bundle, f"refuses {missing}", "/linux/seccomp/defaultAction")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("name", ["write", "execve"])
@pytest.mark.parametrize("number", [errno.EPERM, errno.EINTR, errno.EAGAIN])
def test_a_rule_that_refuses_what_is_needed(runtime, bundle, early, name, number):
    rules = (allowing("sync"), {"names": ["sync", name], "action": "SCMP_ACT_ERRNO", "errnoRet": number})
    profile(bundle, "SCMP_ACT_LOG", *rules, early=early)
    runtime.refuses(bundle, f"refuses {name}", "/linux/seccomp/syscalls/1")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("action", REFUSING[:3])
def test_a_container_without_read(runtime, bundle, early, action):
    """There is another call that reads."""
    rule = {"names": ["read"], "action": action}
    assert runtime.run(profile(bundle, "SCMP_ACT_ALLOW", rule, early=early).args(["exit", 7])).status == 7
    rule["names"].append("readv")
    runtime.refuses(bundle, "refuses read", "/linux/seccomp/syscalls/0")


def test_an_agent_that_never_accepts(runtime, bundle):
    """Its backlog is full: there is an end to the waiting for it."""
    with contextlib.ExitStack() as sockets:
        for number in range(3):
            each = sockets.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            if number:
                each.setblocking(False)
                each.connect_ex(str(bundle.path / "agent"))
            else:
                each.bind(str(bundle.path / "agent"))
                each.listen(0)
        rule = {"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}
        profile(bundle, "SCMP_ACT_ALLOW", rule, listenerPath=str(bundle.path / "agent"))
        runtime.refuses(bundle, "ETIMEDOUT", "/linux/seccomp/listenerPath")


@pytest.mark.parametrize("name", ["capset", "capget", "prctl"])
def test_dropping_capabilities_under_an_early_filter(runtime, bundle, name):
    rule = {"names": [name], "action": "SCMP_ACT_ERRNO"}
    runtime.refuses(profile(bundle, "SCMP_ACT_ALLOW", rule, early=True), f"refuses {name}", "/linux/seccomp/syscalls/0", "noNewPrivileges")
    assert runtime.run(profile(bundle, "SCMP_ACT_ALLOW", rule).args("true")).status == 0


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("rules", [(), ({"names": ["write"], "action": "SCMP_ACT_NOTIFY"},)])
def test_what_nobody_could_answer(runtime, bundle, early, rules):
    """The agent learns of the listener by what it would be asked about."""
    default = "SCMP_ACT_ALLOW" if rules else "SCMP_ACT_NOTIFY"
    profile(bundle, default, *rules, early=early, listenerPath=str(bundle.path / "agent"))
    runtime.refuses(bundle, "write", "/linux/seccomp/syscalls/0" if rules else "/linux/seccomp/defaultAction")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(("name", "number"), [("read", errno.EINTR), ("write", errno.EPERM)])
def test_what_depends_on_arguments_fails_when_it_happens(runtime, bundle, early, name, number):
    """Nothing tells beforehand whether the condition will hold: one byte is read, a report is no byte."""
    rule = {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": number,
            "args": [{"index": 2, "value": 1 if name == "read" else 20, "op": "SCMP_CMP_EQ" if name == "read" else "SCMP_CMP_GE"}]}  # fmt: skip
    container = runtime.container(profile(bundle, "SCMP_ACT_ALLOW", rule, early=early))
    created = container.create()
    if created.status == 0:     # it was told to go on before it could not hear of it
        assert name == "read"
        wait_until(lambda: container.status == "stopped", "it has ended")
        container.call("start").failed("stopped")
    else:
        created.failed("seccomp filter" if name == "read" else "ended with status 1 before it ran its program")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("name", ["getcwd", "chdir", "setgroups", "setresuid", "setresgid", "umask", "close_range", "exit_group"])
def test_what_is_done_before_may_be_refused(runtime, bundle, early, name):
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "umask": 0o27, "additionalGids": [7]}
    bundle.process["cwd"] = "/tmp"
    rule = {"names": [name], "action": "SCMP_ACT_ERRNO", "args": []}
    names = [name] if name != "exit_group" else ["exit_group", "exit"]
    rule["names"] = names
    container = runtime.container(profile(bundle, "SCMP_ACT_ALLOW", rule, early=early).args("hang"))
    container.create().ok()
    container.start()
    assert container.status == "running"


@pytest.mark.parametrize("early", [False, True])
def test_a_waiting_container_that_may_not_exit_ends_by_a_trap(runtime, bundle, early):
    """TERM before start is answered by exit_group, which is refused, and so is exit."""
    rule = {"names": ["exit", "exit_group"], "action": "SCMP_ACT_ERRNO"}
    container = runtime.create(profile(bundle, "SCMP_ACT_ALLOW", rule, early=early))
    container.kill("TERM")
    assert wait_exit(container.init) == 128 + signal.SIGILL


@pytest.mark.parametrize("early", [False, True])
def test_nothing_outlives_a_killed_runtime(runtime, bundle, early):
    """The agent takes the connection and never reads: create waits, is killed, and the stage is alone."""
    rules = ({"names": ["exit", "exit_group"], "action": "SCMP_ACT_ERRNO"}, {"names": ["close"], "action": "SCMP_ACT_NOTIFY"})
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    agent.bind(str(bundle.path / "agent"))
    agent.listen(0)
    waiting = []
    # A full backlog makes connect(2) wait.
    for _ in range(2):
        other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        other.setblocking(False)
        waiting.append(other)
        other.connect_ex(str(bundle.path / "agent"))
    profile(bundle, "SCMP_ACT_ALLOW", *rules, early=early, listenerPath=str(bundle.path / "agent"))
    container = runtime.container(bundle)
    call = runtime.spawn("create", "--bundle", bundle.write(), bundle.id)
    try:
        stage = wait_until(lambda: children(call.pid), "the stage lives")[0]
        wait_until(lambda: "Seccomp:\t2" in status(stage) or call.poll() is not None, "the filter is in force")
        assert call.poll() is None
        call.kill()
        call.wait()
        assert wait_exit(stage) is not None
    finally:
        for each in (*waiting, agent):
            each.close()
    container.delete("--force").ok()


def children(pid):
    """Child processes."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def status(pid):
    """Text of /proc/PID/status."""
    with open(f"/proc/{pid}/status") as file:
        return file.read()
