"""Drive the stage by hand: write a plan, start the stage in new namespaces, read what it reports.

    plan = Plan()
    plan.step("host_propagation", propagation=MS_REC | MS_PRIVATE)
    plan.step("root", mount=0)
    with Stage(plan, rootfs) as stage:
        stage.built()                        # every step has worked; the stage waits, to be looked at
        stage.root / "etc"                   # its root, through /proc/PID/root
"""

import atexit
import contextlib
import ctypes
import errno
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from .encoder import NUMBERS, Plan, number

NATIVE = Path(__file__).parents[2] / "native"
DEADLINE = 20.0

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x4000000, 0x10000000, 0x20000000
MS_BIND = 1 << 12
MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 14, 1 << 17, 1 << 18, 1 << 19, 1 << 20
RDONLY, NOSUID, NODEV, NOEXEC, NOATIME = 1, 2, 4, 8, 0x10

REPORT = struct.Struct("=IIiII")

SYS_OPEN_TREE, SYS_CLONE3, SYS_CLOSE_RANGE = 428, 435, 436
CLOSE_RANGE_CLOEXEC = 4
F_ADD_SEALS, ALL_SEALS = 1033, 15

_libc = ctypes.CDLL(None, use_errno=True)


@cache
def stage_binary() -> Path:
    """The static stage, built once a run as the wheel builds it; $PYOCI_STAGE names another (a sanitised one)."""
    if given := os.environ.get("PYOCI_STAGE"):
        return Path(given)
    directory = Path(tempfile.mkdtemp(prefix="pyoci-stage-"))
    atexit.register(shutil.rmtree, directory)
    target = directory / "stage"
    compiler = ["gcc"]
    if shutil.which("musl-gcc"):
        machine = os.uname().machine
        compiler = ["musl-gcc", "-idirafter", "/usr/include", "-idirafter", f"/usr/include/{machine}-linux-gnu"]
    sources = sorted(map(str, (NATIVE / "stage").glob("*.c")))
    subprocess.run([*compiler, "-std=c11", "-Os", "-static", "-o", str(target), *sources], check=True)
    return target


class Report(NamedTuple):
    """What the stage says."""

    kind: int
    step: int
    err: int
    detail: int
    text: str
    fd: int


