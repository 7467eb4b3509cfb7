"""config-linux.md, control groups: where the container is, and that limits hold, for the hierarchy at hand."""

import errno
import json
import os

import pytest

from tests.helpers_bundle import HOST_ID
from tests.helpers_cgroups import fill_cpuset, membership, resources, value
from tests.helpers_host import block_device, controllers, hierarchies
from tests.helpers_leaks import cgroups

pytestmark = pytest.mark.requires("root")
MIB = 1 << 20


def test_absolute_path_in_every_hierarchy(runtime, bundle):
    container = runtime.create(bundle)
    for controller, path in membership(container.init).items():
        assert path.name == bundle.id, controller


def test_path_unset(runtime, bundle):
    del bundle.linux["cgroupsPath"]
    container = runtime.create(bundle)
    assert all(bundle.id in str(path) for path in membership(container.init).values())


def test_same_path_same_place(runtime, bundle):
    container = runtime.create(bundle)
    first = membership(container.init)
    container.delete().ok()
    assert membership(runtime.create(bundle).init) == first


def test_nested_path(runtime, bundle):
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/deep/er"
    container = runtime.create(bundle)
    assert all(path.parts[-3:] == (bundle.id, "deep", "er") for path in membership(container.init).values())
    container.delete().ok()
    for path in cgroups(bundle.id):
        path.rmdir()  # parents are left alone by peers; if they are, they must be empty


@pytest.mark.parametrize("path", ["/../../{}", "/a/../../../{}", "../../{}"])
def test_path_cannot_leave_the_hierarchy(runtime, bundle, path):
    bundle.linux["cgroupsPath"] = path.format(bundle.id)
    container = runtime.container(bundle)
    if container.create().status == 0:
        roots = hierarchies()
        for place in membership(container.init).values():
            assert any(root in place.resolve().parents for root in roots)
        container.delete("--force").ok()
    for left in cgroups(bundle.id):
        left.rmdir()


def test_delete_removes_the_cgroup(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    container.delete().ok()
    assert not cgroups(bundle.id)


def test_cgroup_that_was_there_is_left_there(runtime, bundle):
    """Delete never removes what create did not make."""
    made = [root / bundle.id for root in hierarchies()]
    for path in made:
        path.mkdir()
        fill_cpuset(path)
    container = runtime.create(bundle)
    container.delete().ok()
    left = [path for path in made if path.exists()]
    for path in left:
        path.rmdir()
    assert left == made


def test_manager_disabled(runtime, bundle):
    before = membership(os.getpid())
    container = runtime.container(bundle)
    runtime.call(
        "create", "--bundle", bundle.write(), bundle.id, options=("--cgroup-manager", "disabled"), out=container.stdout
    ).ok()
    assert membership(container.pid) == before
    assert not cgroups(bundle.id)


def test_every_process_is_inside(runtime, bundle):
    container = runtime.waiting(bundle, before=("spawn", ["spawn", "session"]))
    paths = set(membership(container.init).values())
    for path in paths:
        assert len((path / "cgroup.procs").read_text().split()) == 3, path


@pytest.mark.requires("cgroup_v2", "cgroupns", "userns")
@pytest.mark.parametrize("option", ["rw", "ro", "rro"])
def test_owner_of_the_cgroup(runtime, bundle, option):
    """The container's root, if it could write there: config-linux.md#cgroup-ownership."""
    bundle.user_namespace().namespace("cgroup")
    bundle.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=[option])
    container = runtime.create(bundle)
    assert membership(container.init)[""].stat().st_uid == (HOST_ID if option == "rw" else 0)


# ---- limits


@pytest.mark.requires("memory")
def test_memory_limit(runtime, bundle):
    container = runtime.create(resources(bundle, memory={"limit": 64 * MIB}))
    assert value(container.init, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MIB)


@pytest.mark.requires("memory")
def test_memory_limit_holds(runtime, bundle):
    bundle.process["oomScoreAdj"] = 1000
    container = runtime.start(resources(bundle.args(["memory", 200 * MIB]), memory={"limit": 32 * MIB, "swap": 32 * MIB}))
    assert container.wait() == 137


