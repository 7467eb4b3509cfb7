"""Limits and owners of cgroups of the real kernel."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyoci.cgroups.cgroup import Cgroup, from_state
from pyoci.cgroups.layout import Layout, detect, plan_cgroup
from pyoci.config.resources import CPU, DeviceCgroup, Memory, Pids, Resources
from pyoci.errors import ConfigError, KernelError

from .cgroup_place import Place, go_until_started


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
    go_until_started(child)
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
    cgroup.delegate(12345)
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
    monkeypatch.setattr("pyoci.cgroups.cgroup.read_or", lambda _path, default: listed or default)
    cgroup = v2_place.create()
    cgroup.delegate(12345)
    directory = Path(cgroup.paths()[""])
    owned = {path.name for path in directory.iterdir() if path.stat().st_uid == 12345}
    assert owned == {"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}


def test_v1_keeps_its_owner(v1_place: Place) -> None:
    cgroup = v1_place.create()
    cgroup.delegate(12345)
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
