"""Barriers, the gate, hooks and the user's program; runtime.md#lifecycle, config.md#posix-platform-hooks."""

import contextlib
import os
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers_runtime import wait_until

from .encoder import NUMBERS, Plan, number
from .harness import CLONE_NEWNS, CLONE_NEWPID, REPORT, Stage
from .observe import is_alive, opened, read_all, stdio, wait_readable

ENOENT, EACCES, ECHILD, ETIMEDOUT = 2, 13, 10, 110
TEXT = number("REPORT_MAX_TEXT")


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe; the end to write to may be closed in the block."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for fd in ends:
            with contextlib.suppress(OSError):
                os.close(fd)


def run(plan: Plan, *inputs: int, namespaces: int = CLONE_NEWNS) -> tuple[int, str]:
    """Run a plan that ends with the user's program; its exit status and what it printed."""
    with pipe() as (output, theirs):
        with stdio(stdout=theirs, stderr=theirs), Stage(plan, inputs=inputs, namespaces=namespaces) as stage:
            os.close(theirs)
            code = stage.status()
        return code, read_all(output)


def shell(script: str, *env: str) -> Plan:
    """A plan that runs a script."""
    plan = Plan().step("resolve_exec", candidates=["/bin/sh"])
    return plan.step("exec", args=["sh", "-c", script], environment=list(env))


# ---- barriers ----


def test_end_of_file_after_ready_means_the_program_runs() -> None:
    plan = Plan().step("barrier", point=number("BARRIER_READY"), outlive=True).step("resolve_exec", candidates=["/bin/sleep"])
    plan.step("exec", args=["sleep", "1000"], environment=[])
    with Stage(plan) as stage:
        stage.built()
        stage.go()
        assert stage.report() is None
        assert Path(f"/proc/{stage.pid}/comm").read_text() == "sleep\n"


def test_a_stage_without_parent_ends_at_its_barrier() -> None:
    with Stage(Plan().pause()) as stage:
        stage.built()
        stage.channel.close()
        assert stage.status() == 1


@contextlib.contextmanager
def orphan(plan: Plan, barriers: int) -> Iterator[int]:
    """A stage, its pidfd, whose parent has answered these barriers and is dead; behind the last the stage waits at a gate."""
    with pipe() as (gate, opener), pipe() as (pids, reporter):
        parent = os.fork()
        if parent == 0:
            stage = Stage(plan.step("gate", opener=0, reports=0), inputs=(gate,)).__enter__()
            for number_ in range(barriers):
                stage.built()
                if number_ == 0:
                    os.write(reporter, struct.pack("i", stage.pid))
                    os.read(gate, 1)            # the test has the pidfd
                stage.go()
            os.kill(os.getpid(), signal.SIGKILL)
        pidfd = os.pidfd_open(struct.unpack("i", os.read(pids, 4))[0])
        os.write(opener, b"g")
        os.waitpid(parent, 0)
        yield pidfd
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_readable(pidfd)
        os.close(pidfd)


def test_a_stage_that_outlives_its_parent_may_lose_it_at_once() -> None:
    """The parent says go and is gone: PR_SET_PDEATHSIG must not be in force by then."""
    for _ in range(20):
        with orphan(Plan().step("barrier", outlive=True, hang_up=True), 1) as pidfd:
            assert not wait_ended(pidfd, 0.02)


def test_a_stage_that_is_not_told_to_outlive_its_parent_dies_with_it() -> None:
    with orphan(Plan().step("barrier", hang_up=True), 1) as pidfd:
        wait_readable(pidfd)


def test_a_change_of_user_does_not_tie_the_stage_to_its_parent_again() -> None:
    plan = Plan().step("barrier", outlive=True).step("ids", uid=1000, gid=1000).step("barrier", hang_up=True)
    with orphan(plan, 2) as pidfd:
        assert not wait_ended(pidfd, 0.1)


@pytest.mark.parametrize("hang_up", [False, True])
def test_a_barrier_closes_the_channel_when_it_is_told_to(hang_up: bool) -> None:
    with pipe() as (fifo, opener), Stage(Plan().step("barrier", hang_up=hang_up).step("gate", opener=0, reports=0), inputs=(fifo,)) as stage:
        stage.built()
        stage.go()
        if hang_up:
            assert stage.report() is None
        else:
            wait_for_read(stage.pid)
            assert any("socket:" in os.readlink(fd) for fd in Path(f"/proc/{stage.pid}/fd").iterdir())
        os.write(opener, b"s")
        assert stage.status() == 0


