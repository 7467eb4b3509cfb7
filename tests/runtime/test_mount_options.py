"""config-linux.md, mount options: every string does what the specification says, or goes to the file system."""

import errno

import pytest

from tests.helpers_host import MS_BIND, MS_PRIVATE, MS_REC, MS_SHARED, mount, unmount
from tests.helpers_mounts import at, host_mounts

pytestmark = pytest.mark.requires("root")
MS_REMOUNT, EVERY_FLAG = 32, 1 | 2 | 4 | 8 | 256 | 1024 | 2048  # MS_RDONLY to MS_NODIRATIME
PROC, SYSFS, TMPFS, DEVPTS, MQUEUE = 0x9FA0, 0x62656572, 0x01021994, 0x1CD1, 0x19800202


@pytest.mark.parametrize(
    ("options", "there", "absent"),
    [
        (["ro"], {"ro"}, {"rw"}),
        (["rw"], {"rw"}, {"ro"}),
        (["ro", "rw"], {"rw"}, {"ro"}),
        (["nosuid", "nodev", "noexec"], {"nosuid", "nodev", "noexec"}, set()),
        (["nosuid", "suid", "nodev", "dev", "noexec", "exec"], set(), {"nosuid", "nodev", "noexec"}),
        (["noatime"], {"noatime"}, {"relatime"}),
        (["relatime"], {"relatime"}, {"noatime"}),
        (["strictatime"], set(), {"relatime", "noatime"}),
        (["noatime", "atime"], {"relatime"}, {"noatime"}),
        (["nodiratime"], {"nodiratime"}, set()),
        (["nodiratime", "diratime"], set(), {"nodiratime"}),
        (["nosymfollow"], {"nosymfollow"}, set()),
        (["defaults"], {"rw"}, {"nosuid"}),
    ],
    ids=lambda value: ",".join(sorted(value)) if isinstance(value, set) else ",".join(value),
)
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_options(runtime, bundle, source, kind, options, there, absent):
    more = ["bind"] if kind == "bind" else []
    bundle.mount("/x", type=kind, source=str(source), options=[*more, *options])
    found = at(runtime.report(bundle), "/x").options
    assert there <= found
    assert not absent & found


@pytest.mark.parametrize("option", ["sync", "dirsync", "mand", "lazytime", "silent", "loud", "iversion", "noiversion",
                                    "async", "nolazytime", "nomand", "norelatime", "nostrictatime"])  # fmt: skip
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_every_option_of_the_specification_is_accepted(runtime, bundle, source, kind, option):
    more = ["bind"] if kind == "bind" else []
    bundle.mount("/x", type=kind, source=str(source), options=[*more, option])
    found = at(runtime.report(bundle), "/x")
    if kind == "tmpfs" and option in ("sync", "dirsync", "lazytime"):
        assert option in found.data | found.options


@pytest.mark.parametrize(
    ("option", "there"),
    [("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"), ("rnoatime", "noatime"),
     ("rnodiratime", "nodiratime"), ("rnosymfollow", "nosymfollow")],
)  # fmt: skip
def test_recursive_options(runtime, bundle, tree, option, there):
    bundle.mount("/x", type="bind", source=str(tree), options=["rbind", option])
    report = runtime.report(bundle)
    assert there in at(report, "/x").options
    assert there in at(report, "/x/sub").options


@pytest.mark.parametrize("option", ["rrw", "rsuid", "rdev", "rexec", "ratime", "rrelatime", "rnorelatime", "rstrictatime",
                                    "rnostrictatime", "rdiratime", "rsymfollow"])  # fmt: skip
def test_recursive_clearing_options(runtime, bundle, tree, option):
    bundle.mount("/x", type="bind", source=str(tree), options=["rbind", option])
    assert "rw" in at(runtime.report(bundle), "/x/sub").options