@pytest.mark.requires("memory")
@pytest.mark.parametrize("limit", [2 * MIB, 6 * MIB])
def test_small_memory_limit_still_starts(runtime, bundle, limit):
    assert runtime.run(resources(bundle.args(["echo", "small"]), memory={"limit": limit})).ok().out == "small\n"


@pytest.mark.requires("memory")
def test_memory_reservation(runtime, bundle):
    container = runtime.create(resources(bundle, memory={"reservation": 16 * MIB, "limit": -1}))
    assert value(container.init, "memory", "memory.soft_limit_in_bytes", "memory.low") == str(16 * MIB)


@pytest.mark.requires("pids")
@pytest.mark.parametrize(
    ("limit", "version", "text"),
    [(7, "1.0.2", "7"), (0, "1.3.0", "0"), (0, "1.2.1", "max"), (-1, "1.3.0", "max"), (-1, "1.0.2", "max")],
)
def test_pids_limit(runtime, bundle, limit, version, text):
    """Before 1.3 a limit of 0 was none: Podman writes it for --pids-limit=-1."""
    bundle.config["ociVersion"] = version
    container = runtime.create(resources(bundle, pids={"limit": limit}))
    assert value(container.init, "pids", "pids.max", "pids.max") == text


NO_LIMIT = {
    "pids -1": {"pids": {"limit": -1}},
    "pids 0 before 1.3": {"pids": {"limit": 0}},
    "memory -1": {"memory": {"limit": -1, "reservation": -1, "swap": -1}},
    "kernel memory -1": {"memory": {"kernel": -1, "kernelTCP": -1}},
    "memory 0": {"memory": {"limit": 0, "swap": 0, "reservation": 0}},
    "quota -1": {"cpu": {"quota": -1, "period": 50000, "burst": 0, "idle": 0}},
    "cpu 0": {"cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0}},
    "rate 0": {"blockIO": {"weight": 0, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}},
}


@pytest.mark.parametrize("kind", NO_LIMIT)
def test_no_limit_needs_no_controller(runtime, bundle, kind):
    """Engines write out what they do not limit; a host without the controller does not limit it either."""
    if kind == "rate 0" and {"io", "blkio"} & controllers().keys():
        bundle.linux["resources"] = {}  # there the kernel looks for the device
    else:
        resources(bundle, **NO_LIMIT[kind])
    container = runtime.waiting(bundle)
    runtime.call("update", "--resources", "-", container.id, stdin=json.dumps(bundle.linux["resources"])).ok()


@pytest.mark.requires("pids")
@pytest.mark.parametrize("limit", [-1, 0, 5])
def test_no_limit_of_tasks_without_the_v1_hierarchy(runtime, bundle, limit):
    """As on a v1 host whose kernel has no pids controller: only a real limit is an error there."""
    version, point = controllers()["pids"]
    if version != 1:
        pytest.skip("requires the v1 controller pids")
    view = ["unshare", "--mount", "sh", "-c", f'umount {point} && exec "$@"', "sh"]
    runtime.command = [*view, *runtime.command]
    if limit == 5:
        runtime.refuses(resources(bundle, pids={"limit": limit}), "/linux/resources/pids/limit", "no pids controller")
    else:
        runtime.create(resources(bundle, pids={"limit": limit})).delete("--force").ok()


@pytest.mark.parametrize(
    ("controller", "members"),
    [("pids", {"pids": {"limit": 5}}), ("memory", {"memory": {"limit": 64 * MIB}}), ("cpu", {"cpu": {"quota": 5000}})],
)
def test_a_limit_without_its_controller_is_an_error(runtime, bundle, controller, members):
    if controller in controllers():
        pytest.skip(f"requires a host without the controller {controller}")
    runtime.refuses(resources(bundle, **members), f"/linux/resources/{controller}/", "controller")


@pytest.mark.requires("pids")
def test_pids_limit_holds(runtime, bundle):
    found = runtime.probe(resources(bundle, pids={"limit": 5}), ["forks", 20])[0]
    assert (found["forked"], found["errno"]) == (4, errno.EAGAIN)


@pytest.mark.requires("pids")
def test_pids_limit_of_one_starts(runtime, bundle):
    assert runtime.run(resources(bundle.args(["echo", "alone"]), pids={"limit": 1})).ok().out == "alone\n"


@pytest.mark.requires("pids")
def test_pids_limit_does_not_count_the_hooks_of_create(runtime, bundle):
    """They run in the container's cgroup, and are not what is to be limited."""
    script = "for each in 1 2 3; do sleep 0 & done; wait"
    bundle.config["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-ec", script], "env": ["PATH=/usr/bin:/bin"]}]}
    assert runtime.probe(resources(bundle, pids={"limit": 1}), ["forks", "1"])[0]["forked"] == 0


