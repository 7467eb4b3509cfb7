"""config.md, mounts: types, order, targets, propagation, and that no target ever lies outside the root."""

import errno
import os
import stat

import pytest

from tests.helpers_bundle import HOST_ID
from tests.helpers_host import mounts_of
from tests.helpers_mounts import at, host_mounts

pytestmark = pytest.mark.requires("root")
MS_REMOUNT, EVERY_FLAG = 32, 1 | 2 | 4 | 8 | 256 | 1024 | 2048  # MS_RDONLY to MS_NODIRATIME
PROC, SYSFS, TMPFS, DEVPTS, MQUEUE = 0x9FA0, 0x62656572, 0x01021994, 0x1CD1, 0x19800202


# ---- types


def test_default_file_systems(runtime, bundle):
    points = ("/proc", "/dev", "/dev/pts", "/dev/shm", "/sys")
    types = [line["type"] for line in runtime.probe(bundle, *[["statfs", point] for point in points])]
    assert types == [PROC, TMPFS, DEVPTS, TMPFS, SYSFS]


@pytest.mark.requires("mqueue")
def test_mqueue(runtime, bundle):
    bundle.mount("/dev/mqueue", type="mqueue", source="mqueue", options=["nosuid", "noexec", "nodev"])
    assert runtime.probe(bundle, ["statfs", "/dev/mqueue"])[0]["type"] == MQUEUE


@pytest.mark.requires("overlay")
def test_overlay(runtime, bundle):
    directories = [bundle.path / name for name in ("lower", "upper", "work")]
    for directory in directories:
        directory.mkdir()
    (directories[0] / "below").write_text("lower text")
    lower, upper, work = directories
    bundle.mount(
        "/over", type="overlay", source="overlay", options=[f"lowerdir={lower}", f"upperdir={upper}", f"workdir={work}"]
    )
    if os.statvfs(upper).f_fsid == 0 and "overlay" in _type_of(upper):
        pytest.skip("an overlay file system cannot be upper here")
    lines = runtime.probe(bundle, ["read", "/over/below"], ["write", "/over/new", "text"])
    assert lines[0]["text"] == "lower text"
    assert (upper / "new").read_text() == "text"


def _type_of(path):
    best = max(
        (m for m in mounts_of(host_mounts()) if str(path).startswith(m.point)),
        key=lambda m: len(m.point),
    )
    return best.type


def test_tmpfs_data(runtime, bundle):
    bundle.mount("/data", type="tmpfs", source="tmpfs", options=["size=64k", "mode=1710", "uid=5", "gid=6"])
    found, system = runtime.probe(bundle, ["stat", "/data"], ["statfs", "/data"])
    assert (found["mode"], found["uid"], found["gid"]) == (0o1710, 5, 6)
    assert system["size"] == 65536


def test_tmpfs_takes_the_mode_of_what_it_hides(runtime, bundle):
    hidden = bundle.rootfs / "hidden"
    hidden.mkdir(mode=0o700)
    hidden.chmod(0o1753)
    bundle.mount("/hidden", type="tmpfs", source="tmpfs")
    assert runtime.probe(bundle, ["stat", "/hidden"])[0]["mode"] == 0o1753


def test_no_mounts_at_all(runtime, bundle):
    bundle.config["mounts"] = []
    bundle.process["args"] = ["/bin/probe", "list", "/"]
    assert "proc" in runtime.run(bundle).lines[0]["names"]


def test_mounts_absent(runtime, bundle):
    del bundle.config["mounts"]
    assert runtime.probe(bundle, ["list", "/proc"])[0]["names"] == []


def test_source_absent(runtime, bundle):
    bundle.mount("/x", type="tmpfs")
    assert runtime.probe(bundle, ["statfs", "/x"])[0]["type"] == TMPFS


def test_unknown_file_system(runtime, bundle):
    bundle.mount("/some/place", type="nosuchfs", source="x")
    line = runtime.refuses(bundle, "/some/place")
    assert "no such device" in line.lower()


