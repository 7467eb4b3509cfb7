"""Mounts as the container sees them, and what is refused."""

import errno
import os
import stat
from pathlib import Path

import pytest

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
    Plan,
    Stage,
    describe,
    number,
)

LITERAL, NOFOLLOW, PROC_OK, DEVICE = 1, 2, 4, 8
NULL, ZERO = (stat.S_IFCHR << 32 | os.makedev(1, minor) for minor in (3, 5))
USER = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID


def in_root(propagation: int = 0) -> Plan:
    return Plan().step("OP_PROPAGATION", n=MS_REC | MS_PRIVATE).step("OP_ROOT", slot=0, n=propagation)


def tmpfs(plan: Plan, path: str, slot: int = 1, options: tuple[str, ...] = (), n: int = 0, flags: int = 0) -> Plan:
    plan.step("OP_FSMOUNT", slot=slot, a="tmpfs", b=list(options), d="tmpfs", n=n)
    return plan.step("OP_ATTACH", slot=slot, a=path, flags=flags)


def kernel() -> tuple[int, ...]:
    return tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))


def proc(plan: Plan, path: str = "/proc", flags: int = LITERAL) -> Plan:
    return plan.step("OP_FSMOUNT", slot=2, a="proc", d="proc").step("OP_ATTACH", slot=2, a=path, flags=flags)


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
    plan = Plan().step("OP_PROPAGATION", n=MS_REC | MS_SHARED).step("OP_PROPAGATION", n=MS_REC | MS_SLAVE)
    with Stage(plan.step("OP_ROOT", slot=0).pause(), rootfs) as stage:
        stage.built()
        assert stage.mount("/").tags <= {"master", "propagate_from"}


@pytest.mark.parametrize("flags", [0, number("PIVOT_MOVE")])
def test_after_the_switch_of_root_nothing_of_the_host_is_left(rootfs: Path, flags: int) -> None:
    plan = tmpfs(in_root(), "/tmp")
    with Stage(proc(plan).step("OP_PIVOT", flags=flags).pause(), rootfs) as stage:
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
    plan = in_root().step("OP_PIVOT", flags=number("PIVOT_MOVE")).pause()

    def keep_old_root() -> None:
        os.set_inheritable(os.open("/", os.O_PATH), True)

    with Stage(plan, rootfs, namespaces, prepare=keep_old_root) as stage:
        stage.built()
        old = [fd for fd in Path(f"/proc/{stage.pid}/fd").iterdir() if (fd / "proc").exists() and (fd / "usr").exists()]
        assert old
        for name in ("proc", "sys"):
            assert (old[0] / name).stat().st_dev != Path("/", name).stat().st_dev


def test_after_the_switch_of_root_host_paths_are_refused(rootfs: Path) -> None:
    for step in ({"op": "OP_OPEN_TREE", "slot": 3, "a": "/etc"}, {"op": "OP_NULL_DEVICE", "slot": 3}):
        plan = in_root().step("OP_PIVOT").step(**step)  # type: ignore[arg-type]
        with Stage(plan, rootfs) as stage:
            assert stage.failed()[1:4] == (3, errno.EPERM, number("DETAIL_SOURCE"))


def test_the_root_can_be_read_only_and_mounts_below_stay_writable(rootfs: Path) -> None:
    plan = tmpfs(in_root(), "/tmp").step("OP_ROOT_READONLY")
    with Stage(plan.step("OP_PIVOT").pause(), rootfs) as stage:
        stage.built()
        assert "ro" in stage.mount("/").options
        assert "rw" in stage.mount("/tmp").options
        with pytest.raises(OSError, match="Read-only"):
            (stage.root / "x").touch()


def test_a_mount_on_the_root_directory_becomes_the_root(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "inner").mkdir(parents=True)
    plan = in_root().step("OP_OPEN_TREE", slot=1, a=str(tmp_path / "other")).step("OP_ATTACH", slot=1, a="/")
    plan = tmpfs(plan, "/inner", slot=2).step("OP_PIVOT").pause()
    with Stage(plan, rootfs) as stage:
        stage.built()
        assert os.listdir(stage.root) == ["inner"]
        assert [mount.point for mount in stage.mounts()] == ["/", "/inner"]


# ---- file systems ----


def test_options_and_attributes_of_a_new_file_system(rootfs: Path) -> None:
    plan = tmpfs(in_root(), "/tmp", options=("size=65536", "mode=1770"), n=NOSUID | NODEV | NOEXEC | RDONLY)
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
    with Stage(in_root().step("OP_FSMOUNT", slot=1, a="nonesuch"), rootfs) as stage:
        assert stage.failed()[1:4] == (2, errno.ENODEV, number("DETAIL_CREATE"))


