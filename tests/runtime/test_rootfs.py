"""The root file system: read-only, masked and read-only paths, devices, links, and how it is entered."""

import errno
import os
import stat

import pytest

from tests.helpers_host import missing, mounts_of

pytestmark = pytest.mark.requires("root")
DEFAULT_DEVICES = {
    "null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0),
}  # fmt: skip
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


def root_mount(report):
    """The mount on /."""
    return [m for m in mounts_of(report["mountinfo"]) if m.point == "/"][-1]


def test_read_only(runtime, bundle):
    bundle.config["root"]["readonly"] = True
    root, inner = runtime.probe(bundle, ["write", "/x", "x"], ["write", "/dev/shm/x", "x"])
    assert (root["errno"], inner["errno"]) == (errno.EROFS, 0)
    assert not (bundle.rootfs / "x").exists()


def test_writable_by_default(runtime, bundle):
    del bundle.config["root"]["readonly"]
    assert runtime.probe(bundle, ["write", "/x", "x"])[0]["errno"] == 0
    assert (bundle.rootfs / "x").read_text() == "x"


def test_read_only_leaves_the_host_writable(runtime, bundle):
    bundle.config["root"]["readonly"] = True
    runtime.probe(bundle, "true")
    (bundle.rootfs / "after").write_text("x")


def test_absolute_root_path(runtime, bundle):
    bundle.config["root"]["path"] = str(bundle.rootfs)
    assert "bin" in runtime.probe(bundle, ["list", "/"])[0]["names"]


def test_root_path_through_a_link(runtime, bundle):
    (bundle.path / "link").symlink_to("rootfs")
    bundle.config["root"]["path"] = "link"
    assert "bin" in runtime.probe(bundle, ["list", "/"])[0]["names"]


def test_missing_root(runtime, bundle):
    bundle.config["root"]["path"] = "nowhere"
    assert "no such file or directory" in runtime.refuses(bundle, "nowhere").lower()


def test_root_that_is_a_file(runtime, bundle):
    (bundle.path / "file").write_text("")
    bundle.config["root"]["path"] = "file"
    assert "not a directory" in runtime.refuses(bundle, "file").lower()


@pytest.mark.parametrize("option", [(), ("--no-pivot",)])
def test_nothing_of_the_host_is_mounted_inside(runtime, bundle, option):
    report = runtime.report(bundle, *option)
    points = [m.point for m in mounts_of(report["mountinfo"])]
    own = {"/", *[m["destination"] for m in bundle.config["mounts"]]}
    roots = [m.root for m in mounts_of(report["mountinfo"]) if m.point == "/"]
    assert len(roots) == 1 and roots[0].endswith("rootfs")
    assert set(points) == own


def test_dot_dot_of_the_root_is_the_root(runtime, bundle):
    above, here = runtime.probe(bundle, ["stat", "/.."], ["stat", "/"])
    assert (above["inode"], above["device"]) == (here["inode"], here["device"])


def test_no_pivot(runtime, bundle):
    names = runtime.probe(bundle, ["list", "/"], ["stat", "/.."], options=("--no-pivot",))[0]["names"]
    assert sorted(names) == sorted(os.listdir(bundle.rootfs))


@pytest.mark.parametrize(
    ("value", "found"),
    [("private", set()), ("slave", {"master"}), ("shared", {"shared"}), ("unbindable", {"unbindable"}),
     ("rprivate", set()), ("rslave", {"master"}), ("", set())],
)  # fmt: skip
def test_propagation(runtime, bundle, value, found):
    if value:
        bundle.linux["rootfsPropagation"] = value
    root = root_mount(runtime.report(bundle))
    if value:
        may = {"master"} if value == "shared" else set()  # it may receive from the host as well
        assert found <= root.propagation - {"propagate_from"} <= found | may
    else:
        assert "shared" not in root.propagation


# ---- masked and read-only paths


def test_masked_paths(runtime, bundle):
    (bundle.rootfs / "secret/deep").mkdir(parents=True)
    (bundle.rootfs / "secret/deep/file").write_text("x")
    (bundle.rootfs / "etc/key").write_text("x")
    bundle.linux["maskedPaths"] = ["/secret", "/etc/key", "/proc/version", "/proc/irq", "/missing", "/etc/key/below"]
    directory, made, key, version, missing = runtime.probe(
        bundle, ["list", "/secret"], ["write", "/secret/x", "x"], ["read", "/etc/key"], ["stat", "/proc/version"],
        ["stat", "/missing"],
    )  # fmt: skip
    assert directory["names"] == []
    assert made["errno"] == errno.EROFS
    assert key["text"] == ""
    assert (version["type"], version["major"], version["minor"]) == ("c", 1, 3)
    assert missing["errno"] == errno.ENOENT