def test_unknown_option_goes_to_the_file_system(runtime, bundle):
    bundle.mount("/x", type="tmpfs", source="x", options=["nosuchoption"])
    runtime.refuses(bundle)


# ---- order and targets


def test_listed_order(runtime, bundle):
    bundle.mount("/a", type="tmpfs", source="first")
    bundle.mount("/a/b", type="tmpfs", source="second")
    bundle.mount("/a/b/c", type="tmpfs", source="third")
    report = runtime.report(bundle)
    assert [at(report, p).source for p in ("/a", "/a/b", "/a/b/c")] == ["first", "second", "third"]


def test_later_mount_hides_an_earlier_one(runtime, bundle):
    bundle.mount("/a/b", type="tmpfs", source="first")
    bundle.mount("/a", type="tmpfs", source="second")
    assert runtime.probe(bundle, ["list", "/a"])[0]["names"] == []


def test_missing_targets_are_made(runtime, bundle, source):
    bundle.mount("/new/dir", type="bind", source=str(source), options=["bind"])
    bundle.mount("/new/file/name", type="bind", source=str(source / "file"), options=["bind"])
    directory, file = runtime.probe(bundle, ["read", "/new/dir/file"], ["read", "/new/file/name"])
    assert directory["text"] == file["text"] == "text of the host"
    assert stat.S_IMODE((bundle.rootfs / "new/dir").stat().st_mode) == 0o755


def test_relative_destination_is_taken_from_the_root(runtime, bundle):
    bundle.mount("relative/place", type="tmpfs", source="x")
    assert runtime.probe(bundle, ["statfs", "/relative/place"])[0]["type"] == TMPFS


def test_destination_with_dots(runtime, bundle):
    bundle.mount("/a/../b/./c/../../../../d", type="tmpfs", source="x")
    runtime.run(bundle.args(["statfs", "/d"])).ok()
    assert sorted(os.listdir(bundle.path)) == ["config.json", "rootfs"]


@pytest.mark.parametrize("target", ["/etc/inside", "../../../../etc/inside", "/../../etc/inside"])
def test_link_as_target_stays_inside(runtime, bundle, target):
    (bundle.rootfs / "link").symlink_to(target)
    bundle.mount("/link", type="tmpfs", source="tmpfs")
    report = runtime.report(bundle)
    assert at(report, "/etc/inside").type == "tmpfs"
    assert not os.path.lexists("/etc/inside")


def test_link_on_the_way_stays_inside(runtime, bundle):
    (bundle.rootfs / "etc").rmdir()
    (bundle.rootfs / "etc").symlink_to("/var")
    bundle.mount("/etc/made", type="tmpfs", source="tmpfs")
    assert at(runtime.report(bundle), "/var/made").type == "tmpfs"
    assert not os.path.exists("/var/made")


@pytest.mark.parametrize("where", ["/proc", "/sys"])
def test_proc_and_sysfs_on_a_link_are_refused(runtime, bundle, where):
    (bundle.rootfs / where[1:]).rmdir()
    (bundle.rootfs / where[1:]).symlink_to("/tmp")
    runtime.refuses(bundle, where)


@pytest.mark.parametrize("target", ["/proc/self/attr", "/proc/sys", "/proc/1"])
def test_mounts_below_proc_are_refused(runtime, bundle, source, target):
    bundle.mount(target, type="bind", source=str(source), options=["bind"])
    runtime.refuses(bundle, target)


@pytest.mark.parametrize("name", ["cpuinfo", "meminfo", "uptime", "loadavg", "stat", "swaps", "diskstats"])
def test_some_files_of_proc_may_be_covered(runtime, bundle, source, name):
    bundle.mount(f"/proc/{name}", type="bind", source=str(source / "file"), options=["bind"])
    assert runtime.probe(bundle, ["read", f"/proc/{name}"])[0]["text"] == "text of the host"


