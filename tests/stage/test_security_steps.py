"""Seccomp, labels, the terminal; config-linux.md#seccomp, config.md#process."""

import array
import ctypes
import fcntl
import os
import select
import signal
import struct
import termios
from pathlib import Path

import pytest

from .encoder import Plan, number
from .harness import MS_PRIVATE, MS_REC, Stage
from .observe import status, wait_readable

EPERM, ENOENT, EINVAL, ENOTTY, ELOOP = 1, 2, 22, 25, 40
ALLOW, ERRNO, NOTIFY, KILL = 0x7FFF0000, 0x00050000, 0x7FC00000, 0x80000000
NEW_LISTENER = 1 << 3
SYS_PIDFD_GETFD = 438
SYSCALLS = {"x86_64": {"read": 0, "write": 1, "close": 3, "sethostname": 170, "exit_group": 231, "umask": 95}}.get(os.uname().machine, {})

needs_numbers = pytest.mark.skipif(not SYSCALLS, reason="knows the system calls' numbers of x86_64 only")


def instruction(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    return struct.pack("=HBBI", code, jt, jf, k)


def bpf(default: int, rules: dict[str, int]) -> bytes:
    """A filter: load the number, compare, return."""
    code = instruction(0x20, 0)
    for name, action in rules.items():
        code += instruction(0x15, SYSCALLS[name], 0, 1) + instruction(0x06, action)
    return code + instruction(0x06, default)


def seccomp(plan: Plan, code: bytes, flags: int = 0, **operands: bool) -> Plan:
    return plan.step("seccomp", filter=code, flags=flags, **operands)


@needs_numbers
def test_filter_is_in_force() -> None:
    plan = seccomp(Plan(), bpf(ALLOW, {"sethostname": ERRNO | 77})).step("hostname", name="x")
    with Stage(plan) as stage:
        report = stage.failed()
        assert (report.step, report.err) == (1, 77)


@needs_numbers
def test_after_a_late_filter_only_the_talk_is_left() -> None:
    """Of what the stage itself does behind it a filter need not allow more than read, write, close and exit."""
    few = dict.fromkeys(("read", "write", "close", "exit_group"), ALLOW)
    plan = seccomp(Plan().step("no_new_privs"), bpf(KILL, few))
    fifo, theirs = os.pipe()
    plan.step("barrier", point=number("BARRIER_READY"), outlive=True, hang_up=True)
    with Stage(plan.step("gate", opener=0, reports=0, filtered=True), inputs=(fifo,)) as stage:
        stage.built()
        stage.go()
        assert stage.report() is None
        os.write(theirs, b"s")
        assert stage.status() == 0
    os.close(fifo)
    os.close(theirs)


@pytest.mark.parametrize("handled", [False, True])
def test_signals_are_handled_from_before_the_filter_when_a_gate_follows(handled: bool) -> None:
    (gate, opener), (reports, theirs) = os.pipe(), os.pipe()
    plan = seccomp(Plan(), instruction(0x06, ALLOW), handle_signals=handled).pause()
    with Stage(plan.step("gate", opener=0, reports=1, filtered=True).pause(), inputs=(gate, theirs)) as stage:
        stage.built()
        assert handles_term(stage.pid) == handled
        stage.go()
        os.write(opener, b"s")
        wait_readable(reports)          # the report of the barrier behind the gate
        assert handles_term(stage.pid) == handled, "the gate has set the handlers"
    for fd in (gate, opener, reports, theirs):
        os.close(fd)


def handles_term(pid: int) -> bool:
    return bool(int(status(pid, "SigCgt"), 16) & 1 << signal.SIGTERM - 1)


def test_filter_without_privilege_needs_no_new_privs() -> None:
    for before, err in ((Plan(), 13), (Plan().step("no_new_privs"), 0)):
        plan = seccomp(before.step("capabilities"), instruction(0x06, ALLOW)).pause()
        with Stage(plan) as stage:
            if err:
                assert stage.failed().err == err
            else:
                assert status(stage.built().pid, "Seccomp") == "2"


@pytest.mark.parametrize("code", [b"", instruction(0x06, ALLOW) * 5000, instruction(0xFFFF, 0)])
def test_programs_that_are_none_are_refused(code: bytes) -> None:
    with Stage(seccomp(Plan(), code)) as stage:
        assert stage.failed().err in (EINVAL, 7)


@needs_numbers
def test_listener_is_handed_over_and_answers() -> None:
    plan = seccomp(Plan(), bpf(ALLOW, {"umask": NOTIFY}), NEW_LISTENER).step("umask", mask=0).pause()
    with Stage(plan) as stage:
        report = stage.report()
        assert report is not None
        assert report.kind == number("REPORT_LISTENER")
        listener = int(ctypes.CDLL(None).syscall(SYS_PIDFD_GETFD, stage.pidfd, report.detail, 0))
        assert "seccomp notify" in os.readlink(f"/proc/self/fd/{listener}")
        stage.go()
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        assert poll.poll(10000), "no notification"
        notification = array.array("B", bytes(80))
        fcntl.ioctl(listener, 0xC0502100, notification)                     # SECCOMP_IOCTL_NOTIF_RECV
        ident, pid = struct.unpack_from("=QI", notification)
        assert pid == stage.pid
        fcntl.ioctl(listener, 0xC0182101, struct.pack("=QqiI", ident, 0, 0, 1))     # …_SEND: continue
        stage.built()
        assert f"{report.detail}" not in os.listdir(f"/proc/{stage.pid}/fd")
        os.close(listener)


# ---- labels ----


def enabled(module: str) -> bool:
    path = Path("/sys/kernel/security/lsm")
    return path.exists() and module in path.read_text().split(",")


@pytest.mark.skipif(enabled("apparmor"), reason="AppArmor is enabled here")
def test_apparmor_profile_without_apparmor_fails() -> None:
    with Stage(Plan().step("apparmor", profile="pyoci-test")) as stage:
        assert stage.failed().err in (ENOENT, EINVAL)


@pytest.mark.skipif(enabled("selinux"), reason="SELinux is enabled here")
def test_selinux_label_without_selinux_fails() -> None:
    with Stage(Plan().step("selinux", label="system_u:system_r:container_t:s0")) as stage:
        assert stage.failed().err in (ENOENT, EINVAL)


# ---- the terminal ----


def console_plan(devpts: bool = True) -> Plan:
    plan = Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=0)
    if devpts:
        plan.step("fsmount", mount=1, type="devpts", options=["newinstance", "ptmxmode=0666", "mode=0620"])
        plan.step("attach", mount=1, target="/dev/pts")
    return plan


