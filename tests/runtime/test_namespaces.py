"""config-linux.md, namespaces: new ones, joined ones, id mappings, time offsets, sysctl, host names."""

import os
import signal
import subprocess

import pytest

from tests.helpers_bundle import HOST_ID, ID_COUNT
from tests.helpers_host import mounts_of
from tests.helpers_runtime import wait_until

pytestmark = pytest.mark.requires("root")
KINDS = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup", "time": "time"}
IFF_UP, IFF_LOOPBACK = 1, 8


def ours(kind):
    """The harness's namespace of a kind, as /proc names it."""
    return os.readlink(f"/proc/self/ns/{kind}")


def test_new_namespaces(runtime, bundle):
    bundle.namespace("cgroup")
    found = runtime.report(bundle)["namespaces"]
    for kind in ("pid", "net", "ipc", "uts", "mnt", "cgroup"):
        assert found[kind] != ours(kind), kind
    assert found["user"] == ours("user")


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_inherited_namespace(runtime, bundle, kind):
    bundle.without_namespace(kind)
    if kind == "uts":
        del bundle.config["hostname"]
    assert runtime.report(bundle)["namespaces"][KINDS[kind]] == ours(KINDS[kind])


def test_no_namespace_but_mount(runtime, bundle):
    for kind in ("pid", "network", "ipc", "uts"):
        bundle.without_namespace(kind)
    del bundle.config["hostname"]
    found = runtime.report(bundle)["namespaces"]
    # A kind that the kernel does not have is not among those found.
    assert [kind for kind in KINDS.values() if kind in found and found[kind] != ours(kind)] == ["mnt"]


@pytest.mark.parametrize(
    "kind", ["pid", "network", "ipc", "uts", "cgroup", pytest.param("time", marks=pytest.mark.requires("timens"))]
)
def test_joined_by_path(runtime, bundles, kind):
    """A second container joins a namespace of a first."""
    first, second = bundles(), bundles()
    for bundle in (first, second):
        bundle.namespace("cgroup").namespace(kind)
    if kind == "uts":
        del second.config["hostname"]
    owner = runtime.waiting(first)
    second.namespace(kind, path=f"/proc/{owner.init}/ns/{KINDS[kind]}")
    found = runtime.report(second)["namespaces"][KINDS[kind]]
    assert found == os.readlink(f"/proc/{owner.init}/ns/{KINDS[kind]}")
    assert owner.status == "running", "the owner of a joined namespace is left alone"


def test_joined_mount_namespace(runtime, bundle):
    """The container's root is pivoted into, there: who joins one has made it for this container."""
    holder = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "cat"], stdin=subprocess.PIPE)
    wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/mnt") != ours("mnt"), "it has its namespace")
    try:
        bundle.namespace("mount", path=f"/proc/{holder.pid}/ns/mnt")
        found = runtime.report(bundle)["namespaces"]["mnt"]
        assert found == os.readlink(f"/proc/{holder.pid}/ns/mnt")
    finally:
        holder.communicate()


@pytest.mark.parametrize("pid", ["self", "1"])
def test_mount_namespace_of_the_host_is_not_joined(runtime, bundle, pid):
    """Its root would be the container's.  That of the caller and that of process 1 are thrown away here."""
    inner = 'mount -t proc proc /proc && exec unshare --mount --propagation private "$@"'
    host = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    runtime.command = [*host, "sh", "-c", 'sh -c "$0" sh "$@"; exit $?', inner, *runtime.command]
    bundle.namespace("mount", path=f"/proc/{pid}/ns/mnt")
    result = runtime.call("create", "--bundle", bundle.write(), bundle.id)
    result.failed("/linux/namespaces", "the host's mount namespace")


def test_joined_pid_namespace(runtime, bundles):
    first, second = bundles(), bundles()
    owner = runtime.waiting(first)
    second.namespace("pid", path=f"/proc/{owner.init}/ns/pid")
    container = runtime.waiting(second)
    with open(f"/proc/{container.init}/status") as status:
        inner = next(line for line in status if line.startswith("NSpid:")).split()
    assert len(inner) == 3 and inner[2] != "1"
    container.kill("KILL")
    assert container.wait() == 128 + signal.SIGKILL


def test_all_joined_at_once(runtime, bundles):
    """As the containers of a pod."""
    first, second = bundles(), bundles()
    owner = runtime.waiting(first)
    del second.config["hostname"]
    for kind in ("network", "ipc", "uts", "pid"):
        second.namespace(kind, path=f"/proc/{owner.init}/ns/{KINDS[kind]}")
    found = runtime.report(second)
    assert found["hostname"] == "box"
    assert all(found["namespaces"][KINDS[k]] == os.readlink(f"/proc/{owner.init}/ns/{KINDS[k]}") for k in ("network", "ipc"))


