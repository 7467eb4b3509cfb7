"""The only importer of the extension (but for the JSON reader, which sits on the same hot path).

It starts the stage, turns its numbers into exceptions, and wraps the few kernel calls that ``posix`` lacks.
"""

import posix
import select
from errno import errorcode

from pyoci._native import ffi as ffi
from pyoci._native import lib as lib
from pyoci.errors import Error, HookError, KernelError, errno_text
from pyoci.log import info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ECHILD = 10
EINTR = 4
EBADMSG = 74
ENOENT = 2
ENOEXEC = 8
ETIMEDOUT = 110
SIGKILL = 9
END_SECONDS = 10
RESOLVE_IN_ROOT = 0x10  # openat2(2)


def check(result: int, what: str, origin: str = "") -> int:
    """Give *result*, or raise KernelError when it is a negative errno."""
    if result < 0:
        raise KernelError(what, -result, origin)
    return result


class Report:
    """What the stage says; see enum report_kind in native/plan.h."""

    def __init__(self, record: "Any", text: bytes, fd: int) -> None:
        """Take the numbers out of the record."""
        self.kind: int = record.kind
        self.step: int = record.step
        self.err: int = record.err
        self.detail: int = record.detail
        self.text = text.decode("utf-8", "replace")
        self.fd = fd


class Stage:
    """A stage that was started: its pid and pidfd, and the channel to it."""

    def __init__(self, pid: int, pidfd: int, channel: int) -> None:
        """Take over both descriptors."""
        self.pid = pid
        self.pidfd = pidfd
        self.channel = channel
        self.status: int | None = None

    @classmethod
    def spawn(cls, clone_flags: int, cgroup: "int | None", preserve: int, ahead: int = 0) -> "Stage":
        """Start the sealed stage in new namespaces (CLONE_NEW* flags), inside the v2 cgroup if one is given.

        The namespaces of *ahead* it makes itself, at once; its plan has an OP_UNSHARE with just these flags.

        Raises:
            KernelError: clone3(2) or execveat(2) failed, or it was killed before it ran (ECHILD).
        """
        pidfd, channel = ffi.new("int *"), ffi.new("int *")
        pid = lib.pyoci_spawn(
            clone_flags, ahead, -1 if cgroup is None else cgroup, preserve, pidfd, channel
        )
        if pid == -EBADMSG:
            raise Error("the executable is damaged: the stage in it is not the one that was built")
        if pid == -ENOEXEC:
            raise Error("vm.memfd_noexec is 2 here, so that pyoci cannot start its stage without CAP_SYS_ADMIN")
        check(pid, "starting the stage in its namespaces")
        return cls(pid, pidfd[0], channel[0])

    def send(self, plan: bytes, inputs: "list[int]", *, traced: bool = False) -> None:
        """Hand over the encoded plan and the descriptors of its inputs, which stay open here.

        A traced stage reports each step; see pyoci.host.conversation.
        """
        memfd = check(lib.pyoci_memfd(b"pyoci-plan", plan, len(plan), 1), "making the plan's memfd")
        try:
            result = lib.pyoci_send_plan(
                self.channel, memfd, len(plan), ffi.new("int[]", inputs), len(inputs), traced
            )
        finally:
            posix.close(memfd)
        check(result, "sending the plan to the stage")

    def receive(self) -> Report | None:
        """Wait for the next report; None at end of file."""
        return receive(self.channel)

    def go(self) -> None:
        """Let the stage go on from a barrier."""
        check(lib.pyoci_go(self.channel), "answering the stage")

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
            lib.pyoci_pidfd_send_signal(self.pidfd, SIGKILL)
            if not has_ended(self.pidfd, END_SECONDS * 1000):
                raise Error(f"process {self.pid} did not end within {END_SECONDS} s of SIGKILL")
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

    def go_on_with(self, pid: int, pidfd: int) -> "Stage":
        """Be the successor that a stage has left behind; gives the process from before, which has no channel."""
        before = Stage(self.pid, self.pidfd, -1)
        self.pid, self.pidfd, self.status = pid, pidfd, None
        return before

    def close(self) -> None:
        """Let go of the descriptors; a stage that has not passed its last barrier ends by this."""
        for fd in (self.channel, self.pidfd):
            if fd >= 0:
                posix.close(fd)
        self.channel = self.pidfd = -1


def reap(pidfd: int) -> int:
    """Wait for a child by pidfd; its exit status, or minus the signal that killed it.

    Raises:
        Error: the program that uses pyoci lets the kernel, or a thread of its own, collect its children.
    """
    try:
        info = posix.waitid(posix.P_PIDFD, pidfd, posix.WEXITED)
    except ChildProcessError:
        raise Error("how a process ended is lost: SIGCHLD is ignored, or all children are waited for") from None
    assert info is not None
    return info.si_status if info.si_code == posix.CLD_EXITED else -info.si_status


