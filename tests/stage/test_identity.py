"""Who the process is: ids, capabilities, limits, scheduling; config.md#process, config-linux.md."""

import contextlib
import ctypes
import os
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from .encoder import Plan, number
from .harness import CLONE_NEWNS, MS_PRIVATE, MS_REC, Stage, describe
from .observe import is_hidden, opened, own_capabilities, status, stdio

EPERM, ENOENT, EACCES, EINVAL, EXDEV = 1, 2, 13, 22, 18
CHOWN, KILL, SETGID, SETUID, NET_RAW, SYS_ADMIN = (1 << bit for bit in (0, 5, 6, 7, 13, 21))
LAST = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
SCHED_DEADLINE, RESET_ON_FORK, SYS_SCHED_GETATTR = 6, 1, {"x86_64": 315}.get(os.uname().machine, 275)
IOPRIO_WHO_PROCESS, SYS_IOPRIO_GET = 1, {"x86_64": 252}.get(os.uname().machine, 31)


def caps(pid: int, name: str) -> int:
    return int(status(pid, f"Cap{name}"), 16)


# ---- ids ----


def test_ids_groups_and_hidden_from_the_user() -> None:
    with Stage(Plan().step("groups", groups=[7, 70000, 5]).step("ids", uid=1000, gid=2000).pause()) as stage:
        stage.built()
        assert status(stage.pid, "Uid") == "1000 1000 1000 1000"
        assert status(stage.pid, "Gid") == "2000 2000 2000 2000"
        assert status(stage.pid, "Groups") == "5 7 70000"
        assert is_hidden(stage.pid)


def test_an_empty_list_takes_all_groups_away_and_keep_leaves_them() -> None:
    before = os.getgroups()
    os.setgroups([10, 20])
    try:
        for keep, expected in ((False, ""), (True, "10 20")):
            with Stage(Plan().step("groups", keep=keep).pause()) as stage:
                stage.built()
                assert status(stage.pid, "Groups") == expected
    finally:
        os.setgroups(before)


def test_capabilities_survive_the_change_of_user_until_they_are_set() -> None:
    with Stage(Plan().step("ids", uid=1000, gid=1000).step("hostname", name="x").pause(), namespaces=CLONE_NEWNS | 0x4000000) as stage:
        stage.built()
        assert caps(stage.pid, "Prm") == caps(stage.pid, "Eff") == own_capabilities()


def test_minus_one_is_no_id() -> None:
    for uid, gid in ((0xFFFFFFFF, 0), (0, 0xFFFFFFFF)):
        with Stage(Plan().step("ids", uid=uid, gid=gid)) as stage:
            assert stage.failed().err == EINVAL


# ---- capabilities ----


def test_five_sets_are_exact() -> None:
    plan = Plan().step("bounding", keep=CHOWN | KILL | NET_RAW | SETUID).step("ids", uid=1000, gid=1000)
    plan.step("capabilities", permitted=CHOWN | KILL | NET_RAW, effective=CHOWN | KILL, inheritable=KILL | NET_RAW, ambient=KILL).pause()
    with Stage(plan) as stage:
        stage.built()
        assert caps(stage.pid, "Bnd") == CHOWN | KILL | NET_RAW | SETUID
        assert caps(stage.pid, "Prm") == CHOWN | KILL | NET_RAW
        assert caps(stage.pid, "Eff") == CHOWN | KILL
        assert caps(stage.pid, "Inh") == KILL | NET_RAW
        assert caps(stage.pid, "Amb") == KILL


def test_without_capabilities_nothing_is_left() -> None:
    plan = Plan().step("bounding").step("capabilities").pause()
    with Stage(plan) as stage:
        stage.built()
        assert not any(caps(stage.pid, name) for name in ("Bnd", "Prm", "Eff", "Inh", "Amb"))


@pytest.mark.parametrize(
    ("operands", "detail", "missing"),
    [
        ({"permitted": CHOWN | KILL, "effective": CHOWN | KILL}, "DETAIL_NONE", KILL),
        ({"permitted": CHOWN | 1 << 60, "effective": CHOWN}, "DETAIL_NONE", 1 << 60),
        ({"permitted": CHOWN, "effective": CHOWN, "inheritable": CHOWN | KILL}, "DETAIL_INHERITABLE", KILL),
        ({"permitted": CHOWN, "effective": CHOWN, "inheritable": CHOWN, "ambient": CHOWN | SETUID}, "DETAIL_AMBIENT", SETUID),
    ],
)
def test_what_cannot_be_granted_is_warned_of_and_the_rest_is_granted(operands: dict[str, int], detail: str, missing: int) -> None:
    held = own_capabilities() & ~KILL
    plan = Plan().step("bounding", keep=held).step("capabilities", permitted=held, effective=held)
    plan.step("capabilities", **operands).pause()
    with Stage(plan) as stage:
        report = stage.report()
        assert report is not None
        assert report.kind == number("REPORT_WARNING"), describe(report)
        assert (report.step, report.detail, int(report.text, 16)) == (2, number(detail), missing)
        stage.built()
        assert caps(stage.pid, "Prm") == caps(stage.pid, "Eff") == CHOWN


