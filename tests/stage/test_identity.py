"""Who the process is: ids, capabilities, limits, scheduling; config.md#process, config-linux.md."""

import contextlib
import ctypes
import os
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import CLONE_NEWNS, MS_PRIVATE, MS_REC, Plan, Stage, describe, number
from .observe import is_hidden, opened, own_capabilities, status, stdio

EPERM, ENOENT, EACCES, EINVAL, EXDEV = 1, 2, 13, 22, 18
CHOWN, KILL, SETGID, SETUID, NET_RAW, SYS_ADMIN = (1 << bit for bit in (0, 5, 6, 7, 13, 21))
LAST = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
CHDIR_CREATE, CHDIR_RETRY = number("CHDIR_CREATE"), number("CHDIR_RETRY")
IOPRIO_WHO_PROCESS, SYS_IOPRIO_GET = 1, {"x86_64": 252}.get(os.uname().machine, 31)


def caps(pid: int, name: str) -> int:
    return int(status(pid, f"Cap{name}"), 16)


# ---- ids ----


def test_ids_groups_and_hidden_from_the_user() -> None:
    groups = Plan()
    groups.step("OP_GROUPS", a=groups.blob(struct.pack("=3I", 7, 70000, 5)), b=3).step("OP_IDS", a=1000, b=2000).pause()
    with Stage(groups) as stage:
        stage.built()
        assert status(stage.pid, "Uid") == "1000 1000 1000 1000"
        assert status(stage.pid, "Gid") == "2000 2000 2000 2000"
        assert status(stage.pid, "Groups") == "5 7 70000"
        assert is_hidden(stage.pid)


def test_an_empty_list_takes_all_groups_away_and_keep_leaves_them() -> None:
    before = os.getgroups()
    os.setgroups([10, 20])
    try:
        for flags, expected in ((0, ""), (number("GROUPS_KEEP"), "10 20")):
            with Stage(Plan().step("OP_GROUPS", flags=flags).pause()) as stage:
                stage.built()
                assert status(stage.pid, "Groups") == expected
    finally:
        os.setgroups(before)


def test_capabilities_survive_the_change_of_user_until_they_are_set() -> None:
    with Stage(Plan().step("OP_IDS", a=1000, b=1000).step("OP_HOSTNAME", a="x").pause(), namespaces=CLONE_NEWNS | 0x4000000) as stage:
        stage.built()
        assert caps(stage.pid, "Prm") == caps(stage.pid, "Eff") == own_capabilities()


def test_minus_one_is_no_id() -> None:
    for a, b in ((0xFFFFFFFF, 0), (0, 0xFFFFFFFF)):
        with Stage(Plan().step("OP_IDS", a=a, b=b)) as stage:
            assert stage.failed().err == EINVAL


# ---- capabilities ----


def test_five_sets_are_exact() -> None:
    plan = Plan().step("OP_BOUNDING", n=CHOWN | KILL | NET_RAW | SETUID).step("OP_IDS", a=1000, b=1000)
    plan.step("OP_CAPABILITIES", n=CHOWN | KILL | NET_RAW, m=CHOWN | KILL, a=KILL | NET_RAW, c=KILL).pause()
    with Stage(plan) as stage:
        stage.built()
        assert caps(stage.pid, "Bnd") == CHOWN | KILL | NET_RAW | SETUID
        assert caps(stage.pid, "Prm") == CHOWN | KILL | NET_RAW
        assert caps(stage.pid, "Eff") == CHOWN | KILL
        assert caps(stage.pid, "Inh") == KILL | NET_RAW
        assert caps(stage.pid, "Amb") == KILL


def test_without_capabilities_nothing_is_left() -> None:
    plan = Plan().step("OP_BOUNDING").step("OP_CAPABILITIES").pause()
    with Stage(plan) as stage:
        stage.built()
        assert not any(caps(stage.pid, name) for name in ("Bnd", "Prm", "Eff", "Inh", "Amb"))


