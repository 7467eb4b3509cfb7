"""A verb that hangs: what is killed for its lock, when, and what never is; and what its journal says."""

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyoci import process
from pyoci.errors import StateError
from pyoci.lifecycle import delete, recovery
from pyoci.lifecycle.directory import Directory
from pyoci.process import kill_exactly, stat_fields

FORKING = "import os, time; child = os.fork(); print(os.getpid(), flush=True) if child else None; time.sleep(60)"
Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that lead a group, in which they have a child."""
    started: list[subprocess.Popen[bytes]] = []

    def one() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", FORKING], stdout=subprocess.PIPE, start_new_session=True))
        assert started[-1].stdout is not None
        started[-1].stdout.readline()
        return started[-1]

    yield one
    for running in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        assert running.stdout is not None
        running.stdout.close()


def since(pid: int) -> int:
    """Return when a process was started."""
    found = stat_fields(pid)
    assert found is not None
    return found[1]


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def ends(pidfd: int, seconds: float) -> bool:
    """Return whether a process that need not be ours ends within some time; close its descriptor."""
    try:
        return bool(select.select([pidfd], [], [], seconds)[0])
    finally:
        os.close(pidfd)


def test_the_process_that_was_recorded_is_killed_alone(start: Start) -> None:
    running = start()
    child = os.pidfd_open(child_of(running.pid))
    assert kill_exactly(running.pid, since(running.pid)) is True
    assert running.wait(20) == -signal.SIGKILL
    assert not ends(child, 0)


def test_or_the_group_that_it_leads(start: Start) -> None:
    running = start()
    child = os.pidfd_open(child_of(running.pid))
    assert kill_exactly(running.pid, since(running.pid), group=True) is True
    assert running.wait(20) == -signal.SIGKILL
    assert ends(child, 20)


@pytest.mark.parametrize("group", [False, True])
def test_another_process_with_its_pid_is_not(start: Start, group: bool) -> None:
    running = start()
    assert kill_exactly(running.pid, since(running.pid) - 1, group=group) is False
    assert kill_exactly(running.pid, 0, group=group) is False
    assert running.poll() is None


@pytest.mark.parametrize("pid", [0, -1])
def test_no_process_was_recorded(pid: int) -> None:
    """0 and -1 stand for groups and for everybody in kill(2)."""
    assert kill_exactly(pid, 0) is False


def test_the_process_has_gone(start: Start) -> None:
    running = start()
    born = since(running.pid)
    running.kill()
    running.wait()
    assert kill_exactly(running.pid, born) is False


def test_no_descriptor_is_left(start: Start) -> None:
    running = start()
    before = os.listdir("/proc/self/fd")
    kill_exactly(running.pid, 0)
    kill_exactly(running.pid, since(running.pid))
    assert os.listdir("/proc/self/fd") == before


def test_the_start_time_is_the_22nd_field() -> None:
    """Whatever the command name holds; proc_pid_stat(5)."""
    with subprocess.Popen(["sh", "-c", "echo ') X 1 (' > /proc/$$/comm; echo; read -r line"], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        text = Path(f"/proc/{child.pid}/stat").read_text()
        assert ") X 1 (" in text
        assert since(child.pid) == int(text.rpartition(")")[2].split()[19])
        child.communicate(b"\n")


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel before 6.9, which does not know the flag for groups."""
    lib = SimpleNamespace(pyoci_pidfd_signal_group=lambda _pidfd, _number: -errno.EINVAL)
    monkeypatch.setattr(process, "native", SimpleNamespace(lib=lib))


@pytest.mark.usefixtures("old_kernel")
def test_a_group_on_an_old_kernel(start: Start) -> None:
    leader = start()
    child = os.pidfd_open(child_of(leader.pid))
    assert kill_exactly(leader.pid, since(leader.pid), group=True) is True
    assert leader.wait(20) == -signal.SIGKILL
    assert ends(child, 20)


@pytest.mark.usefixtures("old_kernel")
def test_a_group_that_has_gone_in_between(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = start()

    def gone(pid: int, number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", gone)
    result = kill_exactly(leader.pid, since(leader.pid), group=True)
    monkeypatch.undo()
    assert result is False


def test_a_group_is_killed_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its descriptor: when that has worked, the number may be another's already."""
    leader = start()
    calls: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(process, "native", SimpleNamespace(lib=SimpleNamespace(pyoci_pidfd_signal_group=lambda *_: 0)))
        patched.setattr(os, "killpg", lambda pid, _: calls.append(pid))
        assert kill_exactly(leader.pid, since(leader.pid), group=True) is True
    assert calls == []


# ---- the lock


class Clock:
    """A clock on which every look takes half of the patience."""

    now = begin = 100.0

    def monotonic(self) -> float:
        """Return the time, and let it pass."""
        self.now += delete.PATIENCE / 2
        return self.now - delete.PATIENCE / 2

    def passed(self) -> float:
        """Return the time of the last look, in units of the patience."""
        return (self.now - self.begin) / delete.PATIENCE - 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(delete, "PATIENCE", 2.0)
    clock = Clock()
    monkeypatch.setattr(delete, "time", clock)
    return clock


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Directory, Directory]]:
    """A directory as who makes the container has it, locked, and as who deletes it has it."""
    holder = Directory.claim(str(tmp_path), "id")
    other = Directory.open(str(tmp_path), "id")
    yield holder, other
    holder.close()
    other.close()


