"""The extension's side: spawning the stage and programs, talking, seccomp's compiler, and the few kernel calls."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers_runtime import wait_until

from .encoder import Plan, number
from .harness import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS, NATIVE
from .observe import namespace, opened, read_all, status, wait_readable

native = pytest.importorskip("pyoci._native", reason="the extension is not built")
ffi, lib = native.ffi, native.lib

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EACCES, ENOENT, EPIPE, EPERM, ENOSYS = 13, 2, 32, 1, 38


# ---- the stage ----


class Spawned:
    """A stage started by the extension."""

    def __init__(self, plan: Plan, flags: int = CLONE_NEWNS, *, ahead: int = 0, cgroup: int = -1, preserve: int = 0,
                 inputs: tuple[int, ...] = ()) -> None:
        pidfd, channel = ffi.new("int *"), ffi.new("int *")
        self.pid = lib.pyoci_spawn(flags, ahead, cgroup, preserve, pidfd, channel)
        assert self.pid > 0, os.strerror(-self.pid)
        self.pidfd, self.channel = pidfd[0], channel[0]
        self.plan = plan.encode(len(inputs))
        self.inputs = inputs

    def __enter__(self) -> "Spawned":
        memfd = lib.pyoci_memfd(b"plan", self.plan, len(self.plan), 1)
        assert lib.pyoci_send_plan(self.channel, memfd, len(self.plan), list(self.inputs), len(self.inputs), 0) == 0
        os.close(memfd)
        return self

    def __exit__(self, *_: object) -> None:
        assert lib.pyoci_pidfd_send_signal(self.pidfd, signal.SIGKILL) == 0
        wait_readable(self.pidfd)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        os.close(self.channel)

    def report(self) -> tuple[int, int, int]:
        record, fd = ffi.new("struct report *"), ffi.new("int *")
        assert lib.pyoci_receive(self.channel, record, ffi.new("char[4000]"), 4000, fd) == 1
        assert fd[0] == -1
        return record.kind, record.step, record.err


BARRIER = number("REPORT_BARRIER")


def test_stage_is_a_sealed_copy() -> None:
    """CVE-2019-5736: what a container finds behind /proc/self/exe cannot be written to."""
    with Spawned(Plan().pause()) as stage:
        assert stage.report() == (BARRIER, 0, 0)
        exe = f"/proc/{stage.pid}/exe"
        assert "memfd:pyoci-stage" in os.readlink(exe)
        with pytest.raises(OSError, match="denied|busy|permitted"), opened(exe, os.O_RDWR):
            pass
        with opened(exe) as fd:
            assert fcntl.fcntl(fd, 1034) & 15 == 15


def test_stage_inherits_no_descriptor_no_signal_mask_and_no_environment() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with opened("/etc") as leaked:
        os.set_inheritable(leaked, True)
        try:
            with Spawned(Plan().step("close").pause()) as stage:
                stage.report()
                fds = sorted(int(name) for name in os.listdir(f"/proc/{stage.pid}/fd"))
                assert len(fds) == 4
                assert Path(f"/proc/{stage.pid}/environ").read_bytes() == b""
                for name in ("SigBlk", "SigIgn", "SigCgt"):
                    assert int(status(stage.pid, name), 16) == 0
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])


def test_preserved_descriptors_keep_their_numbers() -> None:
    with opened("/etc") as one, contextlib.ExitStack() as stack:
        numbers = [fd for fd in range(3, 60) if not Path(f"/proc/self/fd/{fd}").exists()][:1]
        os.dup2(one, numbers[0])
        stack.callback(os.close, numbers[0])
        preserve = numbers[0] - 2
        with Spawned(Plan().step("close", preserved=preserve).pause(), preserve=preserve) as stage:
            stage.report()
            assert os.readlink(f"/proc/{stage.pid}/fd/{numbers[0]}") == "/etc"


def test_capabilities_of_a_new_user_namespace_survive_execve() -> None:
    """Nobody is root there while it has no ids: without the ambient set they would be lost."""
    plan = Plan().step("barrier", point=number("BARRIER_MAPS")).step("become_root").step("hostname", name="x").pause()
    with Spawned(plan, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | 0x4000000) as stage:
        assert stage.report() == (BARRIER, 0, 0)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{stage.pid}/{name}").write_text("0 1000 100")
        assert lib.pyoci_resume(stage.channel) == 0
        assert stage.report() == (BARRIER, 3, 0)
        assert status(stage.pid, "Uid") == "1000 1000 1000 1000"
        assert status(stage.pid, "NSpid").split()[-1] == "1"


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of version 2, wherever it is mounted."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mounts = [Path(line[1]) for line in lines if line[2] == "cgroup2"]
    if not mounts or not os.access(mounts[0], os.W_OK):
        pytest.skip("requires a cgroup v2 hierarchy that can be written")
    directory = mounts[0] / f"pyoci-test-{os.getpid()}"
    directory.mkdir()
    yield directory
    directory.rmdir()


def test_stage_is_born_in_its_cgroup(cgroup: Path) -> None:
    with opened(cgroup) as fd, Spawned(Plan().pause(), cgroup=fd) as stage:
        stage.report()
        assert (cgroup / "cgroup.procs").read_text().split() == [str(stage.pid)]


def test_many_inputs_arrive_in_order() -> None:
    """SCM_RIGHTS takes 253 at once."""
    fds = [os.memfd_create(f"input{i}") for i in range(600)]
    plan = Plan().step("join", namespaces=[599])
    uts = os.open("/proc/self/ns/uts", os.O_RDONLY)
    os.dup2(uts, fds[599], inheritable=False)
    try:
        with Spawned(plan.pause(), inputs=tuple(fds)) as stage:
            assert stage.report() == (BARRIER, 1, 0)
            assert namespace(stage.pid, "uts") == namespace("self", "uts")
    finally:
        for fd in (*fds, uts):
            os.close(fd)


def test_namespaces_are_made_ahead_of_the_plan() -> None:
    plan = Plan().step("unshare", namespaces=CLONE_NEWUTS, ahead=True).step("hostname", name="ahead")
    spawned = Spawned(plan.pause(), ahead=CLONE_NEWUTS)
    wait_until(lambda: namespace(spawned.pid, "uts") != namespace(os.getpid(), "uts"), "a UTS namespace of its own")
    there = namespace(spawned.pid, "uts")
    with spawned:
        assert spawned.report() == (BARRIER, 2, 0)
        assert namespace(spawned.pid, "uts") == there  # the step has not made another one


def test_the_step_tells_what_went_wrong_ahead_of_it() -> None:
    with Spawned(Plan().step("setsid").step("unshare", namespaces=0x1, ahead=True), ahead=0x1) as stage:
        assert stage.report() == (number("REPORT_FAILED"), 1, 22)


def test_refused_clone_is_an_error_and_leaves_nothing() -> None:
    pidfd, channel = ffi.new("int *", -1), ffi.new("int *", -1)
    assert lib.pyoci_spawn(0x1, 0, -1, 0, pidfd, channel) == -22          # CSIGNAL bits are no flags
    assert channel[0] == -1


def test_go_to_a_dead_stage() -> None:
    with Spawned(Plan().pause()) as stage:
        stage.report()
        os.kill(stage.pid, signal.SIGKILL)
        wait_readable(stage.pidfd)
        assert lib.pyoci_resume(stage.channel) == -EPIPE
        record, fd = ffi.new("struct report *"), ffi.new("int *")
        assert lib.pyoci_receive(stage.channel, record, ffi.new("char[10]"), 10, fd) == 0


def test_message_that_is_no_report_is_refused() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, opened("/") as root:
        record, fd = ffi.new("struct report *"), ffi.new("int *")
        for message in (b"x", struct.pack("=IIiII", 0, 0, 0, 0, 5) + b"four", struct.pack("=IIiII", 0, 0, 0, 0, 0) + b"more"):
            socket.send_fds(theirs, [message], [root])
            assert lib.pyoci_receive(ours.fileno(), record, ffi.new("char[10]"), 10, fd) == -71
            assert fd[0] == -1


@pytest.mark.skipif(not shutil.which("cc"), reason="requires a C compiler")
def test_child_calls_the_kernel_only(tmp_path: Path) -> None:
    """Between clone3 and execve the memory is the parent's: no allocator, no lock, no Python."""
    subprocess.run(["cc", "-std=c11", "-Os", "-c", str(NATIVE / "ext/child.c"), "-o", str(tmp_path / "o")], check=True)
    symbols = subprocess.run(["nm", "-u", str(tmp_path / "o")], capture_output=True, text=True, check=True).stdout
    ours = {"syscall", "__errno_location", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert set(re.findall(r"U (\S+)", symbols)) <= ours | {"mmap", "munmap"}


# ---- programs ----


def execute(
    argv: list[bytes], env: tuple[bytes, ...] = (), *, directory: int = -1, path: bytes = b"", bound: bool = False
) -> tuple[int, int, int]:
    """Run a program; its pid (or -errno), pidfd, and a pipe with its output."""
    output, theirs = os.pipe()
    with os.fdopen(os.memfd_create("stdin"), "wb+") as given:
        given.write(b"text")
        given.seek(0)
        pidfd = ffi.new("int *", -1)
        packed = b"".join(word + b"\0" for word in argv), b"".join(word + b"\0" for word in env)
        streams = given.fileno(), theirs, directory
        pid = lib.pyoci_execute(path or argv[0], packed[0], len(argv), packed[1], len(env), *streams, bound, pidfd)
    os.close(theirs)
    return pid, pidfd[0], output


def test_program_of_the_host_is_alone_in_its_session() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    script = b"cat; echo; echo $A $# $0 $1; pwd; cut -d' ' -f1,5,6 /proc/$$/stat; exec grep -E 'Sig(Blk|Ign)' /proc/self/status"
    try:
        with opened("/proc") as directory:
            pid, pidfd, output = execute([b"/bin/sh", b"-c", script, b"zero", b"one"], (b"A=1",), directory=directory)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
    assert pid > 0
    lines = read_all(output).splitlines()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert lines[:3] == ["text", "1 1 zero one", "/proc"]
    assert lines[3].split() == [str(pid)] * 3
    assert all(int(line.split()[1], 16) == 0 for line in lines[4:])
    os.close(pidfd)
    os.close(output)


def test_program_of_the_host_gets_three_descriptors() -> None:
    with opened("/etc") as leaked:
        os.set_inheritable(leaked, True)
        pid, pidfd, output = execute([b"/bin/ls", b"/proc/self/fd"])
    assert read_all(output).split() == ["0", "1", "2", "3"]         # 3 is the directory that ls reads
    os.waitpid(pid, 0)
    os.close(pidfd)
    os.close(output)


@pytest.mark.parametrize(("path", "err"), [(b"/missing", ENOENT), (b"/etc", EACCES)])
def test_program_that_cannot_be_run(path: bytes, err: int) -> None:
    pid, _, output = execute([path])
    assert pid == -err
    assert read_all(output) == ""
    os.close(output)


# ---- seccomp ----


class Compiled:
    """A filter, and a small interpreter for it: what it says of a system call."""

    def __init__(self, default: int, rules: list[tuple[int, list[str], list[tuple[int, int, int, int]]]], archs: tuple[int, ...] = ()) -> None:
        failed = ffi.new("uint32_t *")
        names = b"".join(name.encode() + b"\0" for _, listed, _ in rules for name in listed)
        args = [arg for _, _, listed in rules for arg in listed]
        fd = lib.pyoci_seccomp_compile(
            default, list(archs), len(archs), [(action, len(listed), len(given)) for action, listed, given in rules],
            len(rules), args, names, failed,
        )
        self.error, self.failed, self.code = min(fd, 0), failed[0], []
        if fd >= 0:
            with os.fdopen(fd, "rb") as stream:
                self.code = list(struct.iter_unpack("=HBBI", stream.read()))

    def says(self, number_: int, *args: int, arch: int = 0xC000003E) -> int:
        """Run the filter."""
        data = struct.pack("=IIQ6Q", number_, arch, 0, *args, *[0] * (6 - len(args)))
        at, accumulator = 0, 0
        while True:
            code, yes, no, k = self.code[at]
            at += 1
            match code:
                case 0x20:
                    accumulator = struct.unpack_from("=I", data, k)[0]
                case 0x06:
                    return k
                case 0x05:
                    at += k
                case 0x54:
                    accumulator &= k
                case 0x15 | 0x25 | 0x35:
                    at += yes if {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[code] else no
                case _:
                    raise AssertionError(f"instruction {code:#x}")


x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="knows the system calls' numbers of x86_64 only")
READ, WRITE, PERSONALITY, OPENAT2, FACCESSAT2, FUTURE = 0, 1, 135, 437, 439, 2000
EQ, NE, MASKED_EQ = 4, 1, 7


@x86_64
def test_rules_conditions_and_unknown_names() -> None:
    filter_ = Compiled(ERRNO | EPERM, [
        (ALLOW, ["read", "no_such_call", "openat2"], []),
        (ERRNO | 5, ["write"], [(0, EQ, 7, 0), (2, MASKED_EQ, 0xF0, 0x30)]),
        (ALLOW, ["personality"], [(0, EQ, 0, 0), (0, EQ, 8, 0)]),
    ])
    assert filter_.error == 0
    assert filter_.says(READ) == ALLOW
    assert [filter_.says(WRITE, *args) for args in ((7, 0, 0x35), (7, 0, 0x45), (8, 0, 0x35))] == [ERRNO | 5, ERRNO | 1, ERRNO | 1]
    assert [filter_.says(PERSONALITY, value) for value in (0, 8, 4)] == [ALLOW, ALLOW, ERRNO | 1]


@x86_64
def test_calls_newer_than_the_rules_do_not_exist() -> None:
    filter_ = Compiled(ERRNO | EPERM, [(ALLOW, ["read", "openat2"], [])], archs=(0xC000003E, 0x40000003))
    assert filter_.says(WRITE) == ERRNO | EPERM
    assert filter_.says(OPENAT2 - 1) == ERRNO | EPERM
    assert filter_.says(FACCESSAT2) == filter_.says(FUTURE) == ERRNO | ENOSYS
    assert filter_.says(FUTURE, arch=0x40000003) == ERRNO | ENOSYS
    assert filter_.says(3, arch=0x40000003) == ALLOW                       # read of i386
    assert filter_.says(0x40000000 | READ) not in (ALLOW, ERRNO | ENOSYS)      # x32 is another architecture
    assert filter_.says(FUTURE, arch=0xC00000B7) not in (ALLOW, ERRNO | ENOSYS)


@x86_64
@pytest.mark.parametrize("default", [ALLOW, 0x80000000, ERRNO | ENOSYS])
def test_other_defaults_are_the_default_for_new_calls_too(default: int) -> None:
    assert Compiled(default, [(ERRNO | 7, ["read"], [])]).says(FUTURE) == default


@x86_64
def test_old_calls_keep_the_default_however_short_the_list() -> None:
    filter_ = Compiled(ERRNO | EPERM, [(ALLOW, ["read"], [])])
    assert filter_.says(PERSONALITY) == ERRNO | EPERM


def test_rule_that_does_what_the_default_does_is_left_out() -> None:
    assert Compiled(ALLOW, [(ALLOW, ["read"], []), (ERRNO | 1, ["write"], [])]).error == 0


def test_rule_that_cannot_be_is_named() -> None:
    filter_ = Compiled(ALLOW, [(ERRNO | 1, ["read"], []), (ERRNO | 1, ["write"], [(9, EQ, 0, 0)])])
    assert (filter_.error, filter_.failed) == (-22, 1)


def test_facts_of_the_kernel() -> None:
    assert lib.pyoci_seccomp_known(b"read")
    assert not lib.pyoci_seccomp_known(b"no_such_call")
    assert lib.pyoci_seccomp_flag_supported(2)
    assert not lib.pyoci_seccomp_flag_supported(1 << 20)
    assert lib.pyoci_seccomp_version() >= 0x020500


# ---- the few kernel calls ----


def test_socket_with_a_long_path(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener, opened(directory, os.O_PATH) as short:
        listener.bind(f"/proc/self/fd/{short}/sock")
        listener.listen()
        ours = lib.pyoci_connect_unix(bytes(directory / "sock"))
        assert ours >= 0
        theirs, _ = listener.accept()
        with theirs, opened("/etc") as sent:
            assert lib.pyoci_send_fds(ours, b"hello", 5, [sent], 1) == 0
            text, (received,), _, _ = socket.recv_fds(theirs, 10, 1)
            assert text == b"hello"
            assert os.path.samestat(os.fstat(received), os.fstat(sent))
            os.close(received)
        os.close(ours)
    assert lib.pyoci_connect_unix(bytes(directory / "missing")) == -ENOENT


def test_signals_are_read_one_by_one() -> None:
    pid = os.fork()
    if pid == 0:
        held = ffi.new("struct pyoci_held *")
        both = 1 << signal.SIGTERM - 1 | 1 << signal.SIGWINCH - 1
        fd = lib.pyoci_hold_signals(both, both, held)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGWINCH)
        found = {lib.pyoci_read_signal(fd), lib.pyoci_read_signal(fd)}
        os._exit(0 if found == {15, 28} and lib.pyoci_read_signal(fd) == -11 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_raw_terminal_and_back() -> None:
    master, terminal = os.openpty()
    before = termios.tcgetattr(terminal)
    saved = ffi.new("struct pyoci_termios *")
    assert lib.pyoci_tty_raw(terminal, saved) == 0
    assert not termios.tcgetattr(terminal)[3] & (termios.ECHO | termios.ICANON)
    assert lib.pyoci_tty_restore(terminal, saved) == 0
    assert termios.tcgetattr(terminal) == before
    assert lib.pyoci_winsize_set(master, [12, 34]) == 0
    size = ffi.new("unsigned short[2]")
    assert lib.pyoci_winsize_get(terminal, size) == 0
    assert list(size) == [12, 34]
    os.close(master)
    os.close(terminal)


def test_namespace_type_and_own_capabilities() -> None:
    with opened("/proc/self/ns/uts") as uts, opened("/") as root:
        assert lib.pyoci_ns_type(uts) == 0x4000000
        assert lib.pyoci_ns_type(root) < 0
    assert lib.pyoci_capabilities() == int(status(os.getpid(), "CapEff"), 16)
