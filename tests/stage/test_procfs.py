"""What the stage writes to /proc lands in a procfs of its own, or the step fails."""

import errno
import os
from pathlib import Path

import pytest

from tests.stage.encoder import Plan, number
from tests.stage.harness import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS, MS_PRIVATE, MS_REC, Stage, bind

CLONE_NEWTIME = 0x80
KINDS = {
    "root": CLONE_NEWNS,
    "pid namespace": CLONE_NEWNS | CLONE_NEWPID,
    "user and pid namespace": CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER,
    "user namespace": CLONE_NEWNS | CLONE_NEWUSER,
}


def in_root() -> Plan:
    return Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=0)


def writing(plan: Plan) -> Plan:
    """Add a write to a file of the stage's own."""
    return plan.step("unshare", namespaces=CLONE_NEWTIME).step("time_namespace", offsets="boottime 765 0\n")


def written(stage: Stage) -> bool:
    """Whether it came where it belongs."""
    return Path(f"/proc/{stage.pid}/timens_offsets").read_text().split()[-3:] == ["boottime", "765", "0"]


def fake_proc(tmp_path: Path) -> Path:
    """A directory that looks like procfs: what is written there went astray."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "timens_offsets").write_text("untouched")
    return tmp_path / "proc"


@pytest.mark.parametrize("namespaces", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("pivot", [False, True], ids=["before", "after"])
def test_a_write_lands_in_every_kind_of_namespace(rootfs: Path, namespaces: int, pivot: bool) -> None:
    plan = in_root()
    if pivot:
        plan.step("pivot")
    with Stage(writing(plan).pause(), rootfs, namespaces) as stage:
        stage.built()
        assert written(stage)


def test_it_does_not_matter_what_lies_on_proc(rootfs: Path, tmp_path: Path) -> None:
    """CVE-2025-52881: a mount over /proc must not take the writes."""
    fake = fake_proc(tmp_path)
    plan = writing(in_root()).pause()
    with Stage(plan, rootfs, prepare=lambda: bind(fake, "/proc")) as stage:
        stage.built()
        assert written(stage)
    assert (fake / "self" / "timens_offsets").read_text() == "untouched"


def test_where_no_procfs_can_be_made_the_one_on_proc_must_be_one(rootfs: Path, tmp_path: Path) -> None:
    fake = fake_proc(tmp_path)
    plan = writing(in_root())
    with Stage(plan, rootfs, CLONE_NEWNS | CLONE_NEWUSER, prepare=lambda: bind(fake, "/proc")) as stage:
        assert stage.failed()[1:4] == (3, errno.EXDEV, number("DETAIL_PROCFS"))
    assert (fake / "self" / "timens_offsets").read_text() == "untouched"


def test_the_one_on_proc_must_be_the_root_of_one(rootfs: Path) -> None:
    """A directory of procfs bound there has other files by the same names."""
    plan = writing(in_root())
    with Stage(plan, rootfs, CLONE_NEWNS | CLONE_NEWUSER, prepare=lambda: bind("/proc/sys", "/proc")) as stage:
        assert stage.failed()[1:4] == (3, errno.EXDEV, number("DETAIL_PROCFS"))


def test_a_cloned_procfs_is_not_searched_across_mounts(tmp_path: Path) -> None:
    """A mount over a file of the host's /proc is locked to it, and comes along with the clone, in a user namespace."""
    fake = tmp_path / "hostname"
    fake.write_text("untouched")
    plan = Plan().step("unshare", namespaces=CLONE_NEWNS | CLONE_NEWUSER).step("sysctl", name="kernel/hostname", value="new")
    with Stage(plan, "/", CLONE_NEWNS | CLONE_NEWUTS, prepare=lambda: bind(fake, "/proc/sys/kernel/hostname")) as stage:
        assert stage.failed()[1:3] == (1, errno.EXDEV)
    assert fake.read_text() == "untouched"


def test_the_private_procfs_leaves_no_mount_behind_in_the_container(rootfs: Path) -> None:
    plan = writing(in_root()).step("pivot").pause()
    with Stage(plan, rootfs) as stage:
        stage.built()
        assert [mount.point for mount in stage.mounts()] == ["/"]
        assert os.listdir(stage.root / "proc") == []