def test_console_is_a_pair_of_the_containers_devpts(rootfs: Path) -> None:
    plan = console_plan().step("console", peer=2, bind=True, rows=30, columns=100, owner=1000)
    plan.step("setsid").step("controlling_tty", peer=2).pause()
    with Stage(plan, rootfs) as stage:
        report = stage.report()
        assert report is not None
        assert report.kind == number("REPORT_FD")
        stage.built()
        console = os.stat(stage.cwd / "dev/console")
        peer = os.stat(stage.cwd / "dev/pts/0")
        assert (console.st_ino, console.st_rdev, console.st_dev) == (peer.st_ino, peer.st_rdev, peer.st_dev)
        assert (peer.st_uid, peer.st_mode & 0o7777) == (1000, 0o620)
        assert {os.stat(f"/proc/{stage.pid}/fd/{fd}").st_rdev for fd in (0, 1, 2)} == {peer.st_rdev}
        tty = int(Path(f"/proc/{stage.pid}/stat").read_text().rpartition(")")[2].split()[4])
        assert (tty >> 8 & 0xFFF, tty & 0xFF) == (os.major(peer.st_rdev), os.minor(peer.st_rdev))
        assert struct.unpack("4H", fcntl.ioctl(report.fd, termios.TIOCGWINSZ, bytes(8)))[:2] == (30, 100)
        with open(stage.cwd / "dev/console", "wb", buffering=0) as written:
            written.write(b"hello")
        assert os.read(report.fd, 100) == b"hello"
        os.close(report.fd)


def test_dev_pts_that_is_no_devpts_is_refused(rootfs: Path) -> None:
    """CVE-2025-52565: numbers that look like terminals, and a multiplexer that is somebody else's."""
    (rootfs / "dev/pts").mkdir()
    os.mknod(rootfs / "dev/pts/ptmx", 0o020666, os.makedev(5, 2))
    with Stage(console_plan(devpts=False).step("console", peer=2), rootfs) as stage:
        report = stage.failed()
        assert (report.err, report.detail) == (ENOTTY, number("DETAIL_SOURCE"))


def test_multiplexer_that_is_mounted_over_is_refused(rootfs: Path) -> None:
    (rootfs / "dev/pts").mkdir()
    plan = console_plan().step("open_tree", tree=3, path="/dev/null").step("attach", mount=3, target="/dev/pts/ptmx")
    with Stage(plan.step("console", peer=2), rootfs) as stage:
        report = stage.failed()
        assert report.detail == number("DETAIL_SOURCE")


@pytest.mark.parametrize("target", ["link", "directory"])
def test_console_that_is_a_link_or_directory_is_refused(rootfs: Path, target: str) -> None:
    """CVE-2026-88264: the last component is not followed."""
    console = rootfs / "dev/console"
    if target == "link":
        console.symlink_to("/etc/hosts")
    else:
        console.mkdir()
    with Stage(console_plan().step("console", peer=2, bind=True), rootfs) as stage:
        report = stage.report()
        assert report is not None
        os.close(report.fd)
        assert stage.failed().detail == number("DETAIL_TARGET")
    assert (rootfs / "etc/hosts").read_text() == "hosts\n"