def test_masked_path_through_a_link_masks_the_target(runtime, bundle):
    (bundle.rootfs / "etc/real").write_text("x")
    (bundle.rootfs / "etc/link").symlink_to("/etc/real")
    bundle.linux["maskedPaths"] = ["/etc/link"]
    assert runtime.probe(bundle, ["read", "/etc/real"])[0]["text"] == ""


def test_a_path_masked_twice_is_masked_once(runtime, bundle):
    (bundle.rootfs / "etc/key").write_text("secret")
    (bundle.rootfs / "secret").mkdir()
    bundle.linux["maskedPaths"] = ["/etc/key", "/etc/key", "//etc/./key", "/secret", "/secret/"]
    bundle.linux["readonlyPaths"] = ["/var", "/var/", "//var"]
    points = [mount.point for mount in mounts_of(runtime.report(bundle)["mountinfo"])]
    assert [points.count(path) for path in ("/etc/key", "/secret", "/var")] == [1, 1, 1]


def test_mount_flags_of_masked_paths(runtime, bundle):
    """Not nodev for a file: it is the null device, which reads as an empty file."""
    (bundle.rootfs / "etc/key").write_text("secret")
    (bundle.rootfs / "secret").mkdir()
    bundle.linux["maskedPaths"] = ["/etc/key", "/secret", "/proc/version"]
    found = {mount.point: mount.options for mount in mounts_of(runtime.report(bundle)["mountinfo"])}
    assert {"ro", "nosuid", "noexec"} <= found["/etc/key"] & found["/proc/version"]
    assert {"ro", "nosuid", "noexec", "nodev"} <= found["/secret"]
    assert runtime.probe(bundle, ["read", "/etc/key"])[0]["text"] == ""


PLANTED = ["file", "link", "device"]


def plant(null, kind):
    """Put something else in the place of a null device."""
    null.unlink(missing_ok=True)
    if kind == "file":
        null.write_text("planted")
    elif kind == "link":
        null.symlink_to("/proc/sys/kernel/hostname")
    else:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 5))


@pytest.mark.parametrize("kind", PLANTED)
def test_mask_with_a_planted_dev_null(runtime, bundle, kind):
    """The mask is the host's null device, whatever /dev/null of the container is (CVE-2025-31133)."""
    plant(bundle.own_dev() / "null", kind)
    (bundle.rootfs / "etc/key").write_text("secret")
    bundle.linux["maskedPaths"] = ["/etc/key"]
    mask, read = runtime.probe(bundle, ["stat", "/etc/key"], ["read", "/etc/key"])
    assert (mask["type"], mask["major"], mask["minor"]) == ("c", 1, 3)
    assert (read["errno"], read["text"]) == (0, "")


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_dev_null_of_the_image_is_refused(runtime, bundle, kind):
    bundle.without_mount("/dev/pts").without_mount("/dev/shm").without_mount("/dev")
    plant(bundle.rootfs / "dev/null", kind)
    runtime.refuses(bundle, "/dev/null")


def test_read_only_paths(runtime, bundle):
    (bundle.rootfs / "etc/file").write_text("old")
    bundle.linux["readonlyPaths"] = ["/proc/sys", "/etc", "/missing"]
    lines = runtime.probe(
        bundle, ["write", "/etc/new", "x"], ["overwrite", "/etc/file", "x"], ["overwrite", "/proc/sys/kernel/hostname", "x"],
        ["read", "/etc/file"], ["write", "/tmp/x", "x"],
    )  # fmt: skip
    assert [line["errno"] for line in lines] == [errno.EROFS, errno.EROFS, errno.EROFS, 0, 0]


def test_read_only_path_keeps_other_flags(runtime, bundle):
    bundle.mount("/data", type="tmpfs", source="x", options=["nosuid", "nodev", "noexec"])
    bundle.linux["readonlyPaths"] = ["/data"]
    found = [m for m in mounts_of(runtime.report(bundle)["mountinfo"]) if m.point == "/data"][-1]
    assert {"ro", "nosuid", "nodev", "noexec"} <= found.options


# ---- devices and links


