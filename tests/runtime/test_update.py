"""pause, resume and update: what changes a container's cgroup while it runs."""


import pytest

from tests.helpers_cgroups import fill_cpuset, resources, value
from tests.helpers_host import hierarchies

pytestmark = pytest.mark.requires("root")
MIB = 1 << 20


@pytest.mark.requires("freezer")
def test_pause_and_resume(runtime, bundle):
    container = runtime.waiting(bundle)
    container.call("pause").ok()
    container.kill("USR1")
    assert container.signals() == []
    assert container.status == "paused"
    container.call("pause").failed()
    container.call("resume").ok()
    container.until(container.signals, "the signal comes after the thaw")
    container.call("resume").failed()


@pytest.mark.requires("freezer")
def test_pause_at_the_gate(runtime, bundle):
    container = runtime.create(bundle.args("wait"))
    container.call("pause").ok()
    assert container.status == "paused"
    container.call("start", timeout=10).failed("paused")
    container.call("resume").ok()
    assert container.status == "created"
    container.start().until_ready()


@pytest.mark.requires("freezer")
@pytest.mark.parametrize("how", ["kill", "delete"])
def test_paused_can_be_killed(runtime, bundle, how):
    container = runtime.waiting(bundle)
    container.call("pause").ok()
    if how == "kill":
        container.kill("KILL")
        assert container.wait() == 137
    else:
        container.delete("--force").ok()


@pytest.mark.requires("freezer")
def test_pause_of_stopped(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    container.call("pause").failed()


@pytest.mark.requires("memory", "pids")
@pytest.mark.parametrize("way", ["options", "file", "stdin"])
def test_update(runtime, bundle, way):
    container = runtime.waiting(resources(bundle, memory={"limit": 64 * MIB}, pids={"limit": 50}))
    text = '{"memory": {"limit": 33554432}, "pids": {"limit": 9}}'
    if way == "options":
        runtime.call("update", "--memory", "32m", "--pids-limit", "9", container.id).ok()
    elif way == "stdin":
        runtime.call("update", "--resources=-", container.id, stdin=text).ok()
    else:
        (bundle.path / "resources.json").write_text(text)
        runtime.call("update", "-r", bundle.path / "resources.json", container.id).ok()
    assert value(container.init, "memory", "memory.limit_in_bytes", "memory.max") == str(32 * MIB)
    assert value(container.init, "pids", "pids.max", "pids.max") == "9"


@pytest.mark.requires("memory", "pids")
def test_update_leaves_the_rest(runtime, bundle):
    container = runtime.waiting(resources(bundle, memory={"limit": 64 * MIB}, pids={"limit": 50}))
    runtime.call("update", "--pids-limit", "60", container.id).ok()
    assert value(container.init, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MIB)


@pytest.mark.requires("memory", "pids", "cpu")
def test_update_by_one_option_leaves_the_rest(runtime, bundle):
    container = runtime.waiting(resources(bundle, memory={"limit": 64 * MIB}, pids={"limit": 50}, cpu={"shares": 512}))
    before = value(container.init, "cpu", "cpu.shares", "cpu.weight")
    runtime.call("update", "--memory", "32m", container.id).ok()
    assert value(container.init, "memory", "memory.limit_in_bytes", "memory.max") == str(32 * MIB)
    assert value(container.init, "pids", "pids.max", "pids.max") == "50"
    assert value(container.init, "cpu", "cpu.shares", "cpu.weight") == before


@pytest.mark.requires("pids")
def test_update_to_unlimited(runtime, bundle):
    container = runtime.waiting(resources(bundle, pids={"limit": 50}))
    runtime.call("update", "--pids-limit", "-1", container.id).ok()
    assert value(container.init, "pids", "pids.max", "pids.max") == "max"


def test_update_of_nothing(runtime, bundle):
    runtime.waiting(bundle).call("update").failed("nothing to change")


@pytest.mark.requires("memory")
@pytest.mark.parametrize("text", ["{", "[]", '{"memory": {"limit": "x"}}', '{"memory": {"limit": 1e400}}', ""])
def test_wrong_update(runtime, bundle, text):
    container = runtime.waiting(resources(bundle, memory={"limit": 64 * MIB}))
    runtime.call("update", "--resources", "-", container.id, stdin=text).failed()
    assert value(container.init, "memory", "memory.limit_in_bytes", "memory.max") == str(64 * MIB)


@pytest.mark.requires("pids")
@pytest.mark.parametrize("text", ["x", "1.5", "", "9999999999999999999999"])
def test_wrong_update_option(runtime, bundle, text):
    container = runtime.waiting(bundle)
    runtime.call("update", "--pids-limit", text, container.id).failed()


def test_update_of_stopped(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    runtime.call("update", "--pids-limit", "9", container.id).failed()


@pytest.mark.requires("freezer")
def test_create_in_a_frozen_cgroup_does_not_hang(runtime, bundle):
    frozen = []
    for root in hierarchies():
        path = root / bundle.id
        for name, text in (("freezer.state", "FROZEN"), ("cgroup.freeze", "1")):
            path.mkdir(exist_ok=True)
            fill_cpuset(path)
            if (path / name).exists():
                (path / name).write_text(text)
                frozen.append((path / name, {"FROZEN": "THAWED", "1": "0"}[text]))
    try:
        assert runtime.container(bundle).create(timeout=10).status == 1
    finally:
        for file, text in frozen:
            file.write_text(text)
        for root in hierarchies():
            if (root / bundle.id).exists():
                (root / bundle.id).rmdir()