@pytest.mark.parametrize(("kind", "path"), [("network", "/proc/self/ns/uts"), ("ipc", "/proc/self/ns/mnt"),
                                            ("uts", "/etc/hostname"), ("network", "/proc/self/ns/nothing")])  # fmt: skip
def test_wrong_path(runtime, bundle, kind, path):
    del bundle.config["hostname"]
    bundle.namespace(kind, path=path)
    runtime.refuses(bundle, path)


def test_namespace_that_is_a_fifo_does_not_hang(runtime, bundle):
    os.mkfifo(bundle.path / "fifo")
    bundle.namespace("network", path=str(bundle.path / "fifo"))
    runtime.refuses(bundle, timeout=10)


def test_host_and_domain_name(runtime, bundle):
    bundle.config.update(hostname="host.example", domainname="example.org")
    report = runtime.report(bundle)
    assert (report["hostname"], report["domainname"]) == ("host.example", "example.org")
    assert os.uname().nodename != "host.example"


def test_longest_host_name(runtime, bundle):
    bundle.config["hostname"] = "h" * 64
    assert runtime.report(bundle)["hostname"] == "h" * 64


def test_too_long_host_name(runtime, bundle):
    bundle.config["hostname"] = "h" * 65
    runtime.refuses(bundle)


def test_loopback_is_up(runtime, bundle):
    assert runtime.report(bundle)["loopback"] & (IFF_UP | IFF_LOOPBACK) == IFF_UP | IFF_LOOPBACK


def test_pid_one(runtime, bundle):
    report = runtime.report(bundle)
    assert (report["pid"], report["ppid"], report["sid"], report["pgid"]) == (1, 0, 1, 1)


# ---- user namespaces


@pytest.mark.requires("userns")
def test_user_namespace(runtime, bundle):
    bundle.user_namespace()
    report = runtime.report(bundle)
    assert report["namespaces"]["user"] != ours("user")
    assert report["uids"] == report["gids"] == [0, 0, 0]
    assert report["uid_map"].split() == report["gid_map"].split() == ["0", str(HOST_ID), str(ID_COUNT)]


@pytest.mark.requires("userns")
def test_user_namespace_is_real_outside(runtime, bundle):
    bundle.user_namespace()
    bundle.process["user"] = {"uid": 7, "gid": 8, "additionalGids": [9]}
    container = runtime.waiting(bundle)
    with open(f"/proc/{container.init}/status") as status:
        lines = dict(line.split(":\t", 1) for line in status)
    assert lines["Uid"].split() == [str(HOST_ID + 7)] * 4
    assert lines["Gid"].split() == [str(HOST_ID + 8)] * 4
    assert str(HOST_ID + 9) in lines["Groups"].split()


@pytest.mark.requires("userns")
def test_user_namespace_leaves_the_owners_of_files(runtime, bundle):
    file = bundle.rootfs / "etc/file"
    bundle.user_namespace()
    file.write_text("x")
    runtime.probe(bundle, "true")
    assert (file.stat().st_uid, bundle.rootfs.stat().st_uid) == (0, HOST_ID)


@pytest.mark.requires("userns")
def test_many_mappings(runtime, bundle):
    bundle.user_namespace()
    # 340 are allowed, but the kernel takes no more text than fits in a page.
    bundle.linux["uidMappings"] = [
        {"containerID": n * 10, "hostID": HOST_ID + n * 10, "size": 10} for n in range(200)
    ]
    assert len(runtime.report(bundle)["uid_map"].splitlines()) == 200


@pytest.mark.requires("userns")
def test_devices_in_a_user_namespace(runtime, bundle):
    bundle.user_namespace()
    lines = runtime.probe(bundle, ["write", "/dev/null", "x"], ["lstat", "/dev/zero"], ["write", "/dev/full", "x"])
    assert lines[0]["errno"] == 0
    assert (lines[1]["type"], lines[1]["minor"]) == ("c", 5)


@pytest.mark.requires("userns")
def test_bound_devices_have_no_flags_to_spare(runtime, bundle):
    bundle.user_namespace()
    found = {m.point: m.options for m in mounts_of(runtime.report(bundle)["mountinfo"])}
    assert {"nosuid", "noexec"} <= found["/dev/null"] & found["/dev/urandom"]


@pytest.mark.requires("userns")
def test_configured_device_in_a_user_namespace(runtime, bundle):
    """It has its own owner and mode, works, and need not be on the host."""
    bundle.user_namespace()
    bundle.linux["devices"] = [
        {"path": "/dev/nil", "type": "c", "major": 1, "minor": 3, "uid": 7, "gid": 8, "fileMode": 0o620},
        {"path": "/dev/deep/er", "type": "c", "major": 1, "minor": 5},
    ]
    nil, other, written = runtime.probe(
        bundle, ["lstat", "/dev/nil"], ["lstat", "/dev/deep/er"], ["write", "/dev/deep/er", "x"]
    )
    assert [nil[key] for key in ("type", "major", "minor", "uid", "gid", "mode")] == ["c", 1, 3, 7, 8, 0o620]
    assert [other[key] for key in ("type", "major", "minor", "uid", "gid", "mode")] == ["c", 1, 5, 0, 0, 0o666]
    assert written["errno"] == 0


