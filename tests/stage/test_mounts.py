"""Mounts as the container sees them, and what is refused."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.stage.encoder import Plan, number
from tests.stage.harness import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    NOATIME,
    NODEV,
    NOEXEC,
    NOSUID,
    RDONLY,
    Stage,
    describe,
)

NULL = {"device": True, "node_type": stat.S_IFCHR, "node_number": os.makedev(1, 3)}
USER = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID


def in_root(propagation: int = 0) -> Plan:
    return Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=0, propagation=propagation)


def tmpfs(plan: Plan, path: str, mount: int = 1, options: tuple[str, ...] = (), attributes: int = 0) -> Plan:
    plan.step("fsmount", mount=mount, type="tmpfs", options=list(options), source="tmpfs", attributes=attributes)
    return plan.step("attach", mount=mount, target=path)


def kernel() -> tuple[int, ...]:
    return tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))


def proc(plan: Plan, path: str = "/proc") -> Plan:
    return plan.step("fsmount", mount=2, type="proc", source="proc").step("attach", mount=2, target=path, literal=True)


# ---- the root ----


def test_the_root_is_a_mount_of_its_own_and_the_working_directory(rootfs: Path) -> None:
    with Stage(in_root().pause(), rootfs) as stage:
        stage.built()
        assert stage.mount(str(rootfs)).tags == set()
        assert os.listdir(stage.cwd) == os.listdir(rootfs)


@pytest.mark.parametrize(
    ("propagation", "tags"),
    [(MS_SHARED, {"shared"}), (MS_PRIVATE | MS_REC, set()), (MS_UNBINDABLE, {"unbindable"}), (0, set())],
)
def test_the_propagation_of_the_root(rootfs: Path, propagation: int, tags: set[str]) -> None:
    with Stage(in_root(propagation).pause(), rootfs) as stage:
        stage.built()
        assert stage.mount(str(rootfs)).tags == tags


def test_a_slave_of_the_host_stays_one(rootfs: Path) -> None:
    plan = Plan().step("host_propagation", propagation=MS_REC | MS_SHARED).step("host_propagation", propagation=MS_REC | MS_SLAVE)
    with Stage(plan.step("root", mount=0).pause(), rootfs) as stage:
        stage.built()
        assert stage.mount("/").tags <= {"master", "propagate_from"}


@pytest.mark.parametrize("move", [False, True])
def test_after_the_switch_of_root_nothing_of_the_host_is_left(rootfs: Path, move: bool) -> None:
    plan = tmpfs(in_root(), "/tmp")
    with Stage(proc(plan).step("pivot", move=move).pause(), rootfs) as stage:
        stage.built()
        points = [mount.point for mount in stage.mounts()]
        assert points == ["/", "/tmp", "/proc"]
        assert sorted(os.listdir(stage.root)) == sorted(os.listdir(rootfs))
        assert os.readlink(f"/proc/{stage.pid}/cwd") == "/"
        # "/.." from the root, and what hid the host's procfs and sysfs, lead nowhere.
        assert (stage.root / "..").stat().st_ino == (stage.root).stat().st_ino
    assert Path("/proc/1").exists()


@pytest.mark.parametrize("namespaces", [CLONE_NEWNS, CLONE_NEWNS | CLONE_NEWUSER], ids=["root", "user namespace"])
def test_without_pivot_the_procfs_and_sysfs_of_the_host_are_hidden(rootfs: Path, namespaces: int) -> None:
    """They lie below the new root, where the kernel would find them when it asks if new ones may be mounted."""
    plan = in_root().step("pivot", move=True).pause()

    def keep_old_root() -> None:
        os.set_inheritable(os.open("/", os.O_PATH), True)

    with Stage(plan, rootfs, namespaces, prepare=keep_old_root) as stage:
        stage.built()
        old = [fd for fd in Path(f"/proc/{stage.pid}/fd").iterdir() if (fd / "proc").exists() and (fd / "usr").exists()]
        assert old
        for name in ("proc", "sys"):
            assert (old[0] / name).stat().st_dev != Path("/", name).stat().st_dev


def test_after_the_switch_of_root_host_paths_are_refused(rootfs: Path) -> None:
    plan = in_root().step("pivot")
    for refused in (plan.copy().step("open_tree", tree=3, path="/etc"), plan.copy().step("null_device", mount=3)):
        with Stage(refused, rootfs) as stage:
            assert stage.failed()[1:4] == (3, errno.EPERM, number("DETAIL_SOURCE"))


def test_the_root_can_be_read_only_and_mounts_below_stay_writable(rootfs: Path) -> None:
    plan = tmpfs(in_root(), "/tmp").step("root_readonly")
    with Stage(plan.step("pivot").pause(), rootfs) as stage:
        stage.built()
        assert "ro" in stage.mount("/").options
        assert "rw" in stage.mount("/tmp").options
        with pytest.raises(OSError, match="Read-only"):
            (stage.root / "x").touch()


def test_a_mount_on_the_root_directory_becomes_the_root(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "inner").mkdir(parents=True)
    plan = in_root().step("open_tree", tree=1, path=str(tmp_path / "other")).step("attach", mount=1, target="/")
    plan = tmpfs(plan, "/inner", mount=2).step("pivot").pause()
    with Stage(plan, rootfs) as stage:
        stage.built()
        assert os.listdir(stage.root) == ["inner"]
        assert [mount.point for mount in stage.mounts()] == ["/", "/inner"]


# ---- file systems ----


def test_options_and_attributes_of_a_new_file_system(rootfs: Path) -> None:
    plan = tmpfs(in_root(), "/tmp", options=("size=65536", "mode=1770"), attributes=NOSUID | NODEV | NOEXEC | RDONLY)
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
        mount = stage.mount(f"{rootfs}/tmp")
        assert {"ro", "nosuid", "nodev", "noexec", "relatime"} <= mount.options
        assert {"size=64k", "mode=1770"} <= mount.data
        assert mount.source == "tmpfs"


def test_an_option_that_is_refused_is_named_with_what_the_file_system_says(rootfs: Path) -> None:
    with Stage(tmpfs(in_root(), "/tmp", options=("size=4k", "colour=red")), rootfs) as stage:
        report = stage.failed()
        assert report[1:4] == (2, errno.EINVAL, number("DETAIL_OPTION"))
        assert report.text.startswith("colour=red: tmpfs: Unknown parameter")


def test_an_unknown_file_system_fails(rootfs: Path) -> None:
    with Stage(in_root().step("fsmount", mount=1, type="nonesuch"), rootfs) as stage:
        assert stage.failed()[1:4] == (2, errno.ENODEV, number("DETAIL_CREATE"))


def test_an_overlay_whose_lower_directories_are_too_long_for_one_option(rootfs: Path, tmp_path: Path) -> None:
    lowers = []
    for i in range(6):
        lower = tmp_path / f"{i}{'l' * 80}"
        lower.mkdir()
        (lower / f"file{i}").touch()
        lowers.append(str(lower))
    options = [f"lowerdir={':'.join(lowers)}"]
    plan = in_root().step("fsmount", mount=1, type="overlay", options=options, source="overlay", attributes=NOSUID | NOATIME)
    with Stage(plan.step("attach", mount=1, target="/tmp").step("pivot").pause(), rootfs) as stage:
        report = stage.report()
        assert report is not None
        if report.err == errno.ENODEV:
            pytest.skip("requires overlay: the kernel has no such file system")
        assert report.kind == number("REPORT_BARRIER"), describe(report)
        assert sorted(os.listdir(stage.root / "tmp")) == [f"file{i}" for i in range(6)]
        assert {"nosuid", "noatime"} <= stage.mount("/tmp").options
        assert [mount.point for mount in stage.mounts()] == ["/", "/tmp"]


# ---- binds and attributes ----


def test_a_bind_takes_its_attributes_before_it_is_attached(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    plan = in_root().step("open_tree", tree=1, path=str(tmp_path / "source"), recursive=True)
    plan.step("set_attributes", mount=1, set=RDONLY | NOEXEC, propagation=MS_PRIVATE)
    with Stage(plan.step("attach", mount=1, target="/new/target").pause(), rootfs) as stage:
        stage.built()
        mount = stage.mount(f"{rootfs}/new/target")
        assert {"ro", "noexec"} <= mount.options
        assert mount.root.endswith("/source")


def test_a_file_is_bound_on_a_file_that_is_made(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("content")
    plan = in_root().step("open_tree", tree=1, path=str(tmp_path / "source"))
    with Stage(plan.step("attach", mount=1, target="/etc/new/file").step("pivot").pause(), rootfs) as stage:
        stage.built()
        assert (stage.root / "etc/new/file").read_text() == "content"
    assert (rootfs / "etc/new/file").read_bytes() == b""


def test_a_missing_source_and_a_directory_on_a_file_fail(rootfs: Path, tmp_path: Path) -> None:
    with Stage(in_root().step("open_tree", tree=1, path=str(tmp_path / "none")), rootfs) as stage:
        assert stage.failed()[1:4] == (2, errno.ENOENT, number("DETAIL_SOURCE"))
    with Stage(tmpfs(in_root(), "/etc/hosts"), rootfs) as stage:
        assert stage.failed()[1:4] == (3, errno.ENOTDIR, number("DETAIL_NOT_DIRECTORY"))


def test_recursion_of_attributes_is_asked_for(rootfs: Path, tmp_path: Path) -> None:
    plan = tmpfs(tmpfs(in_root(), "/tmp"), "/tmp/sub", mount=2)
    for recursive, sub in ((False, "rw"), (True, "ro")):
        again = plan.copy().step("set_attributes", mount=1, set=RDONLY, recursive=recursive)
        with Stage(again.pause(), rootfs) as stage:
            stage.built()
            assert "ro" in stage.mount(f"{rootfs}/tmp").options
            assert sub in stage.mount(f"{rootfs}/tmp/sub").options


def test_an_idmapped_bind(rootfs: Path, tmp_path: Path) -> None:
    """tmpfs can be idmapped since Linux 6.3; on an older kernel the refusal must be an error."""
    (tmp_path / "source").mkdir()
    with Stage(Plan().pause(), "/", CLONE_NEWUSER, maps="0 1000 1000") as owner:
        owner.built()
        namespace = os.open(f"/proc/{owner.pid}/ns/user", os.O_RDONLY)
    plan = Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=1)
    plan.step("open_tree", tree=2, path=str(tmp_path / "source")).step("set_attributes", mount=2, idmap=0)
    try:
        with Stage(plan.step("attach", mount=2, target="/tmp").pause(), rootfs, inputs=(namespace,)) as stage:
            report = stage.report()
            assert report is not None
            if report.err == errno.EINVAL and kernel() < (6, 3):
                assert report.detail == number("DETAIL_ATTRIBUTES")
                pytest.skip("requires idmapped tmpfs: Linux 6.3")
            assert report.kind == number("REPORT_BARRIER"), describe(report)
            assert (stage.cwd / "tmp").stat().st_uid == 1000
    finally:
        os.close(namespace)


def test_remount_of_attributes_and_of_the_file_system(rootfs: Path) -> None:
    plan = tmpfs(in_root(), "/tmp", attributes=NOSUID)
    plan.step("remount", target="/tmp", set=RDONLY, clear=NOSUID, bind=True)
    plan.step("remount", target="/tmp", options=["size=8192"], set=NODEV)
    with Stage(plan.step("propagate", target="/tmp", propagation=MS_SHARED).pause(), rootfs) as stage:
        stage.built()
        mount = stage.mount(f"{rootfs}/tmp")
        assert {"ro", "nodev"} <= mount.options
        assert "nosuid" not in mount.options
        assert "size=8k" in mount.data
        assert mount.tags == {"shared"}


def test_remount_of_what_is_no_mount_fails(rootfs: Path) -> None:
    with Stage(in_root().step("remount", target="/tmp", set=RDONLY, bind=True), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.EINVAL, number("DETAIL_ATTRIBUTES"))


# ---- targets ----


@pytest.mark.parametrize("target", ["/tmp", "tmp", "../canary", "dangling"])
def test_proc_is_mounted_on_a_real_directory_only(rootfs: Path, target: str) -> None:
    """CVE-2019-19921, CVE-2023-27561: a link at /proc must not carry procfs to another place."""
    (rootfs / "proc").rmdir()
    (rootfs / "proc").symlink_to(target)
    with Stage(proc(in_root()), rootfs) as stage:
        assert stage.failed()[1:4] == (3, errno.ELOOP, number("DETAIL_NOT_DIRECTORY"))


def test_proc_is_not_mounted_through_a_link_on_the_way_or_on_a_file(rootfs: Path) -> None:
    (rootfs / "a").symlink_to("tmp")
    with Stage(proc(in_root(), "/a/proc"), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.ELOOP, number("DETAIL_NOT_DIRECTORY"))
    with Stage(proc(in_root(), "/etc/hosts"), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.ENOTDIR, number("DETAIL_NOT_DIRECTORY"))
    with Stage(proc(in_root(), "/b/proc").pause(), rootfs) as stage:
        stage.built()
        assert stage.mount(f"{rootfs}/b/proc").type == "proc"


@pytest.mark.parametrize("path", ["/proc", "/proc/self", "/proc/sys", "/proc/1/attr", "/link/sys"])
def test_nothing_is_mounted_over_procfs(rootfs: Path, path: str) -> None:
    """CVE-2019-16884: a mount over /proc would take the label's writes."""
    (rootfs / "link").symlink_to("/proc")
    with Stage(tmpfs(proc(in_root()), path), rootfs) as stage:
        assert stage.failed()[1:4] == (5, errno.EPERM, number("DETAIL_TARGET"))


