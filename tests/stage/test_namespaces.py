"""Namespaces: joined and made by the stage, seen from outside; runtime-linux.md, config-linux.md#namespaces."""

import contextlib
import os
import signal
import socket
import stat
from pathlib import Path
from typing import Self

import pytest

from .encoder import Plan, number
from .harness import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, Stage, describe
from .observe import (
    CAP_SYS_ADMIN,
    holder,
    inside,
    is_alive,
    is_hidden,
    namespace,
    opened,
    own_capabilities,
    read_all,
    status,
    stdio,
    wait_readable,
)

CLONE_NEWTIME, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x80, 0x4000000, 0x8000000, 0x40000000
EPERM, ENOENT, ENOTTY, EINVAL = 1, 2, 25, 22

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces as root")


def open_namespaces(stack: contextlib.ExitStack, pid: int, *kinds: str) -> tuple[int, ...]:
    return tuple(stack.enter_context(opened(f"/proc/{pid}/ns/{kind}")) for kind in kinds)


class Child:
    """The process in which a stage goes on behind a fork."""

    def __init__(self, stage: Stage) -> None:
        report = stage.report()
        assert report is not None
        assert report.kind == number("REPORT_CHILD"), describe(report)
        self.pidfd = report.fd
        self.pid = int(Path(f"/proc/self/fdinfo/{self.pidfd}").read_text().partition("Pid:")[2].split()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)
        os.close(self.pidfd)

    def end(self, number: int = 0) -> int:
        """Send a signal if one is given, and wait; the exit status, or minus the signal."""
        if not hasattr(self, "status"):
            if number:
                os.kill(self.pid, number)
            wait_readable(self.pidfd)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


def test_join_enters_every_namespace_that_is_given() -> None:
    kinds = ("uts", "ipc", "net")
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(holder("--uts", "--ipc", "--net"))
        inputs = open_namespaces(stack, pid, *kinds)
        stage = stack.enter_context(Stage(Plan().step("join", namespaces=[0, 1, 2]).pause(), inputs=inputs)).built()
        for kind in kinds:
            assert namespace(stage.pid, kind) == namespace(pid, kind) != namespace("self", kind)


def test_join_enters_the_user_namespace_first_where_rights_come_only_from_it() -> None:
    kept = own_capabilities() & ~(1 << CAP_SYS_ADMIN)
    plan = Plan().step("capabilities", permitted=kept, effective=kept).step("join", namespaces=[0, 1]).pause()
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(holder("--user", "--map-root-user", "--uts"))
        inputs = open_namespaces(stack, pid, "uts", "user")
        stage = stack.enter_context(Stage(plan, inputs=inputs)).built()
        assert namespace(stage.pid, "user") == namespace(pid, "user")
        assert namespace(stage.pid, "uts") == namespace(pid, "uts")


def test_join_without_rights_fails() -> None:
    plan = Plan().step("capabilities").step("join", namespaces=[0]).pause()
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(holder("--uts"))
        report = stack.enter_context(Stage(plan, inputs=open_namespaces(stack, pid, "uts"))).failed()
        assert (report.step, report.err) == (1, EPERM)


def test_join_refuses_what_is_no_namespace() -> None:
    with opened("/dev/null") as fd, Stage(Plan().step("join", namespaces=[0]).pause(), inputs=(fd,)) as stage:
        report = stage.failed()
        assert (report.err, report.detail) == (ENOTTY, number("DETAIL_SOURCE"))