@pytest.mark.requires("userns")
def test_device_of_an_owner_that_is_not_mapped(runtime, bundle):
    bundle.user_namespace(size=10)
    bundle.linux["devices"] = [{"path": "/dev/nil", "type": "c", "major": 1, "minor": 3, "uid": 10}]
    runtime.refuses(bundle, "/linux/devices/0/uid", "10 is not mapped")


@pytest.mark.requires("userns")
def test_bind_source_that_the_mapped_root_cannot_reach(runtime, bundle):
    """The host side opens bind sources."""
    private = bundle.path / "private"
    (private / "inner").mkdir(parents=True, mode=0o755)
    (private / "inner/file").write_text("reached")
    private.chmod(0o700)
    bundle.user_namespace()
    bundle.mount("/data", type="bind", source=str(private / "inner"), options=["bind"])
    assert runtime.probe(bundle, ["read", "/data/file"])[0]["text"] == "reached"


@pytest.mark.requires("userns")
def test_sysfs_without_own_network_namespace(runtime, bundle):
    """The kernel refuses a new sysfs there; the host's is bound instead."""
    bundle.user_namespace().without_namespace("network")
    mounted = mounts_of(runtime.report(bundle)["mountinfo"])
    found = [m for m in mounted if m.point == "/sys"]
    assert found and found[-1].type == "sysfs"
    assert [m.point for m in mounted if m.point.startswith("/sys") and "ro" not in m.options] == []


@pytest.mark.requires("userns")
def test_joined_user_namespace(runtime, bundles):
    first, second = bundles().user_namespace(), bundles().user_namespace()
    owner = runtime.waiting(first)
    for member in ("uidMappings", "gidMappings"):
        del second.linux[member]
    second.namespace("user", path=f"/proc/{owner.init}/ns/user")
    report = runtime.report(second)
    assert report["namespaces"]["user"] == os.readlink(f"/proc/{owner.init}/ns/user")
    assert report["uids"] == [0, 0, 0]


@pytest.mark.requires("userns")
def test_exec_in_a_user_namespace(runtime, bundle):
    container = runtime.waiting(bundle.user_namespace())
    report = container.exec_report()
    assert report["uids"] == [0, 0, 0]
    assert report["namespaces"]["user"] == os.readlink(f"/proc/{container.init}/ns/user")


# ---- time


@pytest.mark.requires("timens")
def test_time_offsets(runtime, bundle):
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 172800, "nanosecs": 5}, "boottime": {"secs": 604800}}
    report = runtime.report(bundle)
    assert report["namespaces"]["time"] != ours("time")
    offsets = {line.split()[0]: line.split()[1:] for line in report["timens_offsets"].splitlines()}
    assert offsets == {"monotonic": ["172800", "5"], "boottime": ["604800", "0"]}
    assert report["monotonic"] >= 172800


@pytest.mark.requires("timens")
def test_exec_sees_the_time_offsets(runtime, bundle):
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 604800}}
    container = runtime.waiting(bundle)
    assert container.exec_report()["boottime"] >= 604800


@pytest.mark.requires("timens")
def test_negative_time_before_boot(runtime, bundle):
    bundle.namespace("time")
    bundle.linux["timeOffsets"] = {"boottime": {"secs": -(10**9)}}
    runtime.refuses(bundle)


# ---- sysctl


def test_sysctl(runtime, bundle):
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "kernel.msgmax": "12345"}
    values = runtime.probe(
        bundle, ["read", "/proc/sys/net/ipv4/ip_forward"], ["read", "/proc/sys/kernel/shm_rmid_forced"],
        ["read", "/proc/sys/kernel/msgmax"],
    )  # fmt: skip
    assert [value["text"] for value in values] == ["1\n", "1\n", "12345\n"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("kernel.panic", "1"), ("vm.swappiness", "1"), ("net.ipv4.no_such_thing", "1"), ("net.ipv4.ip_forward", "no number"),
     ("net/../kernel/panic", "1"), ("fs.file-max", "100")],
)  # fmt: skip
def test_sysctl_of_the_host_or_wrong(runtime, bundle, name, value):
    bundle.linux["sysctl"] = {name: value}
    runtime.refuses(bundle)


@pytest.mark.parametrize(("name", "kind"), [("net.ipv4.ip_forward", "network"), ("kernel.msgmax", "ipc")])
def test_sysctl_needs_its_namespace(runtime, bundle, name, kind):
    bundle.linux["sysctl"] = {name: "1"}
    bundle.without_namespace(kind)
    runtime.refuses(bundle, name)
