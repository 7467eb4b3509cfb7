"""``ro`` of a tmpfs, and of what is mounted on /dev, takes effect after all that is mounted or made below it."""

import errno

import pytest

from tests.helpers_host import mounts_of

pytestmark = pytest.mark.requires("root")
USERS = [pytest.param(False, id="host"), pytest.param(True, id="userns", marks=pytest.mark.requires("userns"))]


@pytest.fixture(params=USERS)
def shaped(request, bundle):
    """A bundle without a user namespace, and with one."""
    return bundle.user_namespace() if request.param else bundle


def at(report, point):
    """The uppermost mount on *point*."""
    return [mount for mount in mounts_of(report["mountinfo"]) if mount.point == point][-1]


@pytest.mark.parametrize("option", ["ro", "rro"])
@pytest.mark.parametrize("spelled", ["/dev", "//dev/"])
def test_dev(runtime, shaped, option, spelled):
    mount = shaped.mount_of("/dev")
    mount["destination"] = spelled
    mount["options"].append(option)
    shaped.linux["devices"] = [{"path": "/dev/deep/er", "type": "c", "major": 1, "minor": 5}]
    report = runtime.report(shaped)
    assert "ro" in at(report, "/dev").options
    assert "rw" in at(report, "/dev/shm").options
    assert {"null", "ptmx", "fd"} <= set(report["dev"])
    assert runtime.probe(shaped, ["write", "/dev/x", "x"])[0]["errno"] == errno.EROFS


def test_dev_of_another_kind(runtime, bundle):
    """Whatever is mounted there, but for a bind mount, which is left as it is."""
    bundle.mount_of("/dev").update(type="ramfs", options=["nosuid", "ro"])
    report = runtime.report(bundle)
    assert at(report, "/dev").type == "ramfs"
    assert "ro" in at(report, "/dev").options
    assert "null" in report["dev"]


def test_terminal(runtime, bundle):
    bundle.mount_of("/dev")["options"].append("ro")
    bundle.process["terminal"] = True
    assert runtime.run(bundle.args(["stat", "/dev/console"])).status == 0


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_targets_of_later_mounts_and_the_working_directory(runtime, shaped, kind):
    shaped.mount("/data", type=kind, source="x", options=["ro"])
    shaped.mount("/data/made", type="tmpfs", source="x")
    shaped.process["cwd"] = "/data/deep/er"
    report = runtime.report(shaped)
    assert "ro" in at(report, "/data").options
    assert "rw" in at(report, "/data/made").options
    assert report["cwd"] == "/data/deep/er"


def test_a_hook_may_write(runtime, bundle):
    bundle.mount("/data", type="tmpfs", source="x", options=["ro"])
    script = f"nsenter --target $(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/') --mount touch {bundle.rootfs}/data/made"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-ec", script], "env": ["PATH=/usr/bin:/bin"]}]}
    assert runtime.probe(bundle, ["list", "/data"])[0]["names"] == ["made"]


def test_of_two_mounts_on_one_place_each_has_its_own(runtime, bundle):
    bundle.mount("/data", type="tmpfs", source="first", options=["ro"])
    bundle.mount("/data", type="tmpfs", source="second")
    found = [m for m in mounts_of(runtime.report(bundle)["mountinfo"]) if m.point == "/data"]
    assert [("ro" in mount.options, mount.source) for mount in found] == [(True, "first"), (False, "second")]


@pytest.mark.parametrize(
    ("first", "then", "readonly"),
    [
        (["rw"], ["remount", "ro"], True),
        (["rw"], ["remount", "bind", "ro"], True),
        (["rw"], ["remount", "bind", "rro"], True),
        (["ro"], ["remount", "bind", "rw"], False),
        (["ro"], ["remount", "bind", "nosuid"], True),
    ],
)
def test_the_last_word_of_a_remount_holds_at_the_end(runtime, bundle, first, then, readonly):
    bundle.mount("/data", type="tmpfs", source="x", options=first)
    bundle.mount("/data", type="tmpfs", source="x", options=then)
    bundle.mount("/data/made", type="tmpfs", source="x")
    report = runtime.report(bundle)
    assert ("ro" in at(report, "/data").options) == readonly


@pytest.mark.requires("cgroup_v1")
def test_the_tmpfs_of_the_v1_hierarchies(runtime, bundle):
    bundle.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["ro"])
    bundle.mount("/sys/fs/cgroup/made", type="tmpfs", source="x")
    report = runtime.report(bundle)
    assert "ro" in at(report, "/sys/fs/cgroup").options
    assert "rw" in at(report, "/sys/fs/cgroup/made").options


def test_a_bind_mount_is_read_only_at_once(runtime, bundle, source):
    """Nothing is made in what the host lends for reading only, not even the target of a later mount."""
    bundle.mount("/data", type="bind", source=str(source), options=["bind", "ro"])
    bundle.mount("/data/made", type="tmpfs", source="x")
    runtime.refuses(bundle, "/data/made", "EROFS")
    assert not (source / "made").exists()


def test_a_remount_of_what_is_no_mount_of_the_configuration(runtime, bundle):
    """It is the root's own, and not that of the last entry."""
    (bundle.rootfs / "data").mkdir()
    bundle.mount("/", type="bind", options=["remount", "bind", "ro"])
    bundle.mount("/data", type="tmpfs", source="x")
    report = runtime.report(bundle)
    assert "ro" in at(report, "/").options
    assert "rw" in at(report, "/data").options
