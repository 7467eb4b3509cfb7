"""The host side of the conversation with a stage; native/stage/stage.h has a picture of both sides."""

import errno
import os
import signal
from collections.abc import Callable, Sequence

from pyoci import native
from pyoci import operations as ops
from pyoci.config.readers import did_you_mean
from pyoci.config.source import Source, warn
from pyoci.config.tables import CAPABILITIES, MOUNT_OPTIONS
from pyoci.errors import Error, KernelError
from pyoci.log import debug, info, log, warning
from pyoci.process import has_ended, pid_of
from pyoci.programs import printed
from pyoci.signals import Signals
from pyoci.stage.encode import encode
from pyoci.stage.failure import failure
from pyoci.stage.procfile import write_file
from pyoci.stage.protocol import Report, StageProcess
from pyoci.steps import Plan, Step, Write
from pyoci.undo import Undo

lib = native.lib
FILE_SYSTEMS = (
    *("tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay", "ramfs", "bpf", "hugetlbfs"),
    *("securityfs", "debugfs", "tracefs", "configfs", "fuse", "ext4", "xfs", "btrfs", "nfs", "squashfs", "erofs"),
)
FILE_SYSTEM_OPTIONS = (
    *MOUNT_OPTIONS,
    *("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "huge", "mpol", "newinstance", "ptmxmode", "max"),
    *("hidepid", "subset", "lowerdir", "upperdir", "workdir", "context"),
)
ENDING_MILLISECONDS = 1000
# Steps that errors name by the program alone, whose name can be empty.
PROGRAMS = (ops.ResolveExec, ops.Exec)
# What a program's file is the reason for, not a filter.
MISSING = (errno.ENOENT, errno.EACCES, errno.ENOEXEC)
# What the host side sees first of a stage that is just ending.
ENDING = (errno.EPIPE, errno.ECONNRESET, errno.ESRCH)


def ignore(*_: object) -> None:
    """Do nothing with what the stage says."""


def step_words(plan: Plan | None, index: int) -> tuple[str, str, str, dict[str, str]]:
    """Return what failure() needs to explain a step: operation, words, JSON pointer, hints."""
    if plan is None or index >= len(plan.steps):
        return "", "handing the plan to the stage", "", {}
    step = plan.steps[index]
    return (
        step.operation.NAME,
        step.subject if isinstance(step.operation, PROGRAMS) else step.subject or step.what,
        step.origin,
        {str(number): hint for number, hint in step.hints.items()},
    )


def tell_step(report: Report, words: tuple[str, str, str, dict[str, str]]) -> None:
    """Log what a traced stage has done, and how long it took; words are the step's, as of step_words."""
    op, what, origin, _ = words
    output = printed(report.text) if op == ops.Hook.NAME else ""
    what = f"looking for the program {what}" if op == ops.ResolveExec.NAME else what
    place = f" [{origin}]" if origin else ""
    debug(f"step {report.step}: {what}{place}: {report.detail / 1000:.3f} ms{output and f'; {output}'}")


def has(steps: Sequence[Step], kind: type[ops.Operation]) -> bool:
    """Return whether an operation is among steps."""
    return any(isinstance(step.operation, kind) for step in steps)


def suggestion(report: Report, step: Step) -> str:
    """Return what was meant by a file system, or an option of one, that the kernel does not know."""
    if not isinstance(step.operation, ops.Fsmount):
        return ""
    word, words = "", FILE_SYSTEM_OPTIONS
    if report.detail == lib.DETAIL_OPTION:
        word = report.text.partition(":")[0].partition("=")[0]
    elif report.err == errno.ENODEV:
        word, words = step.operation.type, FILE_SYSTEMS
    return "" if word in words else did_you_mean(word, words)


class Stage(StageProcess):
    """A stage that carries out a plan, from its start to its last barrier.

    console is the master of the terminal once it was made (the caller takes it over by setting it to -1).
    on_child is called with each new pid that carries the container on; on_listener with the number of the
    seccomp listener in the stage; lacked_memory returns the words and the setting when something in its cgroup was
    killed for lack of memory.
    """

    def __init__(self, process: tuple[int, int, int], signals: Signals, who: str, source: Source) -> None:
        """Take over what spawn() has returned: close() or kill() lets go of it.

        *who* is what the stage becomes, as errors name it; *source* is where the settings of its plan come from.
        """
        super().__init__(*process)
        self.signals = signals
        self.who = who
        self.source = source
        self.plan: Plan | None = None
        self.console = -1
        self.helpers: list[StageProcess] = []
        self.explained = False
        self.on_child: Callable[[int], None] = ignore
        self.on_listener: Callable[[int], None] = ignore
        self.lacked_memory: Callable[[], tuple[str, str]] = lambda: ("", "")

    def send(self, plan: Plan, inputs: list[int]) -> None:
        """Write for the stage what the plan says, then hand over the plan and the descriptors of its inputs."""
        self.plan = plan
        for wanted in plan.writes:
            self._write(wanted)
        self.send_block(encode(plan), inputs, traced=log.wants("debug"))

    def _write(self, wanted: Write) -> None:
        try:
            write_file(self.pid, wanted)
        except KernelError as error:
            if wanted.required or error.number != errno.EACCES:
                raise
            warn(error, self.source)

    def barrier(self) -> int | None:
        """Listen until the stage waits at a barrier; None when it runs the program instead.

        Raises:
            Error: a step failed, or the stage died.
            Interrupted: a signal has arrived meanwhile.
        """
        while report := self._listen():
            if report.kind == lib.REPORT_FAILED:
                raise self._failure(report)
            if report.kind == lib.REPORT_BARRIER:
                self._end_helper(report.step)
                return report.detail
            if report.kind == lib.REPORT_FD:
                self.console = report.fd
            elif report.kind == lib.REPORT_CHILD:
                self._follow(report)
            elif report.kind == lib.REPORT_LISTENER:
                self.on_listener(report.detail)
                self.resume()
            elif report.kind == lib.REPORT_STEP:
                tell_step(report, step_words(self.plan, report.step))
            elif report.kind == lib.REPORT_WARNING:
                self._warn(report)
        return None

    def _failure(self, report: Report) -> Error:
        """Explain a step that failed."""
        self.explained = True
        explained = failure(report, step_words(self.plan, report.step))
        if self.plan is not None and report.step < len(self.plan.steps):
            explained.more += suggestion(report, self.plan.steps[report.step])
            filtered = has(self.plan.steps[: report.step], ops.Seccomp)
            if filtered and report.err not in MISSING:
                explained.more += f"{'; ' if explained.more else ''}the seccomp filter is in force by then"
        return explained

    def _warn(self, report: Report) -> None:
        """Note the capabilities that cannot be granted, which is no error (config.md#linux-process).

        Builders of images ask for ambient ones that are not inheritable, each time: the program gets what the other
        sets say, so that is no warning.
        """
        _, what, origin, _ = step_words(self.plan, report.step)
        missing = int(report.text, 16)
        names = [name for name, number in CAPABILITIES.items() if missing >> number & 1]
        note = info if report.detail == lib.DETAIL_AMBIENT else warning
        warn(Error(f"{what}: {', '.join(names)} cannot be granted", origin), self.source, note)

    def expect(self, barrier: int) -> None:
        """Listen until the stage waits at this barrier.

        Raises:
            Error: as barrier(), or the stage died on the way.
        """
        if self.barrier() != barrier:
            raise self.post_mortem()

    def _listen(self) -> Report | None:
        """Wait for the next report, for the stage's end and for our own signals at once; None at the end.

        Somebody else may hold the channel open when the stage has gone, so its end of file is not waited for.
        """
        ready = self.signals.wait((self.channel, self.pidfd))
        if self.channel in ready or self.channel in self.signals.wait((self.channel,), 0):
            return self.receive()
        return None

    def _follow(self, report: Report) -> None:
        """Go on with the child that the stage has left behind as its successor; the old process ends, or helps it."""
        before = StageProcess(self.pid, self.pidfd, -1)
        self.pid, self.pidfd, self.status = pid_of(report.fd), report.fd, None
        self.helpers.append(before)
        fork = self.plan.steps[report.step].operation if self.plan is not None else None
        if not (isinstance(fork, ops.Fork) and fork.helper):
            self._wait_for(before)
        self.on_child(self.pid)

    def _end_helper(self, index: int) -> None:
        """Wait for the end of what has helped, if the plan has given it up before that step."""
        if self.plan is not None and has(self.plan.steps[:index], ops.HelperEnd):
            for helper in [*self.helpers]:
                self._wait_for(helper)

    def _wait_for(self, helper: StageProcess) -> None:
        self.signals.wait((helper.pidfd,))
        helper.reap()
        helper.close()
        self.helpers.remove(helper)

    def explain(self, error: Error | OSError) -> Error | None:
        """Return what an error comes from, when that is the end of the stage: in its own words if it has left some."""
        number = error.number if isinstance(error, KernelError) else error.errno if isinstance(error, OSError) else 0
        moment = ENDING_MILLISECONDS if number in ENDING else 0
        if self.explained or not number or self.pidfd < 0 or not has_ended(self.pidfd, moment):
            return None
        try:
            while report := self._listen():
                if report.kind == lib.REPORT_FAILED:
                    return self._failure(report)
                if report.fd >= 0:
                    os.close(report.fd)
        except Error:
            return None
        return self.post_mortem()

    def post_mortem(self) -> Error:
        """Say how a stage ended that did not explain itself; it has a moment for it."""
        if not has_ended(self.pidfd, ENDING_MILLISECONDS):
            return Error(f"{self.who} did not follow its plan")
        status = self.reap()
        if status >= 0:
            return Error(f"{self.who} ended with status {status} before it ran its program")
        words, origin = self.lacked_memory() if status == -signal.SIGKILL else ("", "")
        names = {int(number): number.name for number in signal.Signals}
        name = names.get(-status, f"signal {-status}")
        if status == -signal.SIGSYS and self.plan and has(self.plan.steps, ops.Seccomp):
            words, origin = f"by its seccomp filter ({name})", "/linux/seccomp"
        return Error(f"{self.who} was killed {words or f'by {name}'}", origin)

    def kill(self) -> None:
        """End the stage and its helpers, and let go of them.

        Raises:
            Error: one of them did not end.
        """
        undo = Undo()
        for helper in self.helpers:
            if helper.pidfd >= 0:
                undo.attempt("ending the stage", helper.kill)
        if self.pidfd >= 0:
            undo.attempt("ending the stage", super().kill)
        self.close()
        undo.finish()

    def close(self) -> None:
        """Close the descriptors of the stage, which goes on, and of its terminal; drop the callbacks."""
        self.on_child = self.on_listener = ignore
        self.lacked_memory = lambda: ("", "")
        if self.console >= 0:
            os.close(self.console)
            self.console = -1
        for helper in self.helpers:
            helper.close()
        super().close()