def test_join_process_enters_its_root(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(holder("--mount", "--uts"))
        inside(pid, "-m", "mount", "-t", "tmpfs", "none", str(tmp_path))
        inside(pid, "-m", "mkdir", str(tmp_path / "marker"))
        pidfd = os.pidfd_open(pid)
        stack.callback(os.close, pidfd)
        plan = Plan().step("join_process", process=0, namespaces=CLONE_NEWNS | CLONE_NEWUTS)
        plan.step("device", path=f"{tmp_path}/made", type=stat.S_IFIFO).pause()
        stage = stack.enter_context(Stage(plan, inputs=(pidfd,))).built()
        assert namespace(stage.pid, "mnt") == namespace(pid, "mnt")
        assert namespace(stage.pid, "uts") == namespace(pid, "uts")
        assert sorted(inside(pid, "-m", "ls", str(tmp_path)).split()) == ["made", "marker"]
    assert not list(tmp_path.iterdir())


def test_fork_goes_on_as_process_1_and_the_parent_hears_of_it_first() -> None:
    plan = Plan().step("unshare", namespaces=CLONE_NEWPID).step("fork").pause()
    with Stage(plan) as stage, Child(stage) as child:
        stage.built()
        assert stage.status() == 0
        assert status(child.pid, "NSpid").split()[-1] == "1"
        assert status(child.pid, "PPid") == str(os.getpid())


def test_forks_child_dies_with_the_talk() -> None:
    with Stage(Plan().step("fork").pause()) as stage, Child(stage) as child:
        stage.built()
        stage.channel.shutdown(socket.SHUT_RDWR)
        assert child.end() == 1


def test_time_namespace_is_entered_with_its_offsets() -> None:
    offsets = "monotonic 1000 0\nboottime 2000 5\n"
    plan = Plan().step("unshare", namespaces=CLONE_NEWTIME).step("time_namespace", offsets=offsets).pause()
    with Stage(plan) as stage:
        stage.built()
        assert namespace(stage.pid, "time") == namespace(stage.pid, "time_for_children") != namespace("self", "time")
        lines = [line.split() for line in Path(f"/proc/{stage.pid}/timens_offsets").read_text().splitlines()]
        assert lines == [["monotonic", "1000", "0"], ["boottime", "2000", "5"]]


def test_time_offsets_without_a_new_namespace_fail() -> None:
    with Stage(Plan().step("time_namespace", offsets="monotonic 1 0\n").pause()) as stage:
        assert stage.failed().err == 13             # EACCES: the namespace is in use already


@pytest.mark.parametrize(
    ("ahead", "named", "err"),
    [
        (CLONE_NEWUTS, CLONE_NEWUTS, 0),
        (CLONE_NEWUTS | CLONE_NEWIPC, CLONE_NEWUTS, EINVAL),
        (CLONE_NEWUTS, CLONE_NEWUTS | CLONE_NEWIPC, EINVAL),
        (0, CLONE_NEWUTS, EINVAL),
        (0, 0, EINVAL),
    ],
)
def test_the_step_names_just_what_was_made_ahead_of_it(ahead: int, named: int, err: int) -> None:
    with Stage(Plan().step("unshare", namespaces=named, ahead=True).pause(), ahead=ahead) as stage:
        if err:
            assert stage.failed()[1:4] == (0, err, number("DETAIL_PLAN"))
        else:
            assert namespace(stage.built().pid, "uts") != namespace("self", "uts")


def test_what_was_made_ahead_is_told_once() -> None:
    again = Plan().step("unshare", namespaces=CLONE_NEWUTS, ahead=True).step("unshare", namespaces=CLONE_NEWUTS, ahead=True)
    with Stage(again, ahead=CLONE_NEWUTS) as stage:
        assert stage.failed()[1:4] == (1, EINVAL, number("DETAIL_PLAN"))


def test_setsid_twice_is_fine() -> None:
    with Stage(Plan().step("setsid").step("setsid").pause()) as stage:
        stage.built()
        assert os.getsid(stage.pid) == stage.pid


def test_names_of_the_uts_namespace() -> None:
    plan = Plan().step("hostname", name="box").step("domainname", name="example.org").pause()
    with Stage(plan, namespaces=CLONE_NEWNS | CLONE_NEWUTS) as stage:
        stage.built()
        assert inside(stage.pid, "-u", "uname", "-n") == "box"
        assert inside(stage.pid, "-u", "cat", "/proc/sys/kernel/domainname") == "example.org"
    assert os.uname().nodename != "box"


def test_loopback_comes_up() -> None:
    script = "import fcntl,socket,struct;print(struct.unpack('16sh14x',fcntl.ioctl(socket.socket(),0x8913,b'lo'.ljust(32,b'\\0')))[1])"
    for plan, up in ((Plan().pause(), 0), (Plan().step("loopback_up").pause(), 1)):
        with Stage(plan, namespaces=CLONE_NEWNS | CLONE_NEWNET) as stage:
            stage.built()
            assert int(inside(stage.pid, "-n", "/usr/bin/python3", "-c", script)) & 1 == up


def test_keyring_is_named_and_searchable_by_the_user() -> None:
    name = f"pyoci-test-{os.getpid()}"
    plan = Plan().step("keyring", name=name, label="").step("resolve_exec", candidates=["/bin/cat"])
    plan.step("exec", args=["cat", "/proc/keys"], environment=[])
    output, theirs = os.pipe()
    with stdio(stdout=theirs), Stage(plan) as stage:
        os.close(theirs)
        assert stage.status() == 0
    keys = [line.split() for line in read_all(output).splitlines()]
    os.close(output)
    ours = [key for key in keys if key[8].startswith(name)]
    assert len(ours) == 1
    assert int(ours[0][4], 16) & 0x080000


def test_sysctl_is_set_inside_only() -> None:
    before = Path("/proc/sys/kernel/msgmax").read_text()
    with Stage(Plan().step("sysctl", name="kernel/msgmax", value="4321").pause(), namespaces=CLONE_NEWNS | CLONE_NEWIPC) as stage:
        stage.built()
        assert inside(stage.pid, "-i", "cat", "/proc/sys/kernel/msgmax") == "4321"
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


@pytest.mark.parametrize(
    ("name", "value", "err"),
    [("kernel/no_such_sysctl", "1", ENOENT), ("kernel/msgmax", "word", EINVAL), ("../cpuinfo", "1", EINVAL), ("kernel/../../cpuinfo", "1", EINVAL)],
)
def test_sysctl_that_cannot_be_set_fails(name: str, value: str, err: int) -> None:
    with Stage(Plan().step("sysctl", name=name, value=value).pause(), namespaces=CLONE_NEWNS | CLONE_NEWIPC) as stage:
        report = stage.failed()
        assert report.err == err


def test_become_root_takes_the_ids_of_the_user_namespace() -> None:
    plan = Plan().step("fork", namespaces=CLONE_NEWUSER).step("barrier", point=number("BARRIER_MAPS"))
    plan.step("become_root").step("unshare", namespaces=CLONE_NEWUTS).pause()
    with Stage(plan) as stage, Child(stage) as child:
        stage.built()
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child.pid}/{name}").write_text("0 1000 10")
        stage.go()
        stage.built()
        assert status(child.pid, "Uid") == status(child.pid, "Gid") == "1000 1000 1000 1000"
        assert status(child.pid, "Groups") == ""
        assert is_hidden(child.pid)