def wait_ended(pidfd: int, seconds: float) -> bool:
    """Whether a process ends within a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not is_alive(pidfd):
            return True
        time.sleep(0.002)
    return False


# ---- the gate ----


class Gate:
    """A stage that waits for start, with both FIFOs."""

    def __init__(self, directory: Path, plan: Plan, *args: str, report: bool = True, namespaces: int = CLONE_NEWNS) -> None:
        for name in ("gate", "status"):
            os.mkfifo(directory / name)
        self.gate = os.open(directory / "gate", os.O_RDWR)
        self.status = os.open(directory / "status", os.O_RDWR)
        self.reports = os.open(directory / "status", os.O_RDONLY)
        plan.step("barrier", point=number("BARRIER_READY"), outlive=True, hang_up=True).step("gate", opener=0, reports=1)
        plan.step("exec", args=list(args), report=report)
        self.stage = Stage(plan, inputs=(self.gate, self.status), namespaces=namespaces)

    def __enter__(self) -> "Gate":
        self.stage.__enter__().built()
        self.stage.go()
        assert self.stage.report() is None          # it has closed the channel
        os.close(self.status)
        return self

    def __exit__(self, *_: object) -> None:
        self.stage.__exit__()
        os.close(self.gate)
        os.close(self.reports)

    def start(self) -> None:
        """Open the gate."""
        os.write(self.gate, b"s")

    def report(self) -> tuple[int, int, int] | None:
        """The next report on the FIFO: kind, step, errno; None at end of file."""
        wait_readable(self.reports)
        data = os.read(self.reports, REPORT.size)
        if not data:
            return None
        kind, step, err, _, length = REPORT.unpack(data)
        assert length == 0
        return kind, step, err


SLEEP = ("sleep", "1000")


def sleeper() -> Plan:
    return Plan().step("resolve_exec", candidates=["/bin/sleep"])


def test_gate_opens_and_the_end_of_the_fifo_means_success(tmp_path: Path) -> None:
    with Gate(tmp_path, sleeper(), *SLEEP) as gate:
        assert Path(f"/proc/{gate.stage.pid}/comm").read_text() != "sleep\n"
        gate.start()
        assert gate.report() == (NUMBERS["REPORT_EXECUTING"], 3, 0)
        assert gate.report() is None
        assert Path(f"/proc/{gate.stage.pid}/comm").read_text() == "sleep\n"


def test_without_a_report_the_end_of_the_fifo_alone_says_so(tmp_path: Path) -> None:
    with Gate(tmp_path, sleeper(), *SLEEP, report=False) as gate:
        gate.start()
        assert gate.report() is None
        assert Path(f"/proc/{gate.stage.pid}/comm").read_text() == "sleep\n"


@pytest.mark.parametrize("number_", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_the_waiting_stage_even_as_process_1(tmp_path: Path, number_: signal.Signals) -> None:
    with Gate(tmp_path, sleeper(), *SLEEP, namespaces=CLONE_NEWNS | CLONE_NEWPID) as gate:
        wait_for_read(gate.stage.pid)
        signal.pidfd_send_signal(gate.stage.pidfd, number_)
        assert gate.stage.status() == 128 + number_


def wait_for_read(pid: int) -> None:
    """Wait until a process sleeps in read(2)."""
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}/syscall").read_text().split()[0] != "0":
        assert time.monotonic() < end
        time.sleep(0.001)


def test_signals_have_their_default_again_in_the_program(tmp_path: Path) -> None:
    with Gate(tmp_path, sleeper(), *SLEEP) as gate:
        gate.start()
        while gate.report() is not None:
            pass
        caught = [line for line in Path(f"/proc/{gate.stage.pid}/status").read_text().splitlines() if line[:3] == "Sig"]
        values = {line.split()[0]: int(line.split()[1].partition("/")[0], 16) for line in caught}
        assert values["SigCgt:"] == values["SigIgn:"] == values["SigBlk:"] == 0


def test_a_program_that_has_gone_is_reported_to_start(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    before = Plan().step("resolve_exec", candidates=[str(program)])
    with Gate(tmp_path, before, "program") as gate:
        program.unlink()
        gate.start()
        assert gate.report() == (NUMBERS["REPORT_EXECUTING"], 3, 0)
        assert gate.report() == (NUMBERS["REPORT_FAILED"], 3, ENOENT)
        assert gate.report() is None
        assert gate.stage.status() == 1


# ---- finding and running the program ----


def test_program_gets_its_arguments_and_environment_and_nothing_else() -> None:
    plan = Plan().step("resolve_exec", candidates=["/usr/bin/env"]).step("exec", args=["env"], environment=["A=1", "A=2", "B=", "odd"])
    assert run(plan) == (0, "A=1\nA=2\nB=\nodd\n")
    assert run(shell("echo $0 $PPID-$#").step("setsid"))[0] == 0


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Candidates of all kinds."""
    for name, mode in (("plain", 0o644), ("good", 0o755), ("private", 0o700)):
        (tmp_path / name).write_text("#!/bin/sh\necho $0\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "directory").mkdir()
    directory = tmp_path
    while directory.stat().st_uid == os.geteuid() and len(directory.parts) > 2:
        directory.chmod(0o755)
        directory = directory.parent
    return tmp_path


def test_the_first_candidate_that_can_be_executed_is_run(files: Path) -> None:
    names = [str(files / name) for name in ("missing", "plain/below", "directory", "plain", "good", "private")]
    plan = Plan().step("resolve_exec", candidates=names).step("exec", args=["x"], environment=[])
    assert run(plan) == (0, f"{files / 'good'}\n")


@pytest.mark.parametrize(
    ("names", "err", "detail"),
    [
        (["missing", "plain/below"], ENOENT, "DETAIL_NOT_FOUND"),
        (["missing", "plain"], EACCES, "DETAIL_NOT_EXECUTABLE"),
        (["directory", "missing"], EACCES, "DETAIL_NOT_EXECUTABLE"),
        ([], ENOENT, "DETAIL_NOT_FOUND"),
    ],
)
def test_without_a_candidate_the_reason_is_told(files: Path, names: list[str], err: int, detail: str) -> None:
    with Stage(Plan().step("resolve_exec", candidates=[str(files / name) for name in names])) as stage:
        report = stage.failed()
        assert (report.err, report.detail) == (err, number(detail))


def test_candidates_are_tried_with_the_users_rights(files: Path) -> None:
    plan = Plan().step("ids", uid=1000, gid=1000).step("capabilities")
    with Stage(plan.step("resolve_exec", candidates=[str(files / "private")])) as stage:
        report = stage.failed()
        assert (report.err, report.detail) == (EACCES, number("DETAIL_NOT_EXECUTABLE"))


# ---- descriptors ----


def fds_of(pid: int) -> list[int]:
    return sorted(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())


def test_nothing_but_the_channel_survives_close() -> None:
    with opened("/etc") as one, opened("/") as two:
        plan = Plan().step("time_namespace").step("close", preserved=0).pause()
        with Stage(plan, inputs=(one, two)) as stage:
            stage.built()
            fds = fds_of(stage.pid)
            assert fds[:3] == [0, 1, 2]
            assert len(fds) == 4
            assert os.readlink(f"/proc/{stage.pid}/fd/{fds[3]}").startswith("socket:")


def test_close_keeps_what_it_is_told_to_keep() -> None:
    with opened("/etc") as one, opened("/") as two, Stage(Plan().step("close", keep=[1]).pause(), inputs=(one, two)) as stage:
        stage.built()
        assert [os.readlink(f"/proc/{stage.pid}/fd/{fd}") for fd in fds_of(stage.pid)[3:] if fd < 100].count("/") == 1
        assert len(fds_of(stage.pid)) == 5


def test_our_own_descriptors_among_the_preserved_numbers_are_closed() -> None:
    plan = Plan().step("close", preserved=30).pause()
    with opened("/etc") as one, opened("/") as two, Stage(plan, inputs=(one, two)) as stage:
        stage.built()
        assert len(fds_of(stage.pid)) == 4


def test_program_cannot_be_named_by_a_descriptor_of_ours() -> None:
    """CVE-2024-21626: execve(2) resolves /proc/self/fd/N/… before N closes on exec."""
    names = [f"/proc/self/fd/{fd}/bin/true" for fd in range(3, 40)]
    with opened("/", os.O_PATH) as root:
        with Stage(Plan().step("close").step("resolve_exec", candidates=names), inputs=(root,)) as stage:
            assert stage.failed().detail in (number("DETAIL_NOT_FOUND"), number("DETAIL_NOT_EXECUTABLE"))
        with Stage(Plan().step("resolve_exec", candidates=names).pause(), inputs=(root,)) as stage:
            stage.built()               # the attack works where nothing is closed: the test tests something


def test_descriptors_that_later_steps_need_survive_close(tmp_path: Path) -> None:
    with Gate(tmp_path, sleeper().step("close", keep=[0, 1]), *SLEEP) as gate:
        gate.start()
        assert gate.report() == (NUMBERS["REPORT_EXECUTING"], 4, 0)
        assert gate.report() is None
        # The dynamic loader of the program has a file open for a moment.
        wait_until(lambda: fds_of(gate.stage.pid) == [0, 1, 2], "nothing is left open")


# ---- hooks ----


@pytest.fixture
def state() -> Iterator[int]:
    """What hooks read."""
    fd = os.memfd_create("state")
    os.write(fd, b'{"id": "x"}')
    yield fd
    os.close(fd)


def hook(plan: Plan, script: str, *env: str, timeout: int = 0) -> Plan:
    """Add a hook that runs a script."""
    return plan.step("hook", state=0, program="/bin/sh", args=["sh", "-c", script], environment=list(env), timeout=timeout)


def test_every_hook_reads_the_state_from_its_start(tmp_path: Path, state: int) -> None:
    plan = hook(hook(Plan(), f"cat >{tmp_path}/1"), f"cat >{tmp_path}/2").pause()
    with Stage(plan, inputs=(state,)) as stage:
        stage.built()
    assert (tmp_path / "1").read_text() == (tmp_path / "2").read_text() == '{"id": "x"}'


def test_hook_has_its_environment_its_session_and_three_descriptors(tmp_path: Path, state: int) -> None:
    script = f"exec >{tmp_path}/out; cat /proc/self/environ | tr '\\0' ' '; echo; ls /proc/$$/fd; cut -d' ' -f1,6 /proc/$$/stat"
    with Stage(hook(Plan(), script, "A=1", "B=2").pause(), inputs=(state,)) as stage:
        stage.built()
    lines = (tmp_path / "out").read_text().splitlines()
    assert {word for word in lines[0].split() if word[:2] in ("A=", "B=")} == {"A=1", "B=2"}
    assert not [word for word in lines[0].split() if word.partition("=")[0] not in ("A", "B", "PWD", "_", "SHLVL", "OLDPWD")]
    fds = [int(line) for line in lines[1:-1]]
    assert [fd for fd in fds if fd < 10] == [0, 1, 2]
    pid, session = lines[-1].split()
    assert pid == session


@pytest.mark.parametrize(("script", "wait_status"), [("exit 3", 3 << 8), ("kill -9 $$", 9)])
def test_failing_hook_tells_how_it_ended_and_what_it_said(state: int, script: str, wait_status: int) -> None:
    with Stage(hook(Plan(), f"echo out; echo err >&2; {script}"), inputs=(state,)) as stage:
        report = stage.failed()
    assert (report.err, report.detail, report.text) == (ECHILD, wait_status, "out\nerr\n")


def test_the_end_of_long_output_is_kept(state: int) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1"
    with Stage(hook(Plan(), script), inputs=(state,)) as stage:
        report = stage.failed()
    assert len(report.text) == TEXT
    assert "".join(f"line {i}\n" for i in range(3000)).endswith(report.text)


def test_hook_out_of_time_is_killed_with_its_group(tmp_path: Path, state: int) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"sleep 1000 >{fifo} & echo started; sleep 1000"
    started = time.monotonic()
    with Stage(hook(Plan(), script, timeout=1), inputs=(state,)) as stage:
        alive = os.open(fifo, os.O_RDONLY)
        report = stage.failed()
    assert (report.err, report.text) == (ETIMEDOUT, "started\n")
    assert 0.9 < time.monotonic() - started < 15
    assert read_all(alive) == ""                # end of file: the background process is gone too
    os.close(alive)


def test_a_background_process_does_not_hold_the_stage_up(tmp_path: Path, state: int) -> None:
    script = f"sleep 1000 & echo $! >{tmp_path}/pid"
    with Stage(hook(Plan(), script).pause(), inputs=(state,)) as stage:
        stage.built()
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGKILL)


def test_hook_that_cannot_be_run(tmp_path: Path, state: int) -> None:
    plan = Plan().step("hook", state=0, program=str(tmp_path / "missing"), args=["missing"], environment=[])
    with Stage(plan, inputs=(state,)) as stage:
        report = stage.failed()
        assert (report.err, report.detail) == (ENOENT, 0)


def test_warnings_of_a_hook_that_works_are_not_told(state: int) -> None:
    plan = hook(Plan(), "echo noise").step("hostname", name="x" * 100)
    with Stage(plan, inputs=(state,)) as stage:
        report = stage.failed()
        assert (report.step, report.text) == (1, "")