def test_mount_on_the_root(runtime, bundle):
    """The new root has only what a later mount brings."""
    other = bundle.path / "other"
    os.rename(bundle.rootfs, other)
    bundle.rootfs.mkdir()
    bundle.config["mounts"].insert(0, {"destination": "/", "type": "bind", "source": str(other), "options": ["rbind"]})
    assert "bin" in runtime.probe(bundle, ["list", "/"])[0]["names"]


def test_file_on_a_directory(runtime, bundle, source):
    bundle.mount("/tmp", type="bind", source=str(source / "file"), options=["bind"])
    runtime.refuses(bundle, "/tmp")


# ---- binds


def test_bind_without_a_type(runtime, bundle, source):
    bundle.mount("/b", source=str(source), options=["bind"])
    assert runtime.probe(bundle, ["read", "/b/file"])[0]["text"] == "text of the host"


def test_bind_by_its_type(runtime, bundle, source):
    bundle.mount("/b", type="bind", source=str(source))
    assert runtime.probe(bundle, ["read", "/b/file"])[0]["text"] == "text of the host"


def test_bind_whatever_the_type_says(runtime, bundle, source):
    bundle.mount("/b", type="tmpfs", source=str(source), options=["bind"])
    assert runtime.probe(bundle, ["read", "/b/file"])[0]["text"] == "text of the host"


def test_bind_source_relative_to_the_bundle(runtime, bundle, source):
    bundle.mount("/b", type="bind", source="source", options=["bind"])
    assert runtime.probe(bundle, ["read", "/b/file"])[0]["text"] == "text of the host"


def test_bind_of_a_link_follows_it_on_the_host(runtime, bundle, source):
    (bundle.path / "link").symlink_to(source)
    bundle.mount("/b", type="bind", source=str(bundle.path / "link"), options=["bind"])
    assert runtime.probe(bundle, ["read", "/b/file"])[0]["text"] == "text of the host"


def test_missing_bind_source(runtime, bundle):
    bundle.mount("/b", type="bind", source="/nonexistent/source", options=["bind"])
    line = runtime.refuses(bundle, "/nonexistent/source")
    assert "no such file or directory" in line.lower()


def test_bind_is_not_recursive(runtime, bundle, tree):
    (tree / "sub/only").write_text("x")
    bundle.mount("/b", type="bind", source=str(tree), options=["bind"])
    assert runtime.probe(bundle, ["read", "/b/sub/only"], ["read", "/b/sub/inner"])[0]["errno"] == errno.ENOENT


def test_rbind_is_recursive(runtime, bundle, tree):
    (tree / "sub/only").write_text("x")
    bundle.mount("/b", type="bind", source=str(tree), options=["rbind"])
    assert runtime.probe(bundle, ["read", "/b/sub/only"])[0]["text"] == "x"


def test_writes_through_a_bind_reach_the_host(runtime, bundle, source):
    bundle.mount("/b", type="bind", source=str(source), options=["bind"])
    assert runtime.probe(bundle, ["write", "/b/new", "hello"])[0]["errno"] == 0
    assert (source / "new").read_text() == "hello"


@pytest.mark.parametrize("kind", ["bind", "rbind"])
def test_read_only_bind(runtime, bundle, tree, kind):
    bundle.mount("/b", type="bind", source=str(tree), options=[kind, "ro"])
    outer, inner = runtime.probe(bundle, ["write", "/b/new", "x"], ["write", "/b/sub/new", "x"])
    assert outer["errno"] == errno.EROFS
    if kind == "rbind":
        assert inner["errno"] == 0, "ro is not recursive; rro is"
    assert not (tree / "new").exists()


def test_read_only_bind_of_a_file(runtime, bundle, source):
    bundle.mount("/f", type="bind", source=str(source / "file"), options=["bind", "ro"])
    assert runtime.probe(bundle, ["overwrite", "/f", "x"])[0]["errno"] == errno.EROFS


