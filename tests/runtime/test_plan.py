"""What `plan` shows is what create does: compared with the container that is made, from outside."""

import json
import os
from pathlib import Path

import pytest

from tests.helpers_host import controllers
from tests.helpers_runtime import wait_until


def entries(runtime, bundle, *options):
    return json.loads(runtime.call("plan", "--json", "--bundle", bundle.write(), *options, bundle.id).ok().out)


def by_host(planned, what):
    return [(entry["path"], entry["value"]) for entry in planned if entry["by"] == "pyoci" and entry["what"].startswith(what)]


LIMITS = {"pids": {"limit": 77}, "memory": {"limit": 64 << 20}, "cpu": {"shares": 512, "quota": 50000, "period": 100000}}


def test_cgroups_and_their_values(runtime, bundle):
    """Each directory is made, and each file has the value that the plan shows."""
    limits = {name: limit for name, limit in LIMITS.items() if name in controllers()}
    bundle.linux["resources"] = limits
    planned = entries(runtime, bundle)
    made = by_host(planned, "making the cgroup")
    assert made and not any(Path(path).exists() for path, _ in made)
    runtime.create(bundle)
    assert all(Path(path).is_dir() for path, _ in made)
    values = by_host(planned, "setting ")
    values = [(path, value) for path, value in values if "/devices." not in path]
    assert len(values) >= len(limits)
    assert {path: Path(path).read_text().strip() for path, _ in values} == dict(values)


def test_the_state_directory(runtime, bundle):
    planned = entries(runtime, bundle)
    (directory,) = [path for path, _ in by_host(planned, "making the container's directory")]
    assert directory == f"{runtime.root}/{bundle.id}"
    assert not Path(directory).exists()
    runtime.create(bundle)
    for what in ("keeping the configuration", "making a FIFO", "recording the container"):
        assert all(Path(path).exists() for path, _ in by_host(planned, what)), what


@pytest.mark.requires("root")
def test_id_maps(runtime, bundle):
    bundle.user_namespace()
    planned = entries(runtime, bundle)
    container = runtime.create(bundle)
    for path, value in by_host(planned, "writing "):
        shown = Path(path.replace("STAGE", str(container.init))).read_text()
        assert [line.split() for line in shown.splitlines()] == [line.split() for line in value.splitlines()]


def test_hooks_are_in_their_place(runtime, bundle):
    hook = [{"path": "/bin/true", "args": ["true", "x"], "env": ["A=b"], "timeout": 5}]
    bundle.config["hooks"] = {name: hook for name in ("prestart", "createRuntime", "poststart", "poststop")}
    planned = entries(runtime, bundle)
    order = [entry["origin"].split("/")[2] for entry in planned if entry["origin"].startswith("/hooks/")]
    assert order == ["prestart", "createRuntime", "poststart", "poststop"]
    assert by_host(planned, "running the prestart hook, at most 5 s") == [("/bin/true", "true x [A=b]")]


@pytest.mark.parametrize("view", ["v1", "v2", "hybrid"])
def test_another_host(runtime, bundle, view):
    bundle.linux["resources"] = {"memory": {"limit": 1 << 20}, "cpu": {"shares": 1024}}
    files = {os.path.basename(path): value for path, value in by_host(entries(runtime, bundle, "--view", view), "setting ")}
    if view == "v2":
        assert (files["memory.max"], files["cpu.weight"]) == ("1048576", "100")
    else:
        assert (files["memory.limit_in_bytes"], files["cpu.shares"]) == ("1048576", "1024")


def test_an_unknown_view(runtime, bundle):
    runtime.call("plan", "--bundle", bundle.write(), "--view", "v3").failed("v1, v2, hybrid")


def test_exec(runtime, bundle, tmp_path):
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"args": ["/bin/id"], "cwd": "/", "user": {"uid": 5, "gid": 6}}))
    planned = entries(runtime, bundle, "--exec", process)
    assert [entry["op"] for entry in planned if entry["by"] == "stage"][-1] == "exec"
    (ids,) = [entry["operands"] for entry in planned if entry.get("op") == "ids"]
    assert ids == {"uid": 5, "gid": 6}
    assert not [entry for entry in planned if entry.get("op") in ("gate", "fsmount")]


def test_difference(runtime, bundle, tmp_path):
    same = runtime.call("plan", "--bundle", bundle.write(), "--diff", bundle.path).ok().out
    assert same == ""
    other = tmp_path / "other"
    other.mkdir()
    config = json.loads((bundle.path / "config.json").read_text())
    config["hostname"] = "elsewhere"
    (other / "config.json").write_text(json.dumps(config))
    (other / "rootfs").symlink_to(bundle.path / "rootfs")
    shown = runtime.call("plan", "--bundle", bundle.path, "--diff", other).ok().out
    assert '+        hostname name="elsewhere"' in shown.splitlines()


def test_nothing_is_touched(runtime, bundle):
    before = sorted(path for path in wait_until(lambda: list(Path("/sys/fs/cgroup").iterdir()), "cgroups"))
    entries(runtime, bundle)
    assert sorted(Path("/sys/fs/cgroup").iterdir()) == before
    assert not Path(runtime.root, bundle.id).exists()