@pytest.mark.requires("cpu")
def test_cpu_shares(runtime, bundle):
    container = runtime.create(resources(bundle, cpu={"shares": 1024}))
    number, _ = controllers()["cpu"]
    assert value(container.init, "cpu", "cpu.shares", "cpu.weight") == ("1024" if number == 1 else "100")


@pytest.mark.requires("cpu")
def test_cpu_quota(runtime, bundle):
    container = runtime.create(resources(bundle, cpu={"quota": 20000, "period": 50000}))
    if controllers()["cpu"][0] == 2:
        assert value(container.init, "cpu", "", "cpu.max") == "20000 50000"
    else:
        assert value(container.init, "cpu", "cpu.cfs_quota_us", "") == "20000"
        assert value(container.init, "cpu", "cpu.cfs_period_us", "") == "50000"


@pytest.mark.requires("cpuset")
def test_cpuset(runtime, bundle):
    bundle = resources(bundle, cpu={"cpus": "0", "mems": "0"})
    report = runtime.report(bundle)
    assert report["affinity"] == [0]


@pytest.mark.requires("block_device")
def test_block_io_throttle(runtime, bundle):
    if not {"blkio", "io"} & controllers().keys():
        pytest.skip("no block I/O controller in any cgroup hierarchy")
    major, minor = map(int, block_device().split(":"))
    container = runtime.create(
        resources(bundle, blockIO={"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1048576}]})
    )
    name = "io" if "io" in controllers() else "blkio"
    text = value(container.init, name, "blkio.throttle.read_bps_device", "io.max")
    assert f"{major}:{minor}" in text and "1048576" in text


@pytest.mark.requires("cgroup_v2", "pids")
def test_unified(runtime, bundle):
    container = runtime.create(resources(bundle, unified={"pids.max": "11"}))
    assert value(container.init, "pids", "", "pids.max") == "11"


@pytest.mark.requires("cgroup_v2")
@pytest.mark.parametrize("name", ["no_such.file", "../cgroup.procs", "memory/max"])
def test_wrong_unified(runtime, bundle, name):
    runtime.refuses(resources(bundle, unified={name: "1"}))


@pytest.mark.requires("memory", "cgroup_v2")
@pytest.mark.parametrize("member", [{"kernel": MIB}, {"swappiness": 10}, {"disableOOMKiller": True}])
def test_what_version_2_cannot_express_is_an_error(runtime, bundle, member):
    runtime.refuses(resources(bundle, memory={"limit": 64 * MIB, **member}), "/linux/resources/memory")


def test_network_class(runtime, bundle):
    """Set where the controller is in use, refused where it is not."""
    resources(bundle, network={"classID": 5})
    if "net_cls" in controllers():
        assert value(runtime.create(bundle).init, "net_cls", "net_cls.classid", "") == "5"
    else:
        runtime.refuses(bundle, "/linux/resources/network/classID")


# ---- devices


def device_rules(bundle, *rules):
    """Allow CAP_MKNOD, deny all devices, then *rules*."""
    bundle.capabilities("CAP_MKNOD", "CAP_SYS_ADMIN")
    bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}, *rules]}
    return bundle