def test_recursively_read_only_bind(runtime, bundle, tree):
    bundle.mount("/b", type="bind", source=str(tree), options=["rbind", "rro"])
    outer, inner = runtime.probe(bundle, ["write", "/b/new", "x"], ["write", "/b/sub/new", "x"])
    assert outer["errno"] == inner["errno"] == errno.EROFS


def test_read_only_bind_leaves_the_host_writable(runtime, bundle, tree):
    bundle.mount("/b", type="bind", source=str(tree), options=["rbind", "rro", "nosuid"])
    runtime.probe(bundle, "true")
    (tree / "sub/after").write_text("x")
    host = [m for m in mounts_of(host_mounts()) if m.point == str(tree)][-1]
    assert "nosuid" not in host.options


# ---- copies


def test_tmpcopyup(runtime, bundle):
    origin = bundle.rootfs / "origin"
    (origin / "deep").mkdir(parents=True)
    (origin / "deep/file").write_text("copied")
    (origin / "deep/file").chmod(0o604)
    os.chown(origin / "deep/file", 12, 13)
    (origin / "link").symlink_to("deep/file")
    origin.chmod(0o711)
    bundle.mount("/origin", type="tmpfs", source="tmpfs", options=["tmpcopyup"])
    text, file, link, top, _ = runtime.probe(
        bundle, ["read", "/origin/link"], ["stat", "/origin/deep/file"], ["lstat", "/origin/link"], ["stat", "/origin"],
        ["write", "/origin/deep/file", "changed"],
    )  # fmt: skip
    assert text["text"] == "copied"
    assert (file["mode"], file["uid"], file["gid"]) == (0o604, 12, 13)
    assert link["target"] == "deep/file"
    assert top["mode"] == 0o711
    assert (origin / "deep/file").read_text() == "copied"


def test_copy_symlink(runtime, bundle, source):
    (source / "link").symlink_to("/etc/somewhere")
    bundle.mount("/etc/copied", type="bind", source=str(source / "link"), options=["bind", "copy-symlink"])
    found = runtime.probe(bundle, ["lstat", "/etc/copied"])[0]
    assert (found["type"], found.get("target")) == ("link", "/etc/somewhere")


def test_src_nofollow_binds_the_link_itself(runtime, bundle, source):
    """The program in the container follows it, to a file that the container lacks."""
    (source / "link").symlink_to("/etc/passwd")
    bundle.mount("/etc/copied", type="bind", source=str(source / "link"), options=["bind", "src-nofollow"])
    link, read = runtime.probe(bundle, ["lstat", "/etc/copied"], ["read", "/etc/copied"])
    assert (link["type"], link["target"], read["errno"]) == ("link", "/etc/passwd", errno.ENOENT)


# ---- cgroup


@pytest.mark.requires("cgroup_v2", "cgroupns")
@pytest.mark.parametrize("option", ["ro", "rw"])
def test_cgroup2(runtime, bundle, option):
    bundle.namespace("cgroup")
    bundle.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["nosuid", "noexec", "nodev", option])
    report = runtime.report(bundle)
    found = at(report, "/sys/fs/cgroup")
    assert found.type == "cgroup2" and option in found.options
    assert report["cgroup"].strip().endswith("0::/")


@pytest.mark.requires("cgroup_v1")
def test_cgroup1(runtime, bundle):
    bundle.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["nosuid", "noexec", "nodev", "ro"])
    report = runtime.report(bundle)
    points = {m.point: m for m in mounts_of(report["mountinfo"]) if m.type == "cgroup"}
    assert {"/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"} <= points.keys()
    assert all("ro" in m.options for m in points.values())
    memory = points["/sys/fs/cgroup/memory"]
    assert memory.root.endswith(f"/{bundle.id}"), "the container sees its own part only"