def test_bounding_set_keeps_what_is_named() -> None:
    with Stage(Plan().step("bounding", keep=NET_RAW | 1 << LAST | 1 << 63).pause()) as stage:
        stage.built()
        assert caps(stage.pid, "Bnd") == (NET_RAW | 1 << LAST) & caps(os.getpid(), "Bnd")


def test_bounding_set_without_the_right_to_drop_fails() -> None:
    with Stage(Plan().step("capabilities").step("bounding")) as stage:
        report = stage.failed()
        assert (report.step, report.err) == (1, EPERM)


def test_no_new_privs() -> None:
    with Stage(Plan().step("no_new_privs").pause()) as stage:
        stage.built()
        assert status(stage.pid, "NoNewPrivs") == "1"


# ---- limits and scheduling ----


def test_rlimit() -> None:
    with Stage(Plan().step("rlimit", resource=resource.RLIMIT_CORE, soft=4096, hard=8192).pause()) as stage:
        stage.built()
        assert resource.prlimit(stage.pid, resource.RLIMIT_CORE) == (4096, 8192)


def test_rlimit_that_is_refused() -> None:
    with Stage(Plan().step("rlimit", resource=resource.RLIMIT_CORE, soft=2, hard=1)) as stage:
        assert stage.failed().err == EINVAL


def test_scheduler() -> None:
    with Stage(Plan().step("scheduler", policy=os.SCHED_BATCH, nice=7).pause()) as stage:
        stage.built()
        assert os.sched_getscheduler(stage.pid) == os.SCHED_BATCH
        assert os.getpriority(os.PRIO_PROCESS, stage.pid) == 7


def test_every_member_of_the_scheduler_reaches_the_kernel() -> None:
    plan = Plan().step("scheduler", policy=SCHED_DEADLINE, flags=RESET_ON_FORK, runtime=10**6, deadline=2 * 10**7, period=3 * 10**7)
    with Stage(plan.pause()) as stage:
        stage.built()
        attr = ctypes.create_string_buffer(48)
        assert ctypes.CDLL(None).syscall(SYS_SCHED_GETATTR, stage.pid, attr, len(attr), 0) == 0
        assert struct.unpack("=IIQiIQQQ", attr.raw)[1:] == (SCHED_DEADLINE, RESET_ON_FORK, 0, 0, 10**6, 2 * 10**7, 3 * 10**7)


def test_scheduler_that_is_refused() -> None:
    with Stage(Plan().step("scheduler", policy=99)) as stage:
        assert stage.failed().err == EINVAL


def test_io_priority_is_the_process_groups() -> None:
    with Stage(Plan().step("setsid").step("io_priority", priority=2 << 13 | 3).pause()) as stage:
        stage.built()
        assert ctypes.CDLL(None).syscall(SYS_IOPRIO_GET, IOPRIO_WHO_PROCESS, stage.pid) == 2 << 13 | 3


def test_personality() -> None:
    with Stage(Plan().step("personality", persona=8).pause()) as stage:
        stage.built()
        assert int(Path(f"/proc/{stage.pid}/personality").read_text(), 16) == 8


def test_umask() -> None:
    with Stage(Plan().step("umask", mask=0o127).pause()) as stage:
        stage.built()
        assert status(stage.pid, "Umask") == "0127"


# ---- working directory ----


def in_root() -> Plan:
    """A plan that has pivoted."""
    return Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=0).step("pivot")


def test_missing_working_directory_is_made(rootfs: Path) -> None:
    with Stage(in_root().step("chdir", path="/srv/data", create=True).pause(), rootfs) as stage:
        stage.built()
        assert os.readlink(f"/proc/{stage.pid}/cwd") == "/srv/data"
    assert (rootfs / "srv/data").stat().st_mode & 0o7777 == 0o755


def test_missing_working_directory_without_create_fails(rootfs: Path) -> None:
    with Stage(in_root().step("chdir", path="/srv/data"), rootfs) as stage:
        assert stage.failed().err == ENOENT


