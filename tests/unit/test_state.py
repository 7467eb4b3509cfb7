"""The record of a container: whole files, a journal that survives a crash, identity by start time."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from pyoci.errors import KernelError, StateError
from pyoci.files import write_file
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.recovery import read_state
from pyoci.lifecycle.state import State
from pyoci.lifecycle.status import ALLOWED, UNFINISHED, require, shown, status_of
from pyoci.members import Members
from pyoci.process import is_alive, open_pidfd, stat_fields


@pytest.fixture
def directory(tmp_path):
    claimed = Directory.claim(str(tmp_path / "root"), "c1")
    yield claimed
    claimed.close()


def make(**changes):
    return State(id="c1", ociVersion="1.0.2", bundle="/b", rootfs="/b/rootfs", created="2026-01-01T00:00:00Z", owner="root", **changes)


def test_state_round_trip(directory):
    state = make(pid=7, startTime=9, annotations=Members(("k", "v")))
    directory.save(state)
    assert directory.load() == state


def test_steps_are_looked_up_by_index(directory):
    directory.save_steps([[3, "OP_GATE", "waiting", "", {}], [4, "OP_EXEC", "x", "/process/args", {"2": "hint"}]])
    assert directory.step(4) == ("OP_EXEC", "x", "/process/args", {"2": "hint"})
    assert directory.step(9) == ("", "starting the container", "", {})


def test_state_that_is_cut_off_is_none(directory):
    directory.save(make())
    path = Path(directory.path, "state.json")
    path.write_bytes(path.read_bytes()[:-5])
    assert directory.load() is None


def test_journal_leaves_out_a_torn_line(directory):
    directory.note(cgroup="/a")
    directory.note(pid=3, startTime=4)
    with open(f"{directory.path}/journal", "ab") as file:
        file.write(b'{"cgroup": "/tor')
    assert directory.journal() == [{"cgroup": "/a"}, {"pid": 3, "startTime": 4}]


def test_journal_is_removed_last(directory, monkeypatch):
    """Without it the rest of a removal that was cut off would look like another runtime's."""
    directory.note(cgroup="/a")
    directory.save(make())
    order = []
    monkeypatch.setattr("os.unlink", lambda name, **_: order.append(name))
    with pytest.raises(KernelError):
        directory.remove()
    assert order[-1] == "journal" and len(order) == 2


def test_second_claim_is_refused(directory):
    with pytest.raises(StateError, match="already exists"):
        Directory.claim(os.path.dirname(directory.path), "c1")


def test_directory_that_was_replaced_is_not_current(directory):
    directory.remove()
    assert not directory.is_current()
    with pytest.raises(StateError, match="does not exist"):
        Directory.open(os.path.dirname(directory.path), "c1")


def test_write_file_leaves_no_temporary_file(tmp_path):
    write_file(str(tmp_path / "f"), b"one")
    write_file(str(tmp_path / "f"), b"two")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"two"


def test_identity_is_pid_and_start_time():
    found = stat_fields(os.getpid())
    assert found is not None
    assert is_alive(os.getpid(), found[1])
    assert not is_alive(os.getpid(), found[1] + 1)
    assert not is_alive(0, 0)


@pytest.mark.parametrize("number", [errno.ESRCH, errno.EINVAL], ids=["gone", "being reaped"])
def test_a_process_that_has_gone_has_no_pidfd(monkeypatch, number):
    """Linux before 6.9 says EINVAL of a pid in the moment in which its process is reaped."""

    def refuse(_pid, _flags):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pyoci.process.os.pidfd_open", refuse)
    assert open_pidfd(4321) == -1


def test_zombie_is_not_alive():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    found = stat_fields(child.pid)
    assert found is not None
    assert found[0] == "Z"
    assert not is_alive(child.pid, found[1])
    child.wait()


def test_name_of_a_process_cannot_forge_its_fields(tmp_path):
    """proc(5): the name in parentheses may hold parentheses, spaces and digits."""
    program = tmp_path / "a) Z 1 ("
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "60"])
    try:
        found = stat_fields(child.pid)
        assert found is not None
        assert found[0] in "RSD"
        assert is_alive(child.pid, found[1])
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("verb", list(ALLOWED))
@pytest.mark.parametrize("status", ["creating", "created", "running", "paused", "stopped", "unfinished"])
def test_verbs_and_statuses(verb, status):
    if status in ALLOWED[verb]:
        require(verb, status)
    else:
        with pytest.raises(StateError):
            require(verb, status)


def test_a_create_that_was_killed_is_unfinished(directory):
    """It has a status of its own, and what callers see of it is a stopped container."""
    directory.note(bundle="/b", document="config.json", hooks=["poststop"])
    directory.note(cgroup="/c/x")
    directory.note(members={"paths": {"": "/c/x"}, "made": ["/c/x"]})
    directory.note(pid=1 << 22, pidStart=5)
    directory.end_journal()
    state = read_state(directory, "c1")
    assert (state.finished, state.bundle, state.pid, state.startTime, state.hooks) == (False, "/b", 1 << 22, 5, ["poststop"])
    assert state.control_group().paths() == {"": "/c/x"}
    reader = Directory.open(os.path.dirname(directory.path), "c1")
    assert status_of(reader, state) == "creating", "while the lock is held"
    directory.unlock()
    assert status_of(reader, state) == UNFINISHED
    reader.close()
    assert shown(UNFINISHED) == "stopped"


def test_words_that_callers_look_for():
    with pytest.raises(StateError, match="^container not running$"):
        require("kill", "stopped")
    with pytest.raises(StateError, match="^cannot start an already running container$"):
        require("start", "running")