@pytest.mark.requires("cgroup_v1")
@pytest.mark.parametrize("option", ["ro", "rw"])
def test_without_a_cgroup_nothing_of_the_hosts_is_bound(runtime, bundle, option):
    """A container without cgroups, or with one in some hierarchies only, must not get the host's own in their place."""
    bundle.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["nosuid", "noexec", "nodev", option])
    report = runtime.report(bundle, options=("--cgroup-manager", "disabled"))
    below = [m for m in mounts_of(report["mountinfo"]) if m.point.startswith("/sys/fs/cgroup")]
    assert [(m.point, m.type) for m in below] == [("/sys/fs/cgroup", "tmpfs")]


def test_propagation_of_a_cgroup_mount(runtime, bundle):
    bundle.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["ro", "unbindable"])
    assert at(runtime.report(bundle), "/sys/fs/cgroup").propagation == {"unbindable"}


# ---- idmapped mounts


@pytest.mark.requires("idmapped_mounts")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_idmap_by_mappings(runtime, bundle, source, option):
    os.chown(source / "file", 1000, 1001)
    bundle.mount(
        "/x", type="bind", source=str(source), options=["rbind", option],
        uidMappings=[{"containerID": 1000, "hostID": 2000, "size": 10}],
        gidMappings=[{"containerID": 1000, "hostID": 3000, "size": 10}],
    )  # fmt: skip
    found = runtime.probe(bundle, ["stat", "/x/file"])[0]
    assert (found["uid"], found["gid"]) == (2000, 3001)


@pytest.mark.requires("idmapped_mounts", "userns")
def test_idmap_by_the_containers_user_namespace(runtime, bundle, source):
    os.chown(source / "file", 5, 6)
    source.chmod(0o755)
    bundle.user_namespace()
    bundle.mount("/x", type="bind", source=str(source), options=["bind", "idmap"])
    found = runtime.probe(bundle, ["stat", "/x/file"])[0]
    assert (found["uid"], found["gid"]) == (5, 6)


@pytest.mark.requires("idmapped_mounts", "userns")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
@pytest.mark.parametrize("own", [False, True], ids=["", "user namespace"])
def test_only_ridmap_maps_what_is_below(runtime, bundle, tree, option, own):
    os.chown(tree / "file", 1000, 1000)
    (tree / "sub/below").write_text("x")
    os.chown(tree / "sub/below", 1000, 1000)
    maps = [{"containerID": 1000, "hostID": HOST_ID + 7, "size": 1}]
    if own:
        bundle.user_namespace()
    bundle.mount("/x", type="bind", source=str(tree), options=["rbind", option], uidMappings=maps, gidMappings=maps)
    top, below = runtime.probe(bundle, ["stat", "/x/file"], ["stat", "/x/sub/below"])
    mapped = 7 if own else HOST_ID + 7
    assert top["uid"] == mapped, "the mappings of the mount, not those of the container"
    assert (below["uid"] == mapped) == (option == "ridmap")


@pytest.mark.parametrize("more", [{"type": "cgroup", "source": "cgroup"}, {"options": ["remount"]}], ids=["cgroup", "remount"])
def test_mappings_that_no_mount_can_have(runtime, bundle, more):
    maps = [{"containerID": 0, "hostID": 5, "size": 1}]
    bundle.mount("/sys", **more, uidMappings=maps, gidMappings=maps)
    runtime.refuses(bundle, "/mounts/5", "cannot be mapped")


def test_recursively_read_only_tmpfs(runtime, bundle):
    bundle.mount("/data", type="tmpfs", source="x", options=["rro", "rnosuid"])
    assert {"ro", "nosuid"} <= at(runtime.report(bundle), "/data").options


def test_unknown_option_of_a_cgroup_mount(runtime, bundle):
    """Version 2 hands it to the kernel, which knows better; version 1 has no single file system to hand it to."""
    bundle.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["ro", "frobnicate"])
    runtime.refuses(bundle, "/mounts/5", "option")
