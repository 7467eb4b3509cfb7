"""A path means the same however it is spelled.

``/dev`` is also ``//dev``, ``/./dev``, ``/dev/.``, ``dev`` and ``/x/../dev``.  A runtime that compares the text of one
place and uses the file of another can be talked into anything that hangs on the comparison: with the host's /dev bound
on ``//dev``, it fills that directory with device nodes and replaces its ptmx.  So each path has one normal form, which
is both compared and used.
"""

import os
import stat

import pytest

pytestmark = pytest.mark.requires("root")
DEV = ["/dev", "/dev/", "//dev", "/./dev", "/dev/.", "dev", "/x/../dev", "../dev", "///.//dev//"]


@pytest.fixture
def foreign(bundle):
    """A bundle without a /dev of its own, and a directory that stands for the host's."""
    for point in ("/dev/pts", "/dev/shm", "/dev"):
        bundle.without_mount(point)
    directory = bundle.path / "dev"
    directory.mkdir()
    os.mknod(directory / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(directory / "ptmx", stat.S_IFCHR | 0o666, os.makedev(5, 2))
    return directory


@pytest.mark.parametrize("spelled", DEV)
def test_dev_of_the_host_is_left_alone(runtime, bundle, foreign, spelled):
    bundle.mount(spelled, type="bind", source=str(foreign), options=["bind"])
    assert runtime.run(bundle.args("true")).status == 0
    assert {path.name: stat.S_IFMT(path.lstat().st_mode) for path in foreign.iterdir()} == {
        "null": stat.S_IFCHR,
        "ptmx": stat.S_IFCHR,
    }


@pytest.mark.parametrize("spelled", DEV)
def test_dev_of_its_own_is_filled(runtime, bundle, spelled):
    bundle.mount_of("/dev")["destination"] = spelled
    assert {"null", "ptmx", "fd"} <= set(runtime.report(bundle)["dev"])


def test_a_remount_of_dev_is_no_dev_of_the_host(runtime, bundle):
    bundle.mount("/dev", type="bind", options=["bind", "remount", "nosuid"])
    assert {"null", "ptmx", "fd"} <= set(runtime.report(bundle)["dev"])


@pytest.mark.parametrize("spelled", ["/proc", "//proc", "/./proc/", "proc", "/x/../proc"])
def test_nothing_hides_proc(runtime, bundle, spelled):
    bundle.mount(spelled, type="tmpfs", source="x")
    runtime.refuses(bundle, "proc")


@pytest.mark.parametrize("spelled", ["/proc/self", "//proc//self", "/./proc/./self", "proc/self", "/proc/x/../self"])
def test_nothing_is_mounted_in_proc(runtime, bundle, spelled):
    bundle.mount(spelled, type="tmpfs", source="x")
    runtime.refuses(bundle, "proc")


@pytest.mark.parametrize("spelled", ["/proc/uptime", "//proc/./uptime", "proc/uptime"])
def test_what_may_be_mounted_in_proc_may_be_spelled_as_well(runtime, bundle, spelled):
    (bundle.path / "uptime").write_text("1 1\n")
    bundle.mount(spelled, type="bind", source=str(bundle.path / "uptime"), options=["bind"])
    assert runtime.probe(bundle, ["read", "/proc/uptime"])[0]["text"] == "1 1\n"


@pytest.mark.parametrize("source", ["/proc", "//proc", "/./proc/."])
def test_proc_of_the_host_may_be_bound(runtime, bundle, source):
    bundle.without_mount("/proc").without_namespace("pid")
    bundle.config["mounts"].insert(0, {"destination": "/proc", "type": "bind", "source": source, "options": ["rbind"]})
    assert runtime.run(bundle.args("true")).status == 0


def test_a_source_that_goes_up_from_a_link_is_not_proc(runtime, bundle):
    """By its text it is /proc, but the kernel follows a link first: /bin may be one."""
    bundle.without_mount("/proc")
    bundle.mount("/proc", type="bind", source="/bin/../proc", options=["bind"])
    runtime.refuses(bundle, "only proc may be mounted")


@pytest.mark.requires("cgroup_v2", "userns")
@pytest.mark.parametrize("spelled", ["/sys/fs/cgroup", "//sys/fs/cgroup/", "/sys/./fs/cgroup"])
def test_the_cgroup_belongs_to_the_container(runtime, bundle, spelled):
    bundle.user_namespace().namespace("cgroup")
    bundle.mount(spelled, type="cgroup", source="cgroup", options=["nosuid", "noexec", "nodev"])
    made = runtime.probe(bundle, ["mkdir", "/sys/fs/cgroup/below"])[0]
    assert made["errno"] == 0


@pytest.mark.parametrize("spelled", ["/proc/version", "//proc/version", "/proc/./version/", "/proc//version"])
def test_masked_and_read_only_paths(runtime, bundle, spelled):
    bundle.linux["maskedPaths"] = [spelled]
    bundle.linux["readonlyPaths"] = [spelled.replace("version", "sys")]
    version, written = runtime.probe(bundle, ["read", "/proc/version"], ["write", "/proc/sys/kernel/domainname", "x"])
    assert (version["text"], written["errno"]) == ("", 30)
