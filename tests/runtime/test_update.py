"""pause, resume and update: what changes a container's cgroup while it runs."""


import pytest

from tests.helpers_cgroups import resources, value

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


@pytest.mark.requires("pids")
@pytest.mark.parametrize("version", ["1.0.2", "1.2.1", "1.3.0"])
def test_update_to_zero_tasks_says_what_it_means(runtime, bundle, version):
    """No limit before 1.3, as in config.json; and the one who types it is told."""
    bundle.config["ociVersion"] = version
    container = runtime.waiting(resources(bundle, pids={"limit": 50}))
    result = runtime.call("update", "--pids-limit", "0", container.id)
    text = "0" if version == "1.3.0" else "max"
    assert result.status == 0 and "warning: " in result.err and f"pids.max is {text} now" in result.err, result
    assert value(container.init, "pids", "pids.max", "pids.max") == text
    runtime.call("update", "--resources", "-", container.id, stdin='{"pids": {"limit": 0}}').ok()


NOTHING = ["{}", '{"memory": {}}', '{"memory": null, "cpu": null, "devices": null}', '{"pids": {"limit": null}}']


@pytest.mark.parametrize("manager", ["cgroupfs", "disabled"])
@pytest.mark.parametrize("text", ["", *NOTHING])
def test_update_with_nothing_to_do_succeeds(runtime, bundle, text, manager):
    container = runtime.container(bundle)
    words = ("--bundle", bundle.args("wait").write(), bundle.id)
    runtime.call("create", *words, options=("--cgroup-manager", manager), out=container.stdout).ok()
    if text:
        runtime.call("update", "--resources", "-", container.id, stdin=text).ok()
    else:
        runtime.call("update", container.id).ok()


@pytest.mark.requires("memory")
def test_update_takes_null_as_absent(runtime, bundle):
    container = runtime.waiting(resources(bundle, memory={"limit": 64 * MIB}))
    text = '{"devices": null, "memory": {"limit": 33554432, "reservation": null, "swappiness": null}, "cpu": null}'
    runtime.call("update", "--resources", "-", container.id, stdin=text).ok()
    assert value(container.init, "memory", "memory.limit_in_bytes", "memory.max") == str(32 * MIB)


@pytest.mark.requires("memory")
@pytest.mark.parametrize(("text", "size"), [("48MiB", 48 * MIB), ("48mb", 48 * MIB), ("0.0625g", 64 * MIB), ("32768 k", 32 * MIB)])
def test_update_reads_sizes_as_docker_does(runtime, bundle, text, size):
    container = runtime.waiting(bundle)
    runtime.call("update", "--memory", text, container.id).ok()
    assert value(container.init, "memory", "memory.limit_in_bytes", "memory.max") == str(size)


@pytest.mark.parametrize(
    ("text", "place", "meant"),
    [
        ('{"memry": {"limit": 1}}', "1:11: /memry", "memory"),
        ('{"memory": {\n"limt": 1}}', "2:9: /memory/limt", "limit"),
        ('{"linux": {"resources": {}}}', "1:11: /linux", ""),
        ('{"blockIO": {"weightDevice": [{"major": 1, "minor": 1, "weigt": 2}]}}', ": /blockIO/weightDevice/0/weigt", "weight"),
    ],
)
def test_update_with_an_unknown_member_is_an_error(runtime, bundle, text, place, meant):
    """Else a limit that is misspelt, or stands in the wrong place, would not be changed, without a word."""
    container = runtime.waiting(bundle)
    line = runtime.call("update", "--resources", "-", container.id, stdin=text).failed(place, "unknown member")
    assert (f'did you mean "{meant}"?' in line) == bool(meant)


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
    runtime.call("update", "--pids-limit", text, container.id).failed("--pids-limit")


@pytest.mark.parametrize("option", ["--memory", "--cpu-quota", "--cpuset-cpus", "--blkio-weight"])
def test_empty_update_option_is_a_mistake(runtime, bundle, option):
    """An unset variable in a script: it must not count as "nothing to do"."""
    runtime.call("update", option, "", runtime.waiting(bundle).id).failed(option)


def test_update_of_stopped(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    runtime.call("update", "--pids-limit", "9", container.id).failed()