@pytest.mark.parametrize(
    ("operands", "detail", "missing"),
    [
        ({"n": CHOWN | KILL, "m": CHOWN | KILL}, "DETAIL_NONE", KILL),
        ({"n": CHOWN | 1 << 60, "m": CHOWN}, "DETAIL_NONE", 1 << 60),
        ({"n": CHOWN, "m": CHOWN, "a": CHOWN | KILL}, "DETAIL_INHERITABLE", KILL),
        ({"n": CHOWN, "m": CHOWN, "a": CHOWN, "c": CHOWN | SETUID}, "DETAIL_AMBIENT", SETUID),
    ],
)
def test_what_cannot_be_granted_is_warned_of_and_the_rest_is_granted(operands: dict[str, int], detail: str, missing: int) -> None:
    held = own_capabilities() & ~KILL
    plan = Plan().step("OP_BOUNDING", n=held).step("OP_CAPABILITIES", n=held, m=held)
    plan.step("OP_CAPABILITIES", **operands).pause()  # type: ignore[arg-type]
    with Stage(plan) as stage:
        report = stage.report()
        assert report is not None
        assert report.kind == number("REPORT_WARNING"), describe(report)
        assert (report.step, report.detail, int(report.text, 16)) == (2, number(detail), missing)
        stage.built()
        assert caps(stage.pid, "Prm") == caps(stage.pid, "Eff") == CHOWN


def test_bounding_set_keeps_what_is_named() -> None:
    with Stage(Plan().step("OP_BOUNDING", n=NET_RAW | 1 << LAST | 1 << 63).pause()) as stage:
        stage.built()
        assert caps(stage.pid, "Bnd") == (NET_RAW | 1 << LAST) & caps(os.getpid(), "Bnd")


def test_bounding_set_without_the_right_to_drop_fails() -> None:
    with Stage(Plan().step("OP_CAPABILITIES").step("OP_BOUNDING")) as stage:
        report = stage.failed()
        assert (report.step, report.err) == (1, EPERM)


def test_no_new_privs() -> None:
    with Stage(Plan().step("OP_NO_NEW_PRIVS").pause()) as stage:
        stage.built()
        assert status(stage.pid, "NoNewPrivs") == "1"


# ---- limits and scheduling ----


def test_rlimit() -> None:
    with Stage(Plan().step("OP_RLIMIT", a=resource.RLIMIT_CORE, n=4096, m=8192).pause()) as stage:
        stage.built()
        assert resource.prlimit(stage.pid, resource.RLIMIT_CORE) == (4096, 8192)


def test_rlimit_that_is_refused() -> None:
    with Stage(Plan().step("OP_RLIMIT", a=resource.RLIMIT_CORE, n=2, m=1)) as stage:
        assert stage.failed().err == EINVAL


def sched_attr(policy: int, nice: int = 0, size: int = 48) -> bytes:
    return struct.pack("=IIQiIQQQ", size, policy, 0, nice, 0, 0, 0, 0)


def test_scheduler() -> None:
    plan = Plan()
    plan.step("OP_SCHEDULER", b=plan.blob(sched_attr(os.SCHED_BATCH, nice=7)), c=48).pause()
    with Stage(plan) as stage:
        stage.built()
        assert os.sched_getscheduler(stage.pid) == os.SCHED_BATCH
        assert os.getpriority(os.PRIO_PROCESS, stage.pid) == 7


def test_scheduler_attributes_must_have_the_size_they_say() -> None:
    plan = Plan()
    plan.step("OP_SCHEDULER", b=plan.blob(sched_attr(0, size=4096)), c=48)
    with Stage(plan) as stage:
        assert stage.failed().err == EINVAL


