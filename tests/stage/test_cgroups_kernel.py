"""Cgroups of the real kernel, in each layout that this machine can show: hybrid, v1 alone, v2 alone."""

import contextlib
import errno
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyoci import cgroups
from pyoci.cgroups import Cgroup, from_state, undo
from pyoci.cgroups.layout import Layout, detect, plan_cgroup
from pyoci.config.model import CPU, DeviceCgroup, Memory, Pids, Resources
from pyoci.errors import ConfigError, KernelError, StateError
from pyoci.native import lib
from tests.helpers_runtime import wait_until

DEADLINE = 20
VIEWS: dict[str, Callable[[str], bool]] = {
    "hybrid": lambda _key: True,
    "v1": lambda key: key != "",
    "v2": lambda key: key == "",
}


def view(name: str) -> Layout:
    """Give the host's layout, or a part of it."""
    whole = detect()
    mounts = {key: mount for key, mount in whole.mounts.items() if VIEWS[name](key)}
    layout = Layout(mounts=mounts, own={key: whole.own[key] for key in mounts})
    if layout.mode != name:
        pytest.skip(f"requires cgroup layout {name}: the machine has {whole.mode}")
    return layout


class Place:
    """A cgroup path of our own, and what was journalled and started for it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.path = f"/pyoci-test-{os.getpid()}"
        self.journal: list[str] = []
        self.children: list[subprocess.Popen[str]] = []

    def plan(self, below: str = "") -> Cgroup:
        return plan_cgroup(self.path + below, "id", self.layout, "cgroupfs")

    def create(self, below: str = "", resources: Resources | None = None) -> Cgroup:
        cgroup = self.plan(below)
        cgroup.create(self.journal.append, resources)
        return cgroup

    def run(self, script: str) -> subprocess.Popen[str]:
        """Start a shell that waits for a line before it runs *script*."""
        child = subprocess.Popen(
            ["sh", "-c", f"read line; {script}"],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.children.append(child)
        return child

    def finish(self, script: str, *cgroups: Cgroup) -> tuple[int, str]:
        """Run *script* in the cgroups to its end; give its exit status and output."""
        child = self.run(script)
        for cgroup in cgroups:
            cgroup.add(child.pid)
        output, _ = child.communicate("go\n", timeout=DEADLINE)
        return child.returncode, output

    def close(self) -> list[str]:
        """End everything; give what could not be removed."""
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # the shell, and what it has started
            child.communicate(timeout=DEADLINE)
        left = [Path(mount + self.path) for mount in set(self.layout.mounts.values())]
        for directory in left:
            for path, _, _ in os.walk(directory, topdown=False):
                wait_until(lambda path=path: removed(path), f"{path} can be removed", DEADLINE)  # they end in a moment
        return [str(directory) for directory in left if directory.exists()]


def removed(path: str) -> bool:
    """Remove an empty cgroup; False while somebody is in it."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


@pytest.fixture(params=list(VIEWS))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    found = Place(view(request.param))
    yield found
    assert found.close() == []


@pytest.fixture
def v1_place() -> Iterator[Place]:
    found = Place(view("hybrid"))
    yield found
    assert found.close() == []


@pytest.fixture
def v2_place() -> Iterator[Place]:
    found = Place(view("v2"))
    yield found
    assert found.close() == []


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
    assert child.stdin and child.stdout
    child.stdin.write("go\n")
    child.stdin.flush()
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
    assert child.stdin and child.stdout
    child.stdin.write("go\n")
    child.stdin.flush()
    assert child.stdout.readline() == "started\n"
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
    assert child.stdin
    child.stdin.write("go\n")
    child.stdin.flush()
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
    try:
        return int(lib.pyoci_bpf_device_count(fd))
    finally:
        os.close(fd)