@pytest.mark.parametrize(
    ("option", "gone"),
    [("rrw", "ro"), ("rsuid", "nosuid"), ("rdev", "nodev"), ("rexec", "noexec"), ("ratime", "noatime"), ("rrelatime", "noatime"),
     ("rstrictatime", "noatime"), ("rdiratime", "nodiratime"), ("rsymfollow", "nosymfollow")],
)  # fmt: skip
def test_recursive_options_clear_what_the_host_has(runtime, bundle, tree, option, gone):
    for point in (tree, tree / "sub"):
        mount("none", point, flags=MS_REMOUNT | MS_BIND | EVERY_FLAG)
    bundle.mount("/x", type="bind", source=str(tree), options=["rbind", option])
    report = runtime.report(bundle)
    every = {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"}
    for point in ("/x", "/x/sub"):
        assert every - at(report, point).options == {gone}


@pytest.mark.parametrize(
    ("option", "found"),
    [("private", set()), ("shared", {"shared"}), ("slave", {"master"}), ("unbindable", {"unbindable"})],
)
@pytest.mark.parametrize("recursive", [False, True])
def test_propagation(runtime, bundle, tree, option, found, recursive):
    bundle.linux["rootfsPropagation"] = "shared"
    mount("none", tree, flags=MS_REC | MS_SHARED)
    word = f"r{option}" if recursive else option
    bundle.mount("/x", type="bind", source=str(tree), options=["rbind", word])
    report = runtime.report(bundle)
    assert at(report, "/x").propagation == found
    if recursive:
        assert at(report, "/x/sub").propagation == found
    mount("none", tree, flags=MS_REC | MS_PRIVATE)


@pytest.mark.parametrize("option", ["rshared", "rslave", "rprivate"])
def test_only_a_shared_bind_carries_the_containers_mounts_out(runtime, bundle, tree, option):
    mount("none", tree, flags=MS_REC | MS_SHARED)
    bundle.linux["rootfsPropagation"] = "shared" if option == "rshared" else "slave"
    bundle.capabilities("CAP_SYS_ADMIN")
    bundle.mount("/x", type="bind", source=str(tree), options=["rbind", option])
    before = host_mounts().count(f" {tree}/sub ")
    container = runtime.waiting(bundle, before=(["mount", "inside", "/x/sub", "tmpfs", "0"],))
    after = host_mounts().count(f" {tree}/sub ")
    if after > before:
        unmount(tree / "sub")
    mount("none", tree, flags=MS_REC | MS_PRIVATE)
    assert container.lines[0]["errno"] == 0
    assert after - before == (1 if option == "rshared" else 0)


def test_mounts_of_the_container_stay_in_it(runtime, bundle, source):
    """The host's tree is shared here (see conftest): nothing may come back."""
    bundle.mount("/x", type="bind", source=str(source), options=["bind"])
    before = host_mounts()
    container = runtime.waiting(bundle)
    assert host_mounts() == before
    container.kill("KILL")


def test_later_mounts_of_the_host_stay_out(runtime, bundle, tree):
    bundle.mount("/x", type="bind", source=str(tree), options=["rbind", "rprivate"])
    container = runtime.waiting(bundle)
    mount("late", tree / "sub", "tmpfs")
    (tree / "sub/late").write_text("x")
    found = container.exec(["stat", "/x/sub/late"]).lines[0]["errno"]
    unmount(tree / "sub")
    assert found == errno.ENOENT


def test_slave_sees_later_mounts_of_the_host(runtime, bundle, tree):
    bundle.linux["rootfsPropagation"] = "slave"
    bundle.mount("/x", type="bind", source=str(tree), options=["rbind", "rslave"])
    mount("none", tree, flags=MS_REC | MS_SHARED)
    container = runtime.waiting(bundle)
    mount("late", tree / "sub", "tmpfs")
    (tree / "sub/late").write_text("x")
    found = container.exec(["stat", "/x/sub/late"]).lines[0]["errno"]
    unmount(tree / "sub")
    mount("none", tree, flags=MS_REC | MS_PRIVATE)
    assert found == 0


def test_remount(runtime, bundle):
    bundle.mount("/x", type="tmpfs", source="x", options=["size=64k"])
    bundle.mount("/x", type="tmpfs", source="x", options=["remount", "ro", "nosuid"])
    found = at(runtime.report(bundle), "/x")
    assert {"ro", "nosuid"} <= found.options | found.data


def test_remount_of_a_tree(runtime, bundle, tree):
    bundle.mount("/x", type="bind", source=str(tree), options=["rbind"])
    bundle.mount("/x", source="none", options=["remount", "bind", "rro", "runbindable"])
    report = runtime.report(bundle)
    for point in ("/x", "/x/sub"):
        assert "ro" in at(report, point).options
        assert at(report, point).propagation == {"unbindable"}
