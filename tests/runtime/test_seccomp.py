"""config-linux.md, seccomp: actions, arguments, architectures, and the notification socket."""

import array
import errno
import json
import os
import platform
import signal
import socket

import pytest

from tests.helpers_host import UNUSUAL_CALLS
from tests.helpers_runtime import DEADLINE, wait_until

pytestmark = [pytest.mark.requires("root", "seccomp", "known_calls")]
CALLS = UNUSUAL_CALLS.get(platform.machine(), {})
ARCHITECTURE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}.get(platform.machine(), "")


def seccomp(bundle, *rules, default="SCMP_ACT_ALLOW", **more):
    """Set linux.seccomp."""
    bundle.linux["seccomp"] = {"defaultAction": default, "syscalls": list(rules), **more}
    return bundle


def errnos(lines):
    """The errno of each line."""
    return [line["errno"] for line in lines]


def test_errno(runtime, bundle):
    rules = (
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["mknod", "mknodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 88},
    )
    lines = runtime.probe(seccomp(bundle, *rules), ["mkdir", "/tmp/x"], ["mknod", "/tmp/y", "p", "0", "0"], ["list", "/"])
    assert errnos(lines) == [errno.EPERM, 88, 0]


def test_filter_is_seen_in_status(runtime, bundle):
    report = runtime.report(seccomp(bundle, {"names": ["mount"], "action": "SCMP_ACT_ERRNO"}))
    assert "Seccomp:\t2\n" in report["status"]


def test_no_filter_without_the_member(runtime, bundle):
    assert "Seccomp:\t0\n" in runtime.report(bundle)["status"]


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"])
def test_kill(runtime, bundle, action):
    bundle = seccomp(bundle, {"names": ["getppid"], "action": action})
    assert runtime.run(bundle.args(["call", CALLS["getppid"]])).status == 128 + signal.SIGSYS


@pytest.mark.parametrize("action", ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"])
def test_actions_that_let_it_through(runtime, bundle, action):
    found = runtime.probe(seccomp(bundle, {"names": ["getppid"], "action": action}), ["call", CALLS["getppid"]])
    assert errnos(found) == [0]


@pytest.mark.parametrize(
    ("operator", "value", "two", "denied"),
    [
        ("SCMP_CMP_EQ", 5, 0, [5]), ("SCMP_CMP_NE", 5, 0, [4, 6]), ("SCMP_CMP_LT", 5, 0, [4]), ("SCMP_CMP_LE", 5, 0, [4, 5]),
        ("SCMP_CMP_GE", 5, 0, [5, 6]), ("SCMP_CMP_GT", 5, 0, [6]), ("SCMP_CMP_MASKED_EQ", 4, 4, [4, 5, 6]),
    ],
)  # fmt: skip
def test_arguments(runtime, bundle, operator, value, two, denied):
    argument = {"index": 1, "value": value, "valueTwo": two, "op": operator}
    rule = {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": [argument]}
    lines = runtime.probe(seccomp(bundle, rule), *[["call", CALLS["getpriority"], 77, n] for n in (4, 5, 6)])
    assert [n for n, line in zip((4, 5, 6), lines, strict=True) if line["errno"] == 99] == denied


def test_allow_list_with_default_errno(runtime, bundle):
    """What is not listed gives defaultErrnoRet; the list is what the probe needs."""
    names = ["read", "write", "writev", "close", "execve", "execveat", "exit", "exit_group", "brk", "mmap", "munmap", "mprotect",
             "arch_prctl", "set_tid_address", "set_robust_list", "rt_sigaction", "rt_sigprocmask", "ioctl", "fstat",
             "newfstatat", "rseq", "prlimit64", "futex", "getrandom", "readlink", "readlinkat", "fcntl"]  # fmt: skip
    rule = {"names": names, "action": "SCMP_ACT_ALLOW"}
    bundle = seccomp(bundle, rule, default="SCMP_ACT_ERRNO", defaultErrnoRet=96)
    assert errnos(runtime.probe(bundle, ["call", CALLS["getpriority"], 0, 0])) == [96]


def test_unknown_names_are_passed_over(runtime, bundle):
    rule = {"names": ["no_such_call", "getppid"], "action": "SCMP_ACT_ERRNO"}
    assert errnos(runtime.probe(seccomp(bundle, rule), ["call", CALLS["getppid"]])) == [errno.EPERM]


def test_unknown_names_are_logged(runtime, bundle, tmp_path):
    rule = {"names": ["no_such_call", "getppid"], "action": "SCMP_ACT_ERRNO"}
    options = ("--log", str(tmp_path / "log"), "--log-level", "info")
    runtime.container(seccomp(bundle, rule))
    runtime.call("run", "--bundle", bundle.write(), bundle.id, options=options).ok()
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if "no_such_call" in line]
    assert "getppid" not in line


def test_architectures(runtime, bundle):
    rule = {"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}
    bundle = seccomp(bundle, rule, architectures=[ARCHITECTURE])
    assert errnos(runtime.probe(bundle, ["call", CALLS["getppid"]])) == [errno.EPERM]


@pytest.mark.parametrize("privileged", [True, False])
def test_with_and_without_no_new_privileges(runtime, bundle, privileged):
    bundle.process["noNewPrivileges"] = not privileged
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    rule = {"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}
    assert errnos(runtime.probe(seccomp(bundle, rule), ["call", CALLS["getppid"]])) == [errno.EPERM]


def test_large_profile(runtime, bundle):
    """Four hundred names, as engines send."""
    names = [f"no_such_call_{n}" for n in range(200)] + ["getppid", "sync"]
    rules = [{"names": names, "action": "SCMP_ACT_ERRNO"}]
    assert errnos(runtime.probe(seccomp(bundle, *rules), ["call", CALLS["sync"]])) == [errno.EPERM]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"defaultAction": "SCMP_ACT_NOTHING"}, "/linux/seccomp/defaultAction"),
        ({"architectures": ["SCMP_ARCH_Z80"]}, "/linux/seccomp/architectures/0"),
        ({"flags": ["SECCOMP_FILTER_FLAG_NOTHING"]}, "/linux/seccomp/flags/0"),
        ({"syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}, "/linux/seccomp/syscalls/0/names"),
        ({"syscalls": [{"names": ["sync"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}]}, "/linux/seccomp/syscalls/0"),
        ({"defaultErrnoRet": 1}, "/linux/seccomp/defaultErrnoRet"),
        ({"listenerMetadata": "x"}, "/linux/seccomp/listenerMetadata"),
    ],
)
def test_wrong(runtime, bundle, change, pointer):
    seccomp(bundle).linux["seccomp"].update(change)
    runtime.refuses(bundle, pointer)


# ---- notification


class Agent:
    """The program behind listenerPath."""

    def __init__(self, path):
        """Listen."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen()
        self.socket.settimeout(DEADLINE)

    def receive(self):
        """Accept one connection; give the state and the descriptors that came with it."""
        connection, _ = self.socket.accept()
        with connection:
            connection.settimeout(DEADLINE)
            data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(64))
            while more := connection.recv(65536):
                data += more
        descriptors = array.array("i")
        for _, _, payload in ancillary:
            descriptors.frombytes(payload)
        return json.loads(data), list(descriptors)

    def close(self):
        """Stop listening."""
        self.socket.close()


@pytest.mark.parametrize("unprivileged", [False, True])
def test_notify(runtime, bundle, unprivileged):
    agent = Agent(bundle.path / "agent")
    bundle.process["noNewPrivileges"] = unprivileged
    rule = {"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}
    seccomp(bundle, rule, listenerPath=str(bundle.path / "agent"), listenerMetadata="some words")
    container = runtime.container(bundle.args(["call", CALLS["getppid"]]))
    call = runtime.spawn("run", "--bundle", bundle.write(), bundle.id, stdout=container.stdout.fd)
    try:
        state, descriptors = agent.receive()
    finally:
        agent.close()
    # The program hangs in its call until the listener is closed: then the call fails with ENOSYS.
    wait_until(lambda: runtime.entries() and container.status == "running", "it runs")
    pid, target = container.pid, os.readlink(f"/proc/self/fd/{descriptors[0]}")
    for descriptor in descriptors:
        os.close(descriptor)
    assert call.wait(DEADLINE) == 0
    assert container.lines[0]["errno"] == errno.ENOSYS
    assert state["fds"] == ["seccompFd"] and len(descriptors) == 1 and "seccomp" in target
    assert (state["metadata"], state["state"]["id"], state["pid"]) == ("some words", bundle.id, pid)
    assert state["ociVersion"]


@pytest.mark.parametrize("unprivileged", [False, True])
def test_notify_by_exec(runtime, bundle, unprivileged):
    """Each process has a listener of its own, which comes with its pid and the state of the container."""
    agent = Agent(bundle.path / "agent")
    bundle.process["noNewPrivileges"] = unprivileged
    rule = {"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}
    seccomp(bundle, rule, listenerPath=str(bundle.path / "agent"), listenerMetadata="some words")
    try:
        container = runtime.create(bundle.args("wait"))
        created, listeners = agent.receive()
        container.start()
        container.until_ready()
        pid_file = bundle.path / "pid"
        words = ("exec", "--pid-file", pid_file, bundle.id, "/bin/probe", "call", CALLS["getppid"])
        call = runtime.spawn(*words, stdout=container.stdout.fd)
        state, descriptors = agent.receive()
    finally:
        agent.close()
    wait_until(lambda: pid_file.exists() and pid_file.read_text(), "it runs")
    assert state["pid"] == int(pid_file.read_text()) != container.init
    assert state["state"]["pid"] == container.init == created["pid"]
    assert (state["state"]["status"], state["state"]["id"], state["metadata"]) == ("running", bundle.id, "some words")
    for descriptor in (*descriptors, *listeners):
        os.close(descriptor)
    assert call.wait(DEADLINE) == 0
    assert container.lines[-1]["errno"] == errno.ENOSYS


def test_listener_is_ignored_without_notify(runtime, bundle):
    rule = {"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}
    seccomp(bundle, rule, listenerPath=str(bundle.path / "nobody"))
    assert errnos(runtime.probe(bundle, ["call", CALLS["getppid"]])) == [errno.EPERM]


def test_notify_without_an_agent(runtime, bundle):
    rule = {"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}
    runtime.refuses(seccomp(bundle, rule, listenerPath=str(bundle.path / "nobody")))


def test_notify_without_a_path(runtime, bundle):
    runtime.refuses(seccomp(bundle, {"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}), "listenerPath")