class Stage:
    """A stage that runs a plan; leaving the block kills and reaps it."""

    def __init__(
        self,
        plan: Plan | bytes,
        rootfs: Path | str = "/",
        namespaces: int = CLONE_NEWNS,
        inputs: tuple[int, ...] = (),
        *,
        maps: str = "",
        send: bool = True,
        prepare: Callable[[], None] = lambda: None,
        traced: bool = False,
        ahead: int = 0,
    ) -> None:
        self.plan = plan if isinstance(plan, bytes) else plan.encode(len(inputs))
        self.rootfs = rootfs
        self.namespaces = namespaces
        self.inputs = inputs
        self.maps = maps or f"0 {os.geteuid()} 1"
        self.send = send
        self.traced = traced
        self.ahead = ahead                  # namespaces that the stage makes before it receives its plan
        self.prepare = prepare              # runs in the stage's namespaces before its program

    def __enter__(self) -> Self:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(DEADLINE)
        self.pid = self._spawn(theirs.fileno())
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)
        if self.send:
            self.send_plan()
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.status()
        os.close(self.pidfd)

    def _spawn(self, channel: int) -> int:
        program = os.open(stage_binary(), os.O_RDONLY)
        mapped, maps_written = os.pipe()
        pid = _clone(self.namespaces)
        if pid == 0:
            try:
                os.close(maps_written)
                os.read(mapped, 1)
                os.chdir(self.rootfs)
                _libc.syscall(SYS_CLOSE_RANGE, 3, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)
                os.set_inheritable(channel, True)
                self.prepare()
                os.execve(program, ["pyoci-stage", str(channel), "0", str(self.ahead)], {})
            finally:
                os._exit(120)
        if self.namespaces & CLONE_NEWUSER:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{pid}/{name}").write_text(self.maps)
        for fd in (program, mapped, maps_written):
            os.close(fd)
        return pid

    def send_plan(self, *, seals: int | None = None, size: int | None = None, ninputs: int | None = None) -> None:
        """Send the plan and the inputs, 252 of them with the first message; arguments say what to get wrong."""
        memfd = os.memfd_create("plan", os.MFD_ALLOW_SEALING)
        os.write(memfd, self.plan)
        fcntl.fcntl(memfd, F_ADD_SEALS, ALL_SEALS if seals is None else seals)
        count = len(self.inputs) if ninputs is None else ninputs
        fds = [memfd, *self.inputs]
        for start in range(0, len(fds), 253):
            head = struct.pack("=III", 0 if start else size or len(self.plan), count, self.traced)
            socket.send_fds(self.channel, [head], fds[start : start + 253])
        os.close(memfd)

    def status(self) -> int:
        """Wait for the end of the stage: its exit status, or minus the signal."""
        if not hasattr(self, "_status"):
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            assert poll.poll(DEADLINE * 1000), "the stage does not end"
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def report(self) -> Report | None:
        """The next report; None at end of file."""
        data, fds, _, _ = socket.recv_fds(self.channel, 8192, 4)
        if not data:
            return None
        kind, step, err, detail, length = REPORT.unpack_from(data)
        text = data[REPORT.size :]
        assert len(text) == length
        return Report(kind, step, err, detail, text.decode(), fds[0] if fds else -1)

    def go(self) -> None:
        """Let the stage pass a barrier."""
        self.channel.send(b"g")

    def built(self) -> Self:
        """Wait for the barrier of Plan.pause: all steps before have worked."""
        report = self.report()
        assert report is not None, f"the stage ended with {self.status()}"
        assert report.kind == number("REPORT_BARRIER"), describe(report)
        return self

    def failed(self) -> Report:
        """Wait for the failure of a step, and the end of the stage."""
        report = self.report()
        assert report is not None, f"the stage ended with {self.status()} and without a report"
        assert report.kind == number("REPORT_FAILED"), describe(report)
        assert self.status() == 1
        return report

    @property
    def root(self) -> Path:
        """The stage's root directory as the host sees it (after pivot: the container's root)."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def cwd(self) -> Path:
        """The stage's working directory: the container's root between root and pivot."""
        return Path(f"/proc/{self.pid}/cwd")

    def mounts(self) -> "list[Mount]":
        """The mounts of the stage's namespace that its root reaches, in the order of mounting."""
        return [Mount.parse(line) for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()]

    def mount(self, point: str) -> "Mount":
        """The topmost mount on a path."""
        found = [mount for mount in self.mounts() if mount.point == point]
        assert found, f"nothing is mounted on {point}"
        return found[-1]


class Mount(NamedTuple):
    """A line of mountinfo."""

    id: int
    parent: int
    root: str
    point: str
    options: set[str]
    tags: set[str]
    type: str
    source: str
    data: set[str]

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line (proc_pid_mountinfo(5))."""
        left, _, right = line.partition(" - ")
        mount, parent, _, root, point, options, *tags = left.split(" ")
        kind, source, data = right.split(" ")
        point = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), point)
        kinds = {tag.partition(":")[0] for tag in tags}
        attributes = set(options.split(","))
        return cls(int(mount), int(parent), root, point, attributes, kinds, kind, source, set(data.split(",")))


def bind(source: Path | str, target: Path | str) -> None:
    """In Stage's prepare: another view of the host, with source on target."""
    for old, new, flags in (("", "/", MS_REC | MS_PRIVATE), (str(source), str(target), MS_BIND)):
        if _libc.mount(old.encode(), new.encode(), None, ctypes.c_ulong(flags), None) < 0:
            raise OSError(ctypes.get_errno(), "mount")


def detached(path: Path) -> int:
    """A detached clone of what is mounted at a path (open_tree(2)), as the host side hands it to the stage."""
    fd = int(_libc.syscall(SYS_OPEN_TREE, -100, os.fsencode(path), 1 | os.O_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "open_tree")
    return fd


def _clone(namespaces: int) -> int:
    """fork(2) into new namespaces (clone3 with the flags and SIGCHLD). The caller must have one thread only."""
    assert threading.active_count() == 1
    arguments = (ctypes.c_uint64 * 8)(namespaces, 0, 0, 0, signal.SIGCHLD)
    pid = int(_libc.syscall(SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    return pid


def describe(report: Report) -> str:
    """A report in words, for messages."""
    detail = [name for name, value in NUMBERS.items() if name.startswith("DETAIL_") and value == report.detail]
    name = errno.errorcode.get(report.err, str(report.err))
    return f"kind {report.kind}, step {report.step}: {name} {detail} {report.text!r}"