@pytest.mark.requires("devices")
def test_devices_denied(runtime, bundle):
    _devices_denied(runtime, bundle)


@pytest.mark.requires("cgroup_v2")
def test_devices_denied_by_a_program(runtime, bundle):
    _devices_denied(runtime, bundle)


def _devices_denied(runtime, bundle):
    made, opened, null, full = runtime.probe(
        device_rules(bundle), ["mknod", "/tmp/disk", "b", "7", "0"], ["open", "/tmp/disk"], ["open", "/dev/null", "rw"],
        ["open", "/dev/full", "rw"],
    )  # fmt: skip
    assert made["errno"] == 0, "making nodes is always allowed"
    assert opened["errno"] == errno.EPERM
    assert null["errno"] == full["errno"] == 0


@pytest.mark.requires("device_rules")
@pytest.mark.parametrize("last", ["allowed", "denied"])
def test_device_rules_in_listed_order(runtime, bundle, last):
    rules = [
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"},
        {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "w"},
    ]
    if last == "allowed":
        rules.reverse()
    made, reading, writing = runtime.probe(
        device_rules(bundle, *rules), ["mknod", "/tmp/kmsg", "c", "1", "11"], ["open", "/tmp/kmsg", "r"],
        ["open", "/tmp/kmsg", "w"],
    )  # fmt: skip
    assert made["errno"] == 0
    assert writing["errno"] == (errno.EPERM if last == "denied" else 0)
    assert reading["errno"] in (0, errno.EPERM)  # the kernel may forbid it by itself (dmesg_restrict)


@pytest.mark.requires("device_rules")
def test_device_rule_for_one_access(runtime, bundle):
    rule = {"allow": True, "type": "c", "major": 7, "minor": 1, "access": "r"}
    made, reading, writing = runtime.probe(
        device_rules(bundle, rule), ["mknod", "/tmp/vcs1", "c", "7", "1"], ["open", "/tmp/vcs1", "r"],
        ["open", "/tmp/vcs1", "w"],
    )  # fmt: skip
    assert made["errno"] == 0
    assert reading["errno"] != errno.EPERM
    assert writing["errno"] == errno.EPERM


# ---- what is refused, and what is said then


@pytest.mark.requires("cgroup_v2_mounted")
@pytest.mark.parametrize("name", ["memory", "pids", "cgroup", "max", "memory."])
def test_a_unified_key_without_a_dot_is_no_file(runtime, bundle, name):
    """Not "an unavailable controller": there may well be one of this name."""
    runtime.refuses(resources(bundle, unified={name: "1"}), f"/linux/resources/unified/{name}: the key must begin with")


REFUSED = [
    ("cpu", {"quota": 10}, "quota", "at least 1000 microseconds"),
    ("cpu", {"quota": 5000, "period": 999}, "", "a period has 1000 to 1000000 microseconds"),
    ("cpu", {"quota": 5000, "period": 1000001}, "", "a period has 1000 to 1000000 microseconds"),
    ("cpuset", {"cpus": "8190"}, "cpus", "the CPUs that can be used here are "),
    ("cpuset", {"mems": "1000"}, "mems", "the memory nodes that can be used here are 0"),
]


@pytest.mark.parametrize(("controller", "cpu", "member", "words"), REFUSED)
def test_what_the_kernel_refuses_is_told_with_the_range(runtime, bundle, controller, cpu, member, words):
    if controller not in controllers():
        pytest.skip(f"requires {controller}: no {controller} controller in any cgroup hierarchy")
    runtime.refuses(resources(bundle, cpu=cpu), f"/linux/resources/cpu/{member}", words)


@pytest.mark.requires("pids")
def test_too_many_tasks_are_told_with_the_range(runtime, bundle):
    runtime.refuses(resources(bundle, pids={"limit": 4194305}), "/linux/resources/pids/limit", "at most 4194304 tasks")