def test_io_priority_is_the_process_groups() -> None:
    with Stage(Plan().step("OP_SETSID").step("OP_IO_PRIORITY", n=2 << 13 | 3).pause()) as stage:
        stage.built()
        assert ctypes.CDLL(None).syscall(SYS_IOPRIO_GET, IOPRIO_WHO_PROCESS, stage.pid) == 2 << 13 | 3


def test_personality() -> None:
    with Stage(Plan().step("OP_PERSONALITY", n=8).pause()) as stage:
        stage.built()
        assert int(Path(f"/proc/{stage.pid}/personality").read_text(), 16) == 8


def test_umask() -> None:
    with Stage(Plan().step("OP_UMASK", n=0o127).pause()) as stage:
        stage.built()
        assert status(stage.pid, "Umask") == "0127"


# ---- working directory ----


def in_root() -> Plan:
    """A plan that has pivoted."""
    return Plan().step("OP_PROPAGATION", n=MS_REC | MS_PRIVATE).step("OP_ROOT", slot=0).step("OP_PIVOT")


def test_missing_working_directory_is_made(rootfs: Path) -> None:
    with Stage(in_root().step("OP_CHDIR", flags=CHDIR_CREATE, a="/srv/data").pause(), rootfs) as stage:
        stage.built()
        assert os.readlink(f"/proc/{stage.pid}/cwd") == "/srv/data"
    assert (rootfs / "srv/data").stat().st_mode & 0o7777 == 0o755


def test_missing_working_directory_without_create_fails(rootfs: Path) -> None:
    with Stage(in_root().step("OP_CHDIR", a="/srv/data"), rootfs) as stage:
        assert stage.failed().err == ENOENT


def test_working_directory_that_only_the_user_may_enter(rootfs: Path) -> None:
    """Root squashed by a remote file system, here: root without the rights to everybody's files."""
    (rootfs / "home").mkdir(mode=0o700)
    os.chown(rootfs / "home", 1000, 1000)
    rootfs.chmod(0o755)
    few = SETUID | SETGID
    plan = in_root().step("OP_CAPABILITIES", n=few, m=few).step("OP_CHDIR", flags=CHDIR_RETRY, a="/home")
    with Stage(plan.step("OP_IDS", a=1000, b=1000).step("OP_CHDIR", a="/home").pause(), rootfs) as stage:
        stage.built()
        assert os.readlink(f"/proc/{stage.pid}/cwd") == "/home"
    with Stage(in_root().step("OP_CAPABILITIES").step("OP_CHDIR", a="/home"), rootfs) as stage:
        assert stage.failed().err == EACCES


def test_working_directory_outside_the_root_is_refused(rootfs: Path) -> None:
    """CVE-2024-21626: the directory behind a descriptor of the host's."""
    fs = Plan().step("OP_PROPAGATION", n=MS_REC | MS_PRIVATE).step("OP_ROOT", slot=1)
    fs.step("OP_FSMOUNT", slot=2, a="proc", b=[], d=0).step("OP_ATTACH", slot=2, a="/proc", flags=number("ATTACH_LITERAL"))
    fs.step("OP_PIVOT")
    with opened("/", os.O_PATH) as host, contextlib.ExitStack() as stack:
        for fd in range(3, 12):
            plan = Plan()
            plan.table, plan.steps, plan.slots = bytearray(fs.table), list(fs.steps), fs.slots
            plan.step("OP_CHDIR", a=f"/proc/self/fd/{fd}")
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
    with stdio(stdin=terminal, stdout=theirs, stderr=file), Stage(Plan().step("OP_STDIO", a=1234).pause()) as stage:
        stage.built()
        assert os.fstat(theirs).st_uid == 1234
        assert os.fstat(file).st_uid == 1234
        assert os.fstat(terminal).st_uid == owner
    for fd in (ours, theirs, master, terminal):
        os.close(fd)


def null_plan() -> Plan:
    return Plan().step("OP_PROPAGATION", n=MS_REC | MS_PRIVATE).step("OP_ROOT", slot=0).step("OP_STDIO", a=0).pause()


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