def test_a_file_of_procfs_on_the_allow_list_and_procfs_again(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "uptime").write_text("1 1\n")
    plan = proc(proc(in_root())).step("open_tree", tree=1, path=str(tmp_path / "uptime"))
    plan.step("attach", mount=1, target="/proc/uptime", below_proc=True)
    with Stage(plan.step("pivot").pause(), rootfs) as stage:
        stage.built()
        assert (stage.root / "proc/uptime").read_text() == "1 1\n"


def test_the_last_component_is_followed_unless_told_otherwise(rootfs: Path, tmp_path: Path) -> None:
    (rootfs / "file").symlink_to("etc/hosts")
    (tmp_path / "source").write_text("bound")
    for nofollow, point in ((False, "etc/hosts"), (True, "file")):
        plan = in_root().step("open_tree", tree=1, path=str(tmp_path / "source"))
        with Stage(plan.step("attach", mount=1, target="/file", nofollow=nofollow).pause(), rootfs) as stage:
            stage.built()
            assert stage.mount(f"{rootfs}/{point}").root.endswith("/source")


def test_a_device_is_bound_on_itself_or_on_a_file_only(rootfs: Path) -> None:
    (rootfs / "dev/empty").touch()
    os.mknod(rootfs / "dev/same", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(rootfs / "dev/other", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    (rootfs / "dev/link").symlink_to("same")
    for name, good in (("empty", True), ("same", True), ("missing", True), ("other", False), ("link", False)):
        plan = in_root().step("null_device", mount=1).step("attach", mount=1, target=f"/dev/{name}", **NULL)
        with Stage(plan.pause(), rootfs) as stage:
            if good:
                stage.built()
                assert (stage.cwd / "dev" / name).stat().st_rdev == os.makedev(1, 3)
            else:
                assert stage.failed()[2:4] == (errno.EEXIST, number("DETAIL_DIFFERENT_DEVICE"))


@pytest.mark.parametrize(
    "wanted", [{"node_number": os.makedev(1, 5)}, {"node_type": stat.S_IFBLK}, {"node_number": 1 << 32 | os.makedev(1, 3)}, {"node_type": 0}]
)
def test_what_is_bound_must_be_the_device_that_is_wanted(rootfs: Path, wanted: dict[str, int]) -> None:
    plan = in_root().step("null_device", mount=1).step("attach", mount=1, target="/dev/null", **(NULL | wanted))
    with Stage(plan, rootfs) as stage:
        assert stage.failed()[2:4] == (errno.ENODEV, number("DETAIL_SOURCE"))


# ---- copy up ----


def test_copy_up_takes_over_mode_owner_and_content(rootfs: Path) -> None:
    top = rootfs / "data"
    (top / "sub/deep").mkdir(parents=True)
    top.chmod(0o2751)
    os.chown(top, 12, 34)
    (top / "sub/deep/file").write_bytes(os.urandom(100_000))
    (top / "sub/deep/file").chmod(0o4711)
    os.chown(top / "sub/deep/file", 56, 78)
    (top / "sub/deep/file").chmod(0o4711)
    os.utime(top / "sub/deep/file", ns=(10**18, 10**18 + 1))
    (top / "link").symlink_to("/etc/shadow")
    os.mkfifo(top / "fifo", 0o640)
    (top / "sub").chmod(0o711)
    plan = in_root().step("fsmount", mount=1, type="tmpfs")
    plan.step("copy_up", mount=1, target="/data", mode=True, content=True).step("attach", mount=1, target="/data")
    with Stage(plan.pause(), rootfs) as stage:
        stage.built()
        assert stage.mount(f"{rootfs}/data").type == "tmpfs"
        for name in (".", "sub", "sub/deep", "sub/deep/file", "link", "fifo"):
            old, new = (top / name).lstat(), (stage.cwd / "data" / name).lstat()
            assert (old.st_mode, old.st_uid, old.st_gid) == (new.st_mode, new.st_uid, new.st_gid), name
            assert name == "." or old.st_mtime_ns == new.st_mtime_ns
        copy = stage.cwd / "data"
        assert (copy / "sub/deep/file").read_bytes() == (top / "sub/deep/file").read_bytes()
        assert os.readlink(copy / "link") == "/etc/shadow"


def test_copy_up_of_the_mode_alone_and_of_nothing(rootfs: Path) -> None:
    (rootfs / "tmp").chmod(0o1777)
    (rootfs / "tmp/file").touch()
    plan = in_root().step("fsmount", mount=1, type="tmpfs", options=["mode=700"])
    plan.step("copy_up", mount=1, target="/missing", mode=True, content=True).step("copy_up", mount=1, target="/tmp", mode=True)
    with Stage(plan.step("attach", mount=1, target="/tmp").pause(), rootfs) as stage:
        stage.built()
        assert stat.S_IMODE((stage.cwd / "tmp").stat().st_mode) == 0o1777
        assert os.listdir(stage.cwd / "tmp") == []


# ---- user namespaces ----


def test_all_of_it_in_a_user_namespace(rootfs: Path) -> None:
    plan = tmpfs(proc(in_root()), "/dev").step("null_device", mount=3)
    plan.step("attach", mount=3, target="/dev/null", **NULL).step("pivot")
    with Stage(plan.step("readonly_path", path="/proc/sys").pause(), rootfs, USER) as stage:
        stage.built()
        assert [mount.point for mount in stage.mounts()] == ["/", "/proc", "/dev", "/dev/null", "/proc/sys"]
        assert "ro" in stage.mount("/proc/sys").options


def test_a_locked_attribute_cannot_be_cleared_in_a_user_namespace(rootfs: Path) -> None:
    plan = tmpfs(in_root(), "/tmp", attributes=NOSUID).step("unshare", namespaces=CLONE_NEWNS | CLONE_NEWUSER)
    plan.step("open_tree", tree=2, path=str(rootfs / "tmp")).step("set_attributes", mount=2, set=NODEV)
    with Stage(plan.step("set_attributes", mount=2, clear=NOSUID), rootfs) as stage:
        assert stage.failed()[1:4] == (7, errno.EPERM, number("DETAIL_ATTRIBUTES"))


def test_procfs_needs_a_pid_namespace_of_its_own(rootfs: Path) -> None:
    with Stage(proc(in_root()), rootfs, CLONE_NEWNS | CLONE_NEWUSER) as stage:
        assert stage.failed()[1:4] == (2, errno.EPERM, number("DETAIL_CREATE"))
