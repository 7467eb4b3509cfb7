"""Directories, links, devices, masked and read-only paths."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.stage.encoder import Plan, number
from tests.stage.harness import MS_PRIVATE, MS_REC, NODEV, NOEXEC, NOSUID, RDONLY, Stage, bind

CHR, BLK, FIFO = stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO


def in_root() -> Plan:
    return Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=0)


def with_masks() -> Plan:
    plan = in_root().step("null_device", mount=1)
    return plan.step("fsmount", mount=2, type="tmpfs", options=["nr_blocks=1", "nr_inodes=2", "mode=755"], attributes=RDONLY)


def with_proc(plan: Plan) -> Plan:
    plan.step("fsmount", mount=3, type="proc", attributes=NOSUID | NODEV | NOEXEC)
    return plan.step("attach", mount=3, target="/proc", literal=True)


# ---- links ----


def test_a_link_is_made_and_what_is_there_stays(rootfs: Path) -> None:
    (rootfs / "dev/fd").symlink_to("elsewhere")
    (rootfs / "dev/stdin").write_text("file")
    plan = in_root()
    for text, name in (("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout")):
        plan.step("symlink", text=text, path=f"/dev/{name}")
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
    assert os.readlink(rootfs / "dev/fd") == "elsewhere"
    assert (rootfs / "dev/stdin").read_text() == "file"
    assert os.readlink(rootfs / "dev/stdout") == "/proc/self/fd/1"


def test_a_link_is_replaced_on_request(rootfs: Path) -> None:
    (rootfs / "dev/ptmx").symlink_to("/etc/hosts")
    plan = in_root().step("symlink", text="pts/ptmx", path="/dev/ptmx", replace=True)
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
    assert os.readlink(rootfs / "dev/ptmx") == "pts/ptmx"
    assert (rootfs / "etc/hosts").read_text() == "hosts\n"


def test_a_directory_is_not_replaced_by_a_link(rootfs: Path) -> None:
    (rootfs / "dev/ptmx").mkdir()
    with Stage(in_root().step("symlink", text="x", path="/dev/ptmx", replace=True), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.EISDIR, number("DETAIL_CREATE"))


def test_a_link_to_a_missing_source_is_left_out_on_request(rootfs: Path) -> None:
    plan = in_root().step("symlink", text="/proc/nonesuch", path="/dev/a", if_exists=True)
    plan.step("symlink", text="/proc/self/fd", path="/dev/b", if_exists=True).step("symlink", text="/etc", path="/dev/c", if_exists=True)
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
    assert os.listdir(rootfs / "dev") == ["b"]


# ---- devices ----


def test_devices_get_exactly_their_mode_and_owner(rootfs: Path) -> None:
    old = os.umask(0o077)
    plan = in_root()
    plan.step("device", path="/dev/full", number=os.makedev(1, 7), type=CHR, mode=0o666)
    plan.step("device", path="/dev/sub/disk", number=os.makedev(259, 1048575), type=BLK, mode=0o640, uid=1, gid=6)
    plan.step("device", path="/dev/pipe", type=FIFO, mode=0o622, uid=7, gid=8)
    try:
        with Stage(plan.pause(), rootfs) as stage:
            stage.built()
    finally:
        os.umask(old)

    def facts(name: str) -> tuple[int, int, int, int]:
        status = (rootfs / "dev" / name).lstat()
        return status.st_mode, status.st_rdev, status.st_uid, status.st_gid

    assert facts("full") == (CHR | 0o666, os.makedev(1, 7), 0, 0)
    assert facts("sub/disk") == (BLK | 0o640, os.makedev(259, 1048575), 1, 6)
    assert facts("pipe") == (FIFO | 0o622, 0, 7, 8)


def test_the_same_device_may_be_there_and_is_left_alone(rootfs: Path) -> None:
    os.mknod(rootfs / "dev/null", CHR | 0o600, os.makedev(1, 3))
    (rootfs / "dev/null").chmod(0o600)
    with Stage(in_root().step("device", path="/dev/null", number=os.makedev(1, 3), type=CHR, mode=0o666).pause(), rootfs) as stage:
        stage.built()
    assert (rootfs / "dev/null").stat().st_mode == CHR | 0o600


@pytest.mark.parametrize("there", ["file", "directory", "link", "other", "block"])
def test_anything_else_in_a_device_s_place_is_an_error(rootfs: Path, there: str) -> None:
    """CVE-2026-88265: identified by type and number of the node itself, not of what a link leads to."""
    path = rootfs / "dev/null"
    if there == "file":
        path.write_text("content")
    elif there == "directory":
        path.mkdir()
    elif there == "link":
        os.mknod(rootfs / "dev/real", CHR | 0o600, os.makedev(1, 3))
        path.symlink_to("real")
    else:
        os.mknod(path, CHR if there == "other" else BLK, os.makedev(1, 5 if there == "other" else 3))
    before = path.lstat()
    with Stage(in_root().step("device", path="/dev/null", number=os.makedev(1, 3), type=CHR, mode=0o666), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.EEXIST, number("DETAIL_DIFFERENT_DEVICE"))
    assert path.lstat() == before


def test_other_types_of_node_are_refused(rootfs: Path) -> None:
    with Stage(in_root().step("device", path="/dev/x", type=stat.S_IFREG, mode=0o666), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.EINVAL, number("DETAIL_PLAN"))


# ---- masked and read-only paths ----


def test_masks_hide_files_and_directories_and_skip_what_is_missing(rootfs: Path) -> None:
    plan = with_proc(with_masks())
    (rootfs / "secret").mkdir()
    (rootfs / "secret/file").touch()
    (rootfs / "secret2").mkdir()
    (rootfs / "secret2/file").touch()
    plan.step("pivot")
    paths = ("/proc/version", "/proc/sched_debug/none", "/secret", "/secret2", "/none", "/etc/hosts", "/etc/hosts/none")
    for path in paths:
        plan.step("mask_path", null=1, path=path, empty=2)
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
        for name in ("secret", "secret2"):
            assert os.listdir(stage.root / name) == []
            with pytest.raises(OSError, match="Read-only"):
                (stage.root / name / "x").touch()
        for name in ("proc/version", "etc/hosts"):
            assert (stage.root / name).stat().st_rdev == os.makedev(1, 3)
            assert (stage.root / name).read_bytes() == b""


def test_masks_follow_links_in_the_root(rootfs: Path) -> None:
    (rootfs / "link").symlink_to("/etc")
    with Stage(with_masks().step("mask_path", null=1, path="/link/hosts", empty=2).pause(), rootfs) as stage:
        stage.built()
        assert (stage.cwd / "etc/hosts").read_bytes() == b""


def test_a_mask_that_cannot_be_applied_is_an_error(rootfs: Path) -> None:
    (rootfs / "loop").symlink_to("loop")
    with Stage(with_masks().step("mask_path", null=1, path="/loop", empty=2), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.ELOOP, number("DETAIL_TARGET"))
    with Stage(with_masks().step("mask_path", null=4, path="/etc/hosts", empty=2), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.EBADF, number("DETAIL_ATTACH"))


def test_read_only_paths_keep_their_other_attributes(rootfs: Path) -> None:
    plan = with_proc(in_root()).step("fsmount", mount=4, type="tmpfs").step("attach", mount=4, target="/etc/sub")
    plan.step("pivot")
    for path in ("/proc/sys", "/etc", "/none", "/proc/nonesuch"):
        plan.step("readonly_path", path=path)
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
        assert {"ro", "nosuid", "nodev", "noexec"} <= stage.mount("/proc/sys").options
        assert "ro" in stage.mount("/etc").options
        assert "rw" in stage.mount("/etc/sub").options
        (stage.root / "etc/sub/x").touch()
        with pytest.raises(OSError, match="Read-only"):
            (stage.root / "etc/hosts").write_text("x")
        assert "rw" in stage.mount("/proc").options


def in_tmpfs(plan: Plan, slot: int) -> Plan:
    """Mount a file system with a node in it on /tmp."""
    plan.step("fsmount", mount=slot, type="tmpfs").step("attach", mount=slot, target="/tmp")
    return plan.step("device", path="/tmp/node", type=FIFO)


def is_masked(path: Path) -> bool:
    return path.stat().st_rdev == os.makedev(1, 3)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_path_is_masked_in_its_mount_and_where_the_path_leads(rootfs: Path, hidden: bool) -> None:
    plan = in_tmpfs(with_masks(), 3)
    if hidden:
        in_tmpfs(plan, 4)
    plan.step("mask_path", path="/tmp/node", mount=3, prefix=len("/tmp"), null=1, empty=2)
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
        assert is_masked(stage.cwd / "tmp/node")
        assert [mount.point for mount in stage.mounts()].count(f"{rootfs}/tmp/node") == 1 + hidden


def test_a_mount_that_a_read_only_copy_hides_is_seen_again(rootfs: Path) -> None:
    plan = in_tmpfs(with_masks(), 3).step("readonly_path", path="/tmp", mount=3, prefix=len("/tmp"))
    plan.step("mask_path", path="/tmp/node", mount=3, prefix=len("/tmp"), null=1, empty=2)
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
        assert is_masked(stage.cwd / "tmp/node")
        assert "ro" in stage.mount(f"{rootfs}/tmp").options


def test_a_prefix_longer_than_the_path_is_refused(rootfs: Path) -> None:
    plan = in_tmpfs(in_root(), 3).step("readonly_path", path="/tmp", mount=3, prefix=len("/tmp") + 1)
    with Stage(plan, rootfs) as stage:
        assert stage.failed()[2:4] == (errno.EINVAL, number("DETAIL_PLAN"))


@pytest.mark.parametrize("there", ["file", "link", "zero", "missing"])
def test_the_null_device_is_a_real_one(rootfs: Path, tmp_path: Path, there: str) -> None:
    """CVE-2025-31133: whatever lies at /dev/null must be character device 1:3 before it masks anything."""
    fake = tmp_path / "dev" / "null"
    fake.parent.mkdir()
    if there == "file":
        fake.touch()
    elif there == "link":
        fake.symlink_to("/proc/sys/kernel/core_pattern")
    elif there == "zero":
        os.mknod(fake, CHR, os.makedev(1, 5))
    plan = in_root().step("null_device", mount=1)
    with Stage(plan, rootfs, prepare=lambda: bind(tmp_path / "dev", "/dev")) as stage:
        report = stage.failed()
        if there == "missing":
            assert report[1:4] == (2, errno.ENOENT, number("DETAIL_SOURCE"))
        else:
            assert report[1:4] == (2, errno.ENODEV, number("DETAIL_DIFFERENT_DEVICE"))