def test_a_lock_that_nobody_holds(held: tuple[Directory, Directory], start: Start) -> None:
    holder, other = held
    running = start()
    holder.note_process("hook", running.pid)
    holder.unlock()
    delete.break_lock(other)
    assert running.poll() is None


def test_who_does_not_let_go_is_told(
    held: tuple[Directory, Directory], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal names nobody, so nobody is killed: 0 is no process."""
    _, other = held
    asked: set[tuple[int, int]] = set()
    monkeypatch.setattr(delete, "kill_exactly", lambda pid, start_time, **_: asked.add((pid, start_time)))
    with pytest.raises(StateError) as caught:
        delete.break_lock(other)
    assert str(caught.value) == f"{other.path} is in use by another program, which does not let go"
    assert clock.passed() == 10.5
    assert asked == {(0, 0)}


@pytest.mark.parametrize(("what", "when"), [("hook", 1.5), ("pid", 1.5), ("owner", 2.5)])
def test_what_the_journal_names_is_killed_in_its_turn(
    held: tuple[Directory, Directory], start: Start, clock: Clock, what: str, when: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hook with its group; of the last entry of a kind, as hooks come one after the other."""
    holder, other = held
    earlier, running = start(), start()
    child = os.pidfd_open(child_of(running.pid))
    for each in (earlier, running):
        holder.note_process(what, each.pid)
    killed: list[float] = []
    plain = kill_exactly

    def kill(pid: int, start_time: int, *, group: bool = False) -> bool:
        found = plain(pid, start_time, group=group)
        if found and not killed:
            killed.append(clock.passed())
            holder.unlock()
        return found

    monkeypatch.setattr(delete, "kill_exactly", kill)
    delete.break_lock(other)
    assert running.wait(20) == -signal.SIGKILL
    assert killed == [when]
    assert earlier.poll() is None
    assert ends(child, 20) if what == "hook" else not ends(child, 0)


def test_a_command_that_still_ends_is_waited_for(
    held: tuple[Directory, Directory], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it is there, as a process in the kernel may be for long, nobody says that it does not let go."""
    holder, other = held
    holder.note_process("owner", os.getpid())

    def kill(pid: int, start_time: int, *, group: bool = False) -> bool:
        if clock.passed() >= 15:
            holder.unlock()
        return pid == os.getpid()

    monkeypatch.setattr(delete, "kill_exactly", kill)
    delete.break_lock(other)
    assert clock.passed() >= 15


@pytest.mark.parametrize("force", [False, True])
def test_delete_takes_the_lock_away_only_by_force(
    held: tuple[Directory, Directory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    """And where /proc does not show the processes it does not even look who is alive."""
    holder, _ = held
    holder.unlock()
    called: list[str] = []
    monkeypatch.setattr(delete, "require_procfs", lambda: called.append("procfs"))
    monkeypatch.setattr(delete, "break_lock", lambda _: called.append("lock"))
    delete.delete(str(tmp_path), "id", force=force)
    assert called == (["procfs", "lock"] if force else ["procfs"])
    assert not (tmp_path / "id").exists()


def test_delete_of_what_is_not_there(tmp_path: Path) -> None:
    delete.delete(str(tmp_path), "id", force=True)
    with pytest.raises(StateError, match="does not exist"):
        delete.delete(str(tmp_path), "id")


@pytest.mark.parametrize("force", [False, True])
def test_delete_of_what_is_not_below_the_root(tmp_path: Path, force: bool) -> None:
    (tmp_path / "root").mkdir(mode=0o700)
    (tmp_path / "other").mkdir(mode=0o700)
    with pytest.raises(StateError, match="invalid container id"):
        delete.delete(str(tmp_path / "root"), "../other", force=force)
    assert (tmp_path / "other").is_dir()


# ---- what is known of it


def test_what_a_create_that_was_cut_off_has_written(held: tuple[Directory, Directory]) -> None:
    holder, other = held
    holder.note(bundle="/bundle")
    holder.note_process("pid", os.getpid())
    holder.note(cgroup="/sys/fs/cgroup/id", version=7, id="another")
    state = recovery.read_state(other, "id")
    assert (state.id, state.bundle, state.pid, state.startTime) == ("id", "/bundle", os.getpid(), since(os.getpid()))
    assert (state.finished, state.ociVersion, state.created) == (False, "1.0.0", "1970-01-01T00:00:00Z")
    assert (state.rootfs, state.owner) == ("", "")


def test_a_directory_in_which_nothing_is_yet(held: tuple[Directory, Directory]) -> None:
    state = recovery.read_state(held[1], "id")
    assert (state.bundle, state.pid, state.startTime, state.finished) == ("", 0, 0, False)


def test_a_directory_of_another_runtime(held: tuple[Directory, Directory], tmp_path: Path) -> None:
    (tmp_path / "id" / "state.json").touch()
    with pytest.raises(StateError) as caught:
        recovery.read_state(held[1], "id")
    assert str(caught.value) == f"{held[1].path} was not made by pyoci"
