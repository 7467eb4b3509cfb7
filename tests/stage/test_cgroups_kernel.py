"""Cgroups of the real kernel: made, entered, frozen, killed, removed; device rules."""

import ctypes
import errno
import os
import platform
import select
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from pyoci.cgroups.cgroup import Cgroup, from_state
from pyoci.cgroups.files import undo
from pyoci.config.resources import DeviceCgroup, Pids, Resources
from pyoci.errors import KernelError, StateError

from .cgroup_place import DEADLINE, Place, go, go_until_started

# linux/bpf.h, asm/unistd.h
BPF_PROG_QUERY, BPF_CGROUP_DEVICE = 16, 6
SYS_BPF = 321 if platform.machine() == "x86_64" else 280


def exists(cgroup: Cgroup) -> set[bool]:
    return {Path(path).is_dir() for path in cgroup.paths().values()}


def ended(child: subprocess.Popen[str]) -> int:
    child.communicate(timeout=DEADLINE)
    return child.returncode


def test_create_journals_first_and_delete_removes_what_it_made(place: Place) -> None:
    seen = []
    cgroup = place.plan("/a/b")
    cgroup.create(lambda path: seen.append((path, Path(path).exists())))
    assert exists(cgroup) == {True}
    assert {made for _, made in seen} == {False}
    parents = {str(Path(path).parent) for path in cgroup.paths().values()}
    assert {path for path, _ in seen} > parents
    again = from_state(cgroup.saved())
    again.delete()
    assert exists(cgroup) == {False}
    assert all(Path(parent).is_dir() for parent in parents)
    again.delete()


def test_undo_removes_all_that_was_journalled(place: Place) -> None:
    cgroup = place.create("/a/b")
    other = place.plan("/a/other")
    other.create(lambda _path: None)
    undo([*place.journal, "/sys/fs/cgroup/never/made"])
    assert (exists(cgroup), exists(other)) == ({False}, {True})
    undo(place.journal)


def test_a_cgroup_with_processes_is_refused_and_left_alone(place: Place) -> None:
    """config-linux.md#control-groups: a failing check is an error."""
    first = place.create()
    child = place.run("exit 7")
    first.add(child.pid)
    second = place.plan()
    with pytest.raises(StateError, match=f"not empty: processes {child.pid}"):
        second.create(place.journal.append)
    second.kill(signal.SIGKILL)
    second.delete()
    assert child.communicate("go\n", timeout=DEADLINE) == ("", None)
    assert child.returncode == 7
    assert exists(first) == {True}


def test_a_cgroup_of_somebody_else_is_used_and_not_removed(place: Place) -> None:
    """runtime.md#delete: what the create did not make stays."""
    place.create()
    journal: list[str] = []
    second = place.plan()
    second.create(journal.append)
    second.delete()
    assert (journal, exists(second)) == ([], {True})


def test_a_frozen_cgroup_is_refused(place: Place) -> None:
    place.create().freeze()
    with pytest.raises(StateError, match="frozen"):
        place.create("/below")
    from_state(place.plan().saved()).thaw()


def test_membership_reaches_every_hierarchy(place: Place) -> None:
    cgroup = place.create()
    child = place.run("exit")
    cgroup.add(child.pid)
    lines = Path(f"/proc/{child.pid}/cgroup").read_text().splitlines()
    joined = {
        key for line in lines for key in line.split(":")[1].split(",") if line.endswith(f":{place.path}")
    }
    assert joined == set(cgroup.paths())
    assert cgroup.pids() == [child.pid]


def test_processes_of_sub_cgroups_are_listed(place: Place) -> None:
    cgroup = place.create()
    for directory in set(cgroup.paths().values()):
        os.mkdir(f"{directory}/sub")
    sub = cgroup.sub("/sub")
    if "cpuset" in sub.paths():
        for file in ("cpuset.cpus", "cpuset.mems"):
            Path(sub.paths()["cpuset"], file).write_text(Path(cgroup.paths()["cpuset"], file).read_text())
    one, other = place.run("exit"), place.run("exit")
    cgroup.add(one.pid)
    sub.add(other.pid)
    assert cgroup.pids() == sorted([one.pid, other.pid])
    cgroup.kill(signal.SIGKILL)
    assert [ended(one), ended(other)] == [-signal.SIGKILL] * 2
    cgroup.delete()
    assert exists(cgroup) == {False}


def test_freeze_stops_and_thaw_continues(place: Place) -> None:
    cgroup = place.create()
    child = place.run("echo ran")
    cgroup.add(child.pid)
    assert not cgroup.frozen()
    cgroup.freeze()
    assert from_state(cgroup.saved()).frozen()
    go(child)
    assert child.stdout
    poll = select.poll()
    poll.register(child.stdout, select.POLLIN)
    assert poll.poll(100) == []
    cgroup.thaw()
    assert not cgroup.frozen()
    assert child.communicate(timeout=DEADLINE) == ("ran\n", None)