def has_ended(pidfd: int, milliseconds: int) -> bool:
    """Return whether a process has ended, or does within that time."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(milliseconds))


def memfd(name: str) -> int:
    """Make an empty memfd that can still be written."""
    return check(lib.pyoci_memfd(cstring(name), b"", 0, 0), "making a memfd")


def run_steps(block: bytes, count: int) -> tuple[list[int], int, int]:
    """Run an encoded plan of *count* slots in this process.

    Return the descriptors of its slots (-1 where empty), the index of the step that failed, and its errno, 0 for none.
    """
    slots = ffi.new("int[]", [-1] * count)
    failed, detail = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    result = lib.pyoci_run_steps(block, len(block), slots, count, failed, detail)
    return list(slots), failed[0], -result if result < 0 else 0


def receive(channel: int) -> Report | None:
    """Wait for one report on a stage's channel or status FIFO; None at end of file."""
    record, fd = ffi.new("struct report *"), ffi.new("int *", -1)
    text = ffi.new("char[]", lib.REPORT_MAX_TEXT)
    result = -EINTR
    while result == -EINTR:  # back here a signal becomes its exception
        result = lib.pyoci_receive(channel, record, text, lib.REPORT_MAX_TEXT, fd)
    if not check(result, "hearing from the stage"):
        return None
    return Report(record, bytes(ffi.buffer(text, record.length)), fd[0])


def read_report(fifo: int) -> Report | None:
    """Read one report from a status FIFO, or None at end of file; a report is one atomic write of the stage."""
    size = ffi.sizeof("struct report")
    head = posix.read(fifo, size)
    if not head:
        return None
    record = ffi.new("struct report *")
    ffi.memmove(record, head, size)
    return Report(record, posix.read(fifo, record.length) if record.length else b"", -1)


DETAILS = {
    "DETAIL_PLAN": "the plan is malformed",
    "DETAIL_TARGET": "the target in the root file system cannot be reached or made",
    "DETAIL_NOT_DIRECTORY": "the target must be a real directory of the root file system, not a link",
    "DETAIL_SOURCE": "the source cannot be opened",
    "DETAIL_OPTION": "the file system refused an option",
    "DETAIL_CREATE": "the file system could not be made",
    "DETAIL_ATTACH": "the mount could not be attached",
    "DETAIL_ATTRIBUTES": "the mount's attributes could not be set",
    "DETAIL_DIFFERENT_DEVICE": "a different file is already there",
    "DETAIL_PROCFS": "no trustworthy procfs can be had",
    "DETAIL_READ_BACK": "the value reads back differently",
    "DETAIL_ESCAPED": "the directory lies outside the root file system",
}


def failure(report: Report, step: "tuple[str, str, str, dict[str, str]]") -> Error:
    """Turn a REPORT_FAILED into the exception that explains it.

    step is the failed step as ``(op, what, origin, hints)``, hints keyed by errno as text.
    """
    op, what, origin, hints = step
    if op == "hook":
        return _hook_failure(report, what, origin)
    if op in ("resolve_exec", "exec"):
        return Error(_exec_failure(report, what), origin, _why_not_run(report, what))
    hint = hints.get(str(report.err), "")
    for name, text in DETAILS.items():
        if report.detail == getattr(lib, name):
            hint = f"{text}{f': {hint}' if hint else ''}"
    if report.text:
        hint = f"{hint}: {one_line(report.text)}" if hint else one_line(report.text)
    return KernelError(what, report.err, origin, hint)


def _exec_failure(report: Report, name: str) -> str:
    """Use the words that Podman and Docker look for (exit status 126 or 127)."""
    if report.detail == lib.DETAIL_NOT_FOUND and "/" not in name:
        return f'exec: "{name}": executable file not found in $PATH: {errno_text(report.err)}'
    words = posix.strerror(report.err).lower()
    return f'exec: "{name}": {words} ({errorcode.get(report.err, report.err)})'


REASONS = {
    "directory": "it is a directory",
    "special": "it is not a regular file",
    "dangling": "it is a symbolic link to a file that does not exist",
    "mode": "the file has no execute permission for anybody",
    "user": "the file's mode does not let this user execute it",
    "noexec": "its file system is mounted noexec",
    "empty": "the file is empty",
    "format": "the file is neither a script that begins with #! nor an ELF program",
    "carriage": "its first line, #!{}, ends with a carriage return, as files written on Windows do",
    "interpreter": "its first line names the interpreter {}, which cannot be found in the container",
    "script": "it is run by {}, which could not be started",
    "loader": "it needs the dynamic loader {}, which cannot be found in the container",
}
# e_machine of elf(5), and how the architectures of images are called.
MACHINES = {3: "386", 8: "mips", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}


def _why_not_run(report: Report, name: str) -> str:
    """Say what the stage has found in the file, or what is odd about its name; "" when that is nothing."""
    word, _, about = report.text.partition(" ")
    if word == "machine" and about.isdecimal():
        machine = MACHINES.get(int(about), f"machine {int(about)}")
        return f"it is a program for another architecture, {machine}, or damaged"
    if word in REASONS:
        return REASONS[word].replace("{}", one_line(about))
    if not name:
        return "the name of the program is empty"
    if " " in name.strip() and report.err == ENOENT:
        return "the name has spaces in it: each argument is a string of its own"
    return ""


def _hook_failure(report: Report, what: str, origin: str) -> HookError:
    """Say how a hook ended and what it printed last."""
    if report.err == ETIMEDOUT:
        how = "ran out of time and was killed"
    elif report.err == ECHILD:
        status = report.detail
        code = posix.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
    else:
        how = errno_text(report.err)
    return HookError(f"{what} {how}", origin, printed(report.text))


def printed(text: str) -> str:
    """Say what a program printed, in one line; "" when it was nothing."""
    line = one_line(text)
    return f"it printed: {line}" if line else ""


def one_line(text: str) -> str:
    """Fold a text into one line that a terminal can show."""
    return " | ".join(
        "".join(c if c.isprintable() else " " for c in line).strip() for line in text.strip().splitlines()
    )


def cstring(text: str) -> bytes:
    """Return a text as the kernel takes it, without its NUL."""
    return text.encode("utf-8", "surrogateescape")