def test_default_devices(runtime, bundle):
    found = runtime.report(bundle)["dev"]
    for name, numbers in DEFAULT_DEVICES.items():
        assert (found[name]["type"], found[name]["major"], found[name]["minor"]) == ("c", *numbers), name
        assert found[name]["mode"] == 0o666, name


def test_default_links(runtime, bundle):
    found = runtime.report(bundle)["dev"]
    assert {name: found[name].get("target") for name in LINKS} == LINKS
    assert found["ptmx"].get("target") in ("pts/ptmx", "/dev/pts/ptmx")


def test_default_devices_work(runtime, bundle):
    lines = runtime.probe(bundle, ["write", "/dev/null", "x"], ["write", "/dev/full", "x"], ["open", "/dev/zero"])
    assert [line["errno"] for line in lines] == [0, errno.ENOSPC, 0]


def test_links_only_where_the_source_exists(runtime, bundle):
    bundle.process["args"] = ["/bin/probe", "list", "/dev"]
    for point in ("/proc", "/sys"):
        bundle.without_mount(point)
    names = runtime.run(bundle).ok().lines[0]["names"]
    assert "null" in names


def test_configured_devices(runtime, bundle):
    bundle.linux["devices"] = [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 5, "gid": 6},
        {"path": "/var/lib/disk", "type": "b", "major": 7, "minor": 250, "fileMode": 0o600},
        {"path": "/dev/deep/er/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 5},
    ]
    fuse, disk, pipe, unbuffered = runtime.probe(
        bundle, ["lstat", "/dev/fuse"], ["lstat", "/var/lib/disk"], ["lstat", "/dev/deep/er/pipe"], ["lstat", "/dev/unbuffered"]
    )
    assert (fuse["type"], fuse["major"], fuse["minor"], fuse["mode"]) == ("c", 10, 229, 0o640)
    assert (fuse["uid"], fuse["gid"]) == (5, 6)
    assert (disk["type"], disk["major"], disk["minor"], disk["mode"]) == ("b", 7, 250, 0o600)
    assert (pipe["type"], pipe["mode"]) == ("p", 0o622)
    assert (unbuffered["type"], unbuffered["major"], unbuffered["minor"]) == ("c", 1, 5)
    if stat.S_ISBLK((bundle.rootfs / "var/lib/disk").lstat().st_mode):
        (bundle.rootfs / "var/lib/disk").unlink()


def test_same_device_at_two_paths(runtime, bundle):
    """The specification tells who writes the configuration not to; nothing is wrong with it here."""
    bundle.linux["devices"] = [{"path": f"/dev/{name}", "type": "c", "major": 1, "minor": 3} for name in ("one", "two")]
    found = runtime.report(bundle)["dev"]
    assert [(found[name]["major"], found[name]["minor"]) for name in ("one", "two")] == [(1, 3), (1, 3)]


def test_mount_label_without_selinux(runtime, bundle):
    if not missing("selinux"):
        pytest.skip("SELinux is enabled")
    bundle.linux["mountLabel"] = "system_u:object_r:container_file_t:s0:c1,c2"
    runtime.refuses(bundle, "/linux/mountLabel", "SELinux is not enabled")


def test_same_device_may_be_there_already(runtime, bundle):
    bundle.without_mount("/dev/pts").without_mount("/dev/shm").without_mount("/dev")
    os.mknod(bundle.rootfs / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert runtime.probe(bundle, ["lstat", "/dev/null"])[0]["minor"] == 3


@pytest.mark.parametrize("kind", ["file", "device"])
def test_different_file_at_a_device_path(runtime, bundle, kind):
    if kind == "file":
        (bundle.rootfs / "etc/node").write_text("in the way")
    else:
        os.mknod(bundle.rootfs / "etc/node", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    bundle.linux["devices"] = [{"path": "/etc/node", "type": "c", "major": 1, "minor": 3}]
    runtime.refuses(bundle, "/etc/node")


def test_device_path_through_a_link_stays_inside(runtime, bundle):
    (bundle.rootfs / "out").symlink_to("/../../../../tmp")
    bundle.linux["devices"] = [{"path": "/out/made", "type": "p", "fileMode": 0o600}]
    assert runtime.probe(bundle, ["lstat", "/tmp/made"])[0]["type"] == "p"
    assert not os.path.lexists("/tmp/made")


def test_dev_that_is_a_bind_mount_is_left_alone(runtime, bundle):
    own = bundle.own_dev()
    assert runtime.report(bundle)["dev"].keys() == {"null"}
    assert os.listdir(own) == ["null"]