def test_sigkill_ends_a_frozen_container(place: Place) -> None:
    cgroup = place.create()
    child = place.run("exit")
    cgroup.add(child.pid)
    cgroup.freeze()
    cgroup.kill(signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    cgroup.delete()


def test_other_signals_leave_a_frozen_container_frozen(place: Place) -> None:
    cgroup = place.create()
    child = place.run("exit")
    cgroup.add(child.pid)
    cgroup.freeze()
    cgroup.kill(signal.SIGTERM)
    assert cgroup.frozen()
    cgroup.thaw()
    assert ended(child) == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_escapes_a_signal_by_forking(place: Place, number: int) -> None:
    cgroup = place.create(resources=Resources(pids=Pids(limit=64)) if "pids" in place.layout.mounts else None)
    child = place.run("echo started; while :; do sleep 1000 & true; [ $(( n += 1 )) -lt 40 ] || wait; done")
    cgroup.add(child.pid)
    go_until_started(child)
    cgroup.kill(number)
    assert ended(child) == -number
    cgroup.delete()
    assert exists(cgroup) == {False}


def test_delete_names_who_is_still_there_and_kills_nobody(place: Place) -> None:
    cgroup = place.create()
    child = place.run("exit 3")
    cgroup.add(child.pid)
    with pytest.raises(KernelError, match=f"still in it: {child.pid}") as caught:
        cgroup.delete(seconds=0.1)
    assert caught.value.number == errno.EBUSY
    child.communicate("go\n", timeout=DEADLINE)
    assert child.returncode == 3
    cgroup.delete()


def test_delete_waits_for_processes_that_are_ending(place: Place) -> None:
    cgroup = place.create()
    child = place.run("sleep 0.2")
    cgroup.add(child.pid)
    go(child)
    cgroup.delete(seconds=DEADLINE)
    assert exists(cgroup) == {False}


# ---- devices: /dev/null is a default, /dev/kmsg (1:11) is not ----

OPEN_KMSG = "exec 3< /dev/kmsg"
OPEN_NULL = "exec 3<> /dev/null"


def test_device_rules(place: Place) -> None:
    cgroup = place.create()
    if "devices" not in cgroup.paths() and "" not in cgroup.paths():
        pytest.skip("requires a devices controller")
    assert place.finish(OPEN_KMSG, cgroup)[0] == 0
    cgroup.apply(None)
    assert place.finish(OPEN_NULL, cgroup) == (0, "")
    status, output = place.finish(OPEN_KMSG, cgroup)
    assert status != 0
    assert "Operation not permitted" in output


def test_device_rules_of_the_configuration(place: Place) -> None:
    readable = DeviceCgroup(allow=True, type="c", major=1, minor=11, access="r")
    cgroup = place.create()
    cgroup.apply(Resources(devices=(DeviceCgroup(allow=False, access="rwm"), readable)))
    assert place.finish(OPEN_KMSG, cgroup) == (0, "")
    assert place.finish("exec 3> /dev/kmsg", cgroup)[0] != 0
    assert place.finish("exec 3<> /dev/kmsg", cgroup)[0] != 0


def test_an_update_leaves_device_rules_alone(place: Place) -> None:
    cgroup = place.create()
    cgroup.apply(None)
    kmsg = DeviceCgroup(allow=True, type="c", major=1, minor=11, access="rwm")
    cgroup.apply(Resources(devices=(kmsg,)), update=True)
    assert place.finish(OPEN_KMSG, cgroup)[0] != 0


def test_a_privileged_container_needs_no_device_program(v2_place: Place) -> None:
    cgroup = v2_place.create()
    cgroup.apply(Resources(devices=(DeviceCgroup(allow=True, access="rwm"),)))
    assert device_programs(cgroup) == 0
    assert v2_place.finish(OPEN_KMSG, cgroup) == (0, "")


def test_the_device_program_is_replaced(v2_place: Place) -> None:
    cgroup = v2_place.create()
    cgroup.apply(None)
    cgroup.apply(Resources(devices=(DeviceCgroup(allow=True, access="rwm"),)))
    assert device_programs(cgroup) == 1
    assert v2_place.finish(OPEN_KMSG, cgroup) == (0, "")
    cgroup.apply(None)
    assert device_programs(cgroup) == 1
    assert v2_place.finish(OPEN_KMSG, cgroup)[0] != 0


def device_programs(cgroup: Cgroup) -> int:
    fd = cgroup.descriptor()
    assert fd is not None
    # bpf(2): union bpf_attr, its members for BPF_PROG_QUERY
    query = struct.pack("=IIIIQI4x", fd, BPF_CGROUP_DEVICE, 0, 0, 0, 0)
    attributes = ctypes.create_string_buffer(query, len(query))
    try:
        failed = ctypes.CDLL(None, use_errno=True).syscall(SYS_BPF, BPF_PROG_QUERY, attributes, len(query))
    finally:
        os.close(fd)
    assert failed == 0, os.strerror(ctypes.get_errno())
    return int(struct.unpack_from("=I", attributes, 24)[0])


def test_a_program_that_the_verifier_refuses_is_explained(
    v2_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroup = v2_place.create()
    monkeypatch.setattr("pyoci.cgroups.devices.v2_program", lambda _rules: bytes([0x95]) + bytes(7))
    with pytest.raises(KernelError, match="R0 !read_ok") as caught:
        cgroup.apply(None)
    assert caught.value.origin == "/linux/resources/devices"
    assert device_programs(cgroup) == 0