def test_an_overlay_whose_lower_directories_are_too_long_for_one_option(rootfs: Path, tmp_path: Path) -> None:
    lowers = []
    for i in range(6):
        lower = tmp_path / f"{i}{'l' * 80}"
        lower.mkdir()
        (lower / f"file{i}").touch()
        lowers.append(str(lower))
    options = [f"lowerdir={':'.join(lowers)}"]
    plan = in_root().step("OP_FSMOUNT", slot=1, a="overlay", b=options, d="overlay", n=NOSUID | NOATIME)
    with Stage(plan.step("OP_ATTACH", slot=1, a="/tmp").step("OP_PIVOT").pause(), rootfs) as stage:
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
    plan = in_root().step("OP_OPEN_TREE", slot=1, a=str(tmp_path / "source"), flags=number("TREE_RECURSIVE"))
    plan.step("OP_SETATTR", slot=1, n=RDONLY | NOEXEC, a=MS_PRIVATE)
    with Stage(plan.step("OP_ATTACH", slot=1, a="/new/target").pause(), rootfs) as stage:
        stage.built()
        mount = stage.mount(f"{rootfs}/new/target")
        assert {"ro", "noexec"} <= mount.options
        assert mount.root.endswith("/source")


def test_a_file_is_bound_on_a_file_that_is_made(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("content")
    plan = in_root().step("OP_OPEN_TREE", slot=1, a=str(tmp_path / "source"))
    with Stage(plan.step("OP_ATTACH", slot=1, a="/etc/new/file").step("OP_PIVOT").pause(), rootfs) as stage:
        stage.built()
        assert (stage.root / "etc/new/file").read_text() == "content"
    assert (rootfs / "etc/new/file").read_bytes() == b""


def test_a_missing_source_and_a_directory_on_a_file_fail(rootfs: Path, tmp_path: Path) -> None:
    with Stage(in_root().step("OP_OPEN_TREE", slot=1, a=str(tmp_path / "none")), rootfs) as stage:
        assert stage.failed()[1:4] == (2, errno.ENOENT, number("DETAIL_SOURCE"))
    with Stage(tmpfs(in_root(), "/etc/hosts"), rootfs) as stage:
        assert stage.failed()[1:4] == (3, errno.ENOTDIR, number("DETAIL_NOT_DIRECTORY"))


def test_recursion_of_attributes_is_asked_for(rootfs: Path, tmp_path: Path) -> None:
    plan = tmpfs(tmpfs(in_root(), "/tmp"), "/tmp/sub", slot=2)
    for flags, sub in ((0, "rw"), (number("SETATTR_RECURSIVE"), "ro")):
        again = Plan()
        again.steps, again.table, again.slots = list(plan.steps), bytearray(plan.table), 4
        again.step("OP_SETATTR", slot=1, n=RDONLY, flags=flags).pause()
        with Stage(again, rootfs) as stage:
            stage.built()
            assert "ro" in stage.mount(f"{rootfs}/tmp").options
            assert sub in stage.mount(f"{rootfs}/tmp/sub").options


def test_an_idmapped_bind(rootfs: Path, tmp_path: Path) -> None:
    """tmpfs can be idmapped since Linux 6.3; on an older kernel the refusal must be an error."""
    (tmp_path / "source").mkdir()
    with Stage(Plan().pause(), "/", CLONE_NEWUSER, maps="0 1000 1000") as owner:
        owner.built()
        namespace = os.open(f"/proc/{owner.pid}/ns/user", os.O_RDONLY)
    plan = Plan().step("OP_PROPAGATION", n=MS_REC | MS_PRIVATE).step("OP_ROOT", slot=1)
    plan.step("OP_OPEN_TREE", slot=2, a=str(tmp_path / "source")).step("OP_SETATTR", slot=2, b=1)
    try:
        with Stage(plan.step("OP_ATTACH", slot=2, a="/tmp").pause(), rootfs, inputs=(namespace,)) as stage:
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
    plan = tmpfs(in_root(), "/tmp", n=NOSUID)
    plan.step("OP_REMOUNT", a="/tmp", n=RDONLY, m=NOSUID, flags=number("REMOUNT_BIND"))
    plan.step("OP_REMOUNT", a="/tmp", b=["size=8192"], n=NODEV)
    with Stage(plan.step("OP_PROPAGATE", a="/tmp", n=MS_SHARED).pause(), rootfs) as stage:
        stage.built()
        mount = stage.mount(f"{rootfs}/tmp")
        assert {"ro", "nodev"} <= mount.options
        assert "nosuid" not in mount.options
        assert "size=8k" in mount.data
        assert mount.tags == {"shared"}


def test_remount_of_what_is_no_mount_fails(rootfs: Path) -> None:
    with Stage(in_root().step("OP_REMOUNT", a="/tmp", n=RDONLY, flags=number("REMOUNT_BIND")), rootfs) as stage:
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
    plan = proc(proc(in_root())).step("OP_OPEN_TREE", slot=1, a=str(tmp_path / "uptime"))
    plan.step("OP_ATTACH", slot=1, a="/proc/uptime", flags=PROC_OK)
    with Stage(plan.step("OP_PIVOT").pause(), rootfs) as stage:
        stage.built()
        assert (stage.root / "proc/uptime").read_text() == "1 1\n"


def test_the_last_component_is_followed_unless_told_otherwise(rootfs: Path, tmp_path: Path) -> None:
    (rootfs / "file").symlink_to("etc/hosts")
    (tmp_path / "source").write_text("bound")
    for flags, point in ((0, "etc/hosts"), (NOFOLLOW, "file")):
        plan = in_root().step("OP_OPEN_TREE", slot=1, a=str(tmp_path / "source"))
        with Stage(plan.step("OP_ATTACH", slot=1, a="/file", flags=flags).pause(), rootfs) as stage:
            stage.built()
            assert stage.mount(f"{rootfs}/{point}").root.endswith("/source")


def test_a_device_is_bound_on_itself_or_on_a_file_only(rootfs: Path) -> None:
    (rootfs / "dev/empty").touch()
    os.mknod(rootfs / "dev/same", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(rootfs / "dev/other", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    (rootfs / "dev/link").symlink_to("same")
    for name, good in (("empty", True), ("same", True), ("missing", True), ("other", False), ("link", False)):
        plan = in_root().step("OP_NULL_DEVICE", slot=1).step("OP_ATTACH", slot=1, a=f"/dev/{name}", flags=DEVICE, m=NULL)
        with Stage(plan.pause(), rootfs) as stage:
            if good:
                stage.built()
                assert (stage.cwd / "dev" / name).stat().st_rdev == os.makedev(1, 3)
            else:
                assert stage.failed()[2:4] == (errno.EEXIST, number("DETAIL_DIFFERENT_DEVICE"))


@pytest.mark.parametrize("wanted", [ZERO, stat.S_IFBLK << 32 | os.makedev(1, 3), 0])
def test_what_is_bound_must_be_the_device_that_is_wanted(rootfs: Path, wanted: int) -> None:
    plan = in_root().step("OP_NULL_DEVICE", slot=1).step("OP_ATTACH", slot=1, a="/dev/null", flags=DEVICE, m=wanted)
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
    plan = in_root().step("OP_FSMOUNT", slot=1, a="tmpfs")
    plan.step("OP_COPY_UP", slot=1, a="/data", flags=3).step("OP_ATTACH", slot=1, a="/data")
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
    plan = in_root().step("OP_FSMOUNT", slot=1, a="tmpfs", b=["mode=700"])
    plan.step("OP_COPY_UP", slot=1, a="/missing", flags=3).step("OP_COPY_UP", slot=1, a="/tmp", flags=1)
    with Stage(plan.step("OP_ATTACH", slot=1, a="/tmp").pause(), rootfs) as stage:
        stage.built()
        assert stat.S_IMODE((stage.cwd / "tmp").stat().st_mode) == 0o1777
        assert os.listdir(stage.cwd / "tmp") == []


# ---- user namespaces ----


def test_all_of_it_in_a_user_namespace(rootfs: Path) -> None:
    plan = tmpfs(proc(in_root()), "/dev").step("OP_NULL_DEVICE", slot=3)
    plan.step("OP_ATTACH", slot=3, a="/dev/null", flags=DEVICE, m=NULL).step("OP_PIVOT")
    with Stage(plan.step("OP_READONLY_PATH", a="/proc/sys").pause(), rootfs, USER) as stage:
        stage.built()
        assert [mount.point for mount in stage.mounts()] == ["/", "/proc", "/dev", "/dev/null", "/proc/sys"]
        assert "ro" in stage.mount("/proc/sys").options


def test_a_locked_attribute_cannot_be_cleared_in_a_user_namespace(rootfs: Path) -> None:
    plan = tmpfs(in_root(), "/tmp", n=NOSUID).step("OP_UNSHARE", n=CLONE_NEWNS | CLONE_NEWUSER)
    plan.step("OP_OPEN_TREE", slot=2, a=str(rootfs / "tmp")).step("OP_SETATTR", slot=2, n=NODEV)
    with Stage(plan.step("OP_SETATTR", slot=2, m=NOSUID), rootfs) as stage:
        assert stage.failed()[1:4] == (7, errno.EPERM, number("DETAIL_ATTRIBUTES"))


def test_procfs_needs_a_pid_namespace_of_its_own(rootfs: Path) -> None:
    with Stage(proc(in_root()), rootfs, CLONE_NEWNS | CLONE_NEWUSER) as stage:
        assert stage.failed()[1:4] == (2, errno.EPERM, number("DETAIL_CREATE"))