def test_a_program_that_the_verifier_refuses_is_explained(
    v2_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroup = v2_place.create()
    monkeypatch.setattr("pyoci.cgroups.devices.v2_program", lambda _rules: bytes([0x95]) + bytes(7))
    with pytest.raises(KernelError, match="R0 !read_ok") as caught:
        cgroup.apply(None)
    assert caught.value.origin == "/linux/resources/devices"
    assert device_programs(cgroup) == 0


# ---- limits ----


def content(cgroup: Cgroup, file: str) -> str:
    return Path(cgroup.paths()[file.partition(".")[0]], file).read_text().strip()


def needs(place: Place, *controllers: str) -> None:
    for controller in controllers:
        if controller not in place.layout.mounts:
            pytest.skip(f"requires the v1 controller {controller}")


def test_v1_limits_and_their_update(v1_place: Place) -> None:
    needs(v1_place, "memory", "cpu", "pids", "cpuset")
    cgroup = v1_place.create()
    mib = 1 << 20
    cgroup.apply(
        Resources(
            memory=Memory(
                limit=64 * mib, swap=64 * mib, reservation=32 * mib, swappiness=10, disableOOMKiller=False
            ),
            cpu=CPU(shares=512, quota=50000, period=100000, burst=1000, cpus="0"),
            pids=Pids(limit=99),
        )
    )
    assert content(cgroup, "memory.memsw.limit_in_bytes") == str(64 * mib)
    assert content(cgroup, "memory.soft_limit_in_bytes") == str(32 * mib)
    assert content(cgroup, "cpuset.cpus") == "0"
    for size in (128, 32, 256):
        cgroup.apply(Resources(memory=Memory(limit=size * mib, swap=size * mib)), update=True)
        assert content(cgroup, "memory.limit_in_bytes") == str(size * mib)
    from_state(cgroup.saved()).apply(Resources(memory=Memory(limit=-1)), update=True)
    assert int(content(cgroup, "memory.memsw.limit_in_bytes")) > 1 << 60
    assert (content(cgroup, "cpu.shares"), content(cgroup, "pids.max")) == ("512", "99")
    # The kernel refuses a burst above the quota, so growing needs the one order and shrinking the other.
    cgroup.apply(Resources(cpu=CPU(quota=80000, burst=70000)), update=True)
    cgroup.apply(Resources(cpu=CPU(quota=2000, period=1000, burst=1500)), update=True)
    assert [content(cgroup, f"cpu.cfs_{name}_us") for name in ("quota", "period", "burst")] == [
        "2000",
        "1000",
        "1500",
    ]


def needs_v2(cgroup: Cgroup, *controllers: str) -> Path:
    directory = Path(cgroup.paths()[""])
    for controller in controllers:
        if controller not in (directory / "cgroup.controllers").read_text().split():
            pytest.skip(f"requires the v2 controller {controller}")
    return directory


def test_v2_limits_and_their_update(v2_place: Place) -> None:
    cgroup = v2_place.create("/a/b")
    directory = needs_v2(cgroup, "memory", "cpu", "pids")
    mib = 1 << 20
    cgroup.apply(
        Resources(
            memory=Memory(limit=64 * mib, swap=96 * mib, reservation=32 * mib),
            cpu=CPU(shares=512, quota=80000, period=100000, burst=70000),
            pids=Pids(limit=99),
            unified={"memory.high": str(60 * mib)},
        )
    )

    def now(*files: str) -> list[str]:
        return [(directory / file).read_text().strip() for file in files]

    assert now("memory.max", "memory.low", "memory.high") == [str(size * mib) for size in (64, 32, 60)]
    assert now("cpu.weight", "cpu.max", "cpu.max.burst", "pids.max") == ["59", "80000 100000", "70000", "99"]
    if (directory / "memory.swap.max").exists():
        assert now("memory.swap.max") == [str(32 * mib)]
    cgroup.apply(Resources(cpu=CPU(period=200000)), update=True)
    assert now("cpu.max") == ["80000 200000"]
    cgroup.apply(Resources(cpu=CPU(quota=2000, burst=1000), memory=Memory(limit=-1)), update=True)
    assert now("cpu.max", "cpu.max.burst", "memory.max", "pids.max") == ["2000 200000", "1000", "max", "99"]


def test_v2_refuses_a_limit_below_the_usage_when_asked_to_check(v2_place: Place) -> None:
    """config-linux.md#memory: checkBeforeUpdate."""
    cgroup = v2_place.create()
    directory = needs_v2(cgroup, "memory")
    assert v2_place.finish("head -c 1000000 /dev/zero | tail -c 1000000 | wc -c", cgroup) == (0, "1000000\n")
    child = v2_place.run("echo started; sleep 1000")
    cgroup.add(child.pid)
    assert child.stdin and child.stdout
    child.stdin.write("go\n")
    child.stdin.flush()
    assert child.stdout.readline() == "started\n"
    with pytest.raises(KernelError, match="bytes are in use") as caught:
        cgroup.apply(Resources(memory=Memory(limit=1, checkBeforeUpdate=True)), update=True)
    assert (caught.value.number, caught.value.origin) == (errno.EBUSY, "/linux/resources/memory/limit")
    assert (directory / "memory.max").read_text() == "max\n"


def test_a_limit_that_v2_has_no_controller_for_is_an_error_with_its_place(v2_place: Place) -> None:
    cgroup = v2_place.create()
    if "memory" in Path(cgroup.paths()[""], "cgroup.controllers").read_text():
        pytest.skip("requires a v2 hierarchy without the memory controller")
    with pytest.raises(KernelError) as caught:
        cgroup.apply(Resources(memory=Memory(limit=1 << 20)))
    assert (caught.value.number, caught.value.origin) == (errno.ENOENT, "/linux/resources/memory/limit")
    assert "memory.max" in str(caught.value)


def test_a_missing_v1_controller_is_an_error_with_its_place(v1_place: Place) -> None:
    needs(v1_place, "memory")
    mounts = {key: mount for key, mount in v1_place.layout.mounts.items() if key not in ("pids", "")}
    cgroup = plan_cgroup(v1_place.path, "id", Layout(mounts=mounts, own=v1_place.layout.own), "cgroupfs")
    cgroup.create(v1_place.journal.append)
    with pytest.raises(KernelError, match="pids controller") as caught:
        cgroup.apply(Resources(pids=Pids(limit=5)))
    assert caught.value.origin == "/linux/resources/pids/limit"
    cgroup.apply(Resources(memory=Memory(limit=1 << 24)))


def test_a_refused_value_is_an_error_with_its_place(v1_place: Place) -> None:
    needs(v1_place, "cpuset")
    cgroup = v1_place.create()
    with pytest.raises(KernelError) as caught:
        cgroup.apply(Resources(cpu=CPU(cpus="90000")))
    assert caught.value.origin == "/linux/resources/cpu/cpus"


def test_unified_needs_its_controller(place: Place) -> None:
    """config-linux.md#unified: a controller that is not present is an error."""
    cgroup = place.create()
    with pytest.raises(ConfigError, match="'nosuch' of cgroup v2 is not available") as caught:
        cgroup.apply(Resources(unified={"nosuch.file": "1"}))
    assert caught.value.problems[0].pointer == "/linux/resources/unified/nosuch.file"


def test_unified_reaches_the_core_files(v2_place: Place) -> None:
    cgroup = v2_place.create()
    cgroup.apply(Resources(unified={"cgroup.max.depth": "3"}))
    assert Path(cgroup.paths()[""], "cgroup.max.depth").read_text() == "3\n"


# ---- owners ----


def test_only_what_may_be_delegated_changes_its_owner(v2_place: Place) -> None:
    """config-linux.md#cgroup-ownership."""
    cgroup = v2_place.create()
    cgroup.hand_over(12345)
    directory = Path(cgroup.paths()[""])
    delegated = set(Path("/sys/kernel/cgroup/delegate").read_text().split())
    owned = {path.name for path in directory.iterdir() if path.stat().st_uid == 12345}
    assert directory.stat().st_uid == 12345
    assert owned == delegated & {path.name for path in directory.iterdir()} != set()
    assert directory.stat().st_gid == 0


@pytest.mark.parametrize("listed", ["", "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\nno.such.file\n"])
def test_without_a_list_of_the_kernel_and_with_files_that_are_not_there(
    v2_place: Place, monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    """config-linux.md#cgroup-ownership."""
    monkeypatch.setattr(cgroups, "read_or", lambda _path, default: listed or default)
    cgroup = v2_place.create()
    cgroup.hand_over(12345)
    directory = Path(cgroup.paths()[""])
    owned = {path.name for path in directory.iterdir() if path.stat().st_uid == 12345}
    assert owned == {"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}


def test_v1_keeps_its_owner(v1_place: Place) -> None:
    cgroup = v1_place.create()
    cgroup.hand_over(12345)
    assert {Path(path).stat().st_uid for path in cgroup.paths().values()} == {0}


@pytest.fixture
def nobody() -> Iterator[None]:
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_without_permission_and_without_limits_there_is_no_cgroup(nobody: None) -> None:
    cgroup = plan_cgroup(None, f"pyoci-test-{os.getpid()}", detect(), "cgroupfs")
    cgroup.create(lambda _path: None, Resources(memory=Memory(limit=0), devices=(DeviceCgroup(allow=False),)))
    assert cgroup.paths() == {}
    cgroup.apply(Resources())


@pytest.mark.parametrize(
    ("path", "resources"), [(None, Resources(pids=Pids(limit=0))), ("/pyoci-test-explicit", Resources())]
)
def test_without_permission_a_limit_or_a_path_is_an_error(
    nobody: None, path: str | None, resources: Resources
) -> None:
    cgroup = plan_cgroup(path, f"pyoci-test-{os.getpid()}", detect(), "cgroupfs")
    with pytest.raises(KernelError) as caught:
        cgroup.create(lambda _path: None, resources)
    assert caught.value.number == errno.EACCES