def test_parent_death_kills_a_busy_stage_also_after_a_change_of_user(tmp_path: Path) -> None:
    """The kernel forgets PR_SET_PDEATHSIG when credentials change; a hook keeps the stage from seeing end of file."""
    started = tmp_path / "started"
    os.mkfifo(started)
    script = ["sh", "-c", f"echo $PPID $$ > {started}; exec sleep 1000"]
    plan = Plan().step("ids", uid=1000, gid=1000).step("hook", state=0, program="/bin/sh", args=script, environment=[])
    memfd = os.memfd_create("stdin")
    tmp_path.chmod(0o755)
    for directory in tmp_path.parents:
        if directory.stat().st_uid == os.geteuid() and len(directory.parts) > 2:
            directory.chmod(0o755)
    started.chmod(0o666)
    parent = os.fork()
    if parent == 0:
        with contextlib.suppress(BaseException), Stage(plan, inputs=(memfd,)) as stage:
            stage.status()
        os._exit(0)
    pid, hook = (int(word) for word in started.read_text().split())
    pidfd = os.pidfd_open(pid)
    assert is_alive(pidfd)
    os.kill(parent, 9)
    os.waitpid(parent, 0)
    try:
        wait_readable(pidfd)
    finally:
        os.kill(hook, 9)
    os.close(pidfd)
    os.close(memfd)


# ---- the helper


def helped() -> Plan:
    """A plan in whose user namespace little can be reached, with a helper from before."""
    plan = Plan().step("fork", helper=True, namespaces=CLONE_NEWUSER | CLONE_NEWNS)
    return plan.step("barrier", point=number("BARRIER_MAPS")).step("become_root").step("helper_enter")


def map_ids(stage: Stage, child: Child) -> None:
    """Let root of the user namespace be nobody that owns anything."""
    stage.built()
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child.pid}/{name}").write_text("0 100000 10")
    stage.go()


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A directory that the mapped root cannot reach."""
    directory = tmp_path / "private"
    (directory / "inner").mkdir(parents=True)
    directory.chmod(0o700)
    return directory / "inner"


@pytest.mark.parametrize("helper", [False, True])
def test_the_helper_opens_what_the_mapped_root_cannot(private: Path, helper: bool) -> None:
    plan = helped().step("open_tree", tree=0, path=str(private), helper=helper)
    with Stage(plan.pause()) as stage, Child(stage) as child:
        map_ids(stage, child)
        if helper:
            stage.built()
        else:
            assert stage.report()[1:4] == (len(plan.steps) - 2, 13, number("DETAIL_SOURCE"))


def test_what_the_helper_cannot_open_fails_in_its_step(private: Path) -> None:
    plan = helped().step("open_tree", tree=0, path=f"{private}/none", helper=True).pause()
    with Stage(plan) as stage, Child(stage) as child:
        map_ids(stage, child)
        assert stage.report()[1:4] == (len(plan.steps) - 2, ENOENT, number("DETAIL_SOURCE"))


def test_the_helper_ends_when_it_is_told_to() -> None:
    plan = helped().step("helper_end").pause().step("open_tree", tree=0, path="/", helper=True)
    with Stage(plan) as stage, Child(stage) as child:
        map_ids(stage, child)
        stage.built()
        assert stage.status() == 0
        stage.go()
        assert stage.report()[1:4] == (len(plan.steps) - 1, EINVAL, number("DETAIL_PLAN"))


def test_the_helper_ends_with_the_stage() -> None:
    with Stage(helped().pause()) as stage, Child(stage) as child:
        map_ids(stage, child)
        stage.built()
        child.end(signal.SIGKILL)
        assert stage.status() == 0


def test_the_helper_keeps_the_root_directory(tmp_path: Path) -> None:
    """That of a mount namespace is another after a chroot, and paths would mean something else there."""
    (tmp_path / "only-here").mkdir()
    (tmp_path / "proc").mkdir()
    plan = Plan().step("fork", helper=True, namespaces=CLONE_NEWNS)
    plan.step("helper_enter")
    plan.step("open_tree", tree=0, path="/only-here", helper=True).pause()
    with Stage(plan, prepare=lambda: os.chroot(tmp_path)) as stage, Child(stage):
        assert stage.built()