def test_working_directory_that_only_the_user_may_enter(rootfs: Path) -> None:
    """Root squashed by a remote file system, here: root without the rights to everybody's files."""
    (rootfs / "home").mkdir(mode=0o700)
    os.chown(rootfs / "home", 1000, 1000)
    rootfs.chmod(0o755)
    few = SETUID | SETGID
    plan = in_root().step("capabilities", permitted=few, effective=few).step("chdir", path="/home", attempt=True)
    with Stage(plan.step("ids", uid=1000, gid=1000).step("chdir", path="/home", otherwise=True).pause(), rootfs) as stage:
        stage.built()
        assert os.readlink(f"/proc/{stage.pid}/cwd") == "/home"
    with Stage(in_root().step("capabilities").step("chdir", path="/home"), rootfs) as stage:
        assert stage.failed().err == EACCES


@pytest.mark.parametrize(("flags", "where"), [({}, "/tmp"), ({"attempt": True}, "/tmp"), ({"otherwise": True}, "/etc")])
def test_a_working_directory_is_changed_again_unless_an_attempt_has_succeeded(rootfs: Path, flags: dict[str, bool], where: str) -> None:
    plan = in_root().step("chdir", path="/etc", attempt=True).step("chdir", path="/tmp", **flags)
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
        assert os.readlink(f"/proc/{stage.pid}/cwd") == where


def test_only_an_attempt_counts_as_one(rootfs: Path) -> None:
    plan = in_root().step("chdir", path="/etc").step("chdir", path="/tmp", otherwise=True)
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
        assert os.readlink(f"/proc/{stage.pid}/cwd") == "/tmp"


def test_working_directory_outside_the_root_is_refused(rootfs: Path) -> None:
    """CVE-2024-21626: the directory behind a descriptor of the host's."""
    fs = Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=1)
    fs.step("fsmount", mount=2, type="proc").step("attach", mount=2, target="/proc", literal=True)
    fs.step("pivot")
    with opened("/", os.O_PATH) as host, contextlib.ExitStack() as stack:
        for fd in range(3, 12):
            plan = fs.copy().step("chdir", path=f"/proc/self/fd/{fd}")
            stage = stack.enter_context(Stage(plan, rootfs, inputs=(host,)))
            report = stage.report()
            if report is not None and report.detail == number("DETAIL_ESCAPED"):
                assert report.err == EXDEV
                return
    pytest.fail("no descriptor led outside: the test has not tried the attack")


# ---- standard descriptors ----


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_pipes_and_files_are_given_to_the_user_and_devices_are_not(file: int) -> None:
    ours, theirs = os.pipe()
    master, terminal = os.openpty()
    owner = os.fstat(terminal).st_uid
    with stdio(stdin=terminal, stdout=theirs, stderr=file), Stage(Plan().step("stdio", owner=1234).pause()) as stage:
        stage.built()
        assert os.fstat(theirs).st_uid == 1234
        assert os.fstat(file).st_uid == 1234
        assert os.fstat(terminal).st_uid == owner
    for fd in (ours, theirs, master, terminal):
        os.close(fd)


def null_plan() -> Plan:
    return Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=0).step("stdio", owner=0).pause()


def test_null_is_reopened_inside(rootfs: Path) -> None:
    os.mknod(rootfs / "dev/null", 0o020666, os.makedev(1, 3))
    with opened("/dev/null", os.O_RDWR) as null, stdio(stdin=null), Stage(null_plan(), rootfs) as stage:
        stage.built()
        assert os.stat(f"/proc/{stage.pid}/fd/0").st_ino == (rootfs / "dev/null").stat().st_ino


@pytest.mark.parametrize("kind", ["link", "file", "zero", "missing"])
def test_what_is_not_null_is_not_opened(rootfs: Path, kind: str) -> None:
    """CVE-2026-88265: a link, or another file, in the place of the container's /dev/null."""
    null = rootfs / "dev/null"
    if kind == "link":
        null.symlink_to("/etc/hosts")
    elif kind == "file":
        null.write_text("")
    elif kind == "zero":
        os.mknod(null, 0o020666, os.makedev(1, 5))
    with opened("/dev/null", os.O_RDWR) as host, stdio(stdin=host), Stage(null_plan(), rootfs) as stage:
        stage.built()
        found = os.stat(f"/proc/{stage.pid}/fd/0")
        assert (found.st_ino, found.st_rdev) == (os.fstat(host).st_ino, os.makedev(1, 3))
