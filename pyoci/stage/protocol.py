"""The stage process and what goes over its channel; native/stage/stage.h has a picture of both sides."""

import os
from errno import EINTR, ENOEXEC
from typing import Any

from pyoci.errors import Error, errno_text
from pyoci.log import info
from pyoci.native import check, ffi, lib
from pyoci.process import end, reap


class Report:
    """What the stage says; see enum report_kind in native/plan.h."""

    def __init__(self, record: Any, text: bytes, fd: int) -> None:
        """Take the numbers out of the record."""
        self.kind: int = record.kind
        self.step: int = record.step
        self.err: int = record.err
        self.detail: int = record.detail
        self.text = text.decode("utf-8", "replace")
        self.fd = fd


def spawn(clone_flags: int, cgroup: int | None, preserve: int, ahead: int = 0) -> tuple[int, int, int]:
    """Start the sealed stage in new namespaces (CLONE_NEW* flags), inside the v2 cgroup if one is given.

    The namespaces of *ahead* it makes itself, at once; its plan has an Unshare with just these flags.  Return its pid,
    its pidfd and the channel to it.

    Raises:
        KernelError: clone3(2) or execveat(2) failed, or it was killed before it ran (ECHILD).
    """
    pidfd, channel = ffi.new("int *"), ffi.new("int *")
    pid = lib.pyoci_spawn(clone_flags, ahead, -1 if cgroup is None else cgroup, preserve, pidfd, channel)
    if pid == -ENOEXEC:
        raise Error("vm.memfd_noexec is 2 here, so that pyoci cannot start its stage without CAP_SYS_ADMIN")
    check(pid, "starting the stage in its namespaces")
    return pid, pidfd[0], channel[0]


class StageProcess:
    """The process of a stage: its pid and pidfd, and the channel to it."""

    def __init__(self, pid: int, pidfd: int, channel: int) -> None:
        """Take over both descriptors."""
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel
        self.status: int | None = None

    def send_block(self, plan: bytes, inputs: list[int], *, traced: bool = False) -> None:
        """Hand over the encoded plan and the descriptors of its inputs, which stay open here.

        A traced stage reports each step; see pyoci.stage.conversation.
        """
        memfd = check(lib.pyoci_memfd(b"pyoci-plan", plan, len(plan), 1), "making the plan's memfd")
        try:
            result = lib.pyoci_send_plan(
                self.channel, memfd, len(plan), ffi.new("int[]", inputs), len(inputs), traced
            )
        finally:
            os.close(memfd)
        check(result, "sending the plan to the stage")

    def receive(self) -> Report | None:
        """Wait for the next report on the channel; return None at end of file."""
        record, fd = ffi.new("struct report *"), ffi.new("int *", -1)
        text = ffi.new("char[]", lib.REPORT_MAX_TEXT)
        result = -EINTR
        while result == -EINTR:  # back here a signal becomes its exception
            result = lib.pyoci_receive(self.channel, record, text, lib.REPORT_MAX_TEXT, fd)
        if not check(result, "hearing from the stage"):
            return None
        return Report(record, bytes(ffi.buffer(text, record.length)), fd[0])

    def resume(self) -> None:
        """Let the stage continue behind a barrier."""
        check(lib.pyoci_resume(self.channel), "answering the stage")

    def use_every_cpu(self) -> None:
        """Take from the process the CPU affinity that pyoci's caller has: it may run wherever its cpuset lets it."""
        result = lib.pyoci_every_cpu(self.pid)
        if result < 0:
            info(f"the CPU affinity of process {self.pid} stays that of the caller: {errno_text(-result)}")

    def kill(self) -> None:
        """End the process, wait until it has gone, and let go.

        Raises:
            Error: it did not end within 10 seconds.
        """
        try:
            end(self.pidfd, self.pid)
            self.reap()
        finally:
            self.close()

    def reap(self) -> int:
        """Wait for the end of the process; its exit status (0 if it was lost), or minus the signal that killed it."""
        if self.status is None:
            try:
                self.status = reap(self.pidfd)
            except Error:
                self.status = 0
        return self.status

    def close(self) -> None:
        """Close the descriptors; a stage that has not passed its last barrier ends by this."""
        for fd in (self.channel, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.channel = self.pidfd = -1


def read_report(fifo: int) -> Report | None:
    """Read one report from a status FIFO, or None at end of file; a report is one atomic write of the stage."""
    size = ffi.sizeof("struct report")
    head = os.read(fifo, size)
    if not head:
        return None
    record = ffi.new("struct report *")
    ffi.memmove(record, head, size)
    return Report(record, os.read(fifo, record.length) if record.length else b"", -1)
