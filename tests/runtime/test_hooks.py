"""config.md, hooks: when and where each runs, what it is given, and what its failure does."""

import json
import os
import time

import pytest

from tests.helpers_host import hierarchies
from tests.helpers_leaks import alive
from tests.helpers_runtime import json_lines

pytestmark = pytest.mark.requires("root")
KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
HOST_SIDE = ["prestart", "createRuntime", "poststart", "poststop"]


@pytest.fixture
def log(bundle):
    """A file for hooks of the host side, and for createContainer which still sees host paths."""
    return bundle.path / "hooks.log"


def seen(log):
    """What the hooks have written: their reports, stdin parsed."""
    found = json_lines(log.read_text()) if log.exists() else []
    for report in found:
        report["state"] = json.loads(report["stdin"])
    return found


def all_hooks(bundle, log):
    """Add one hook of each kind; startContainer writes inside the container."""
    for kind in KINDS:
        bundle.hook(kind, "hook", "/hook.log" if kind == "startContainer" else str(log), "0", env=[f"KIND={kind}"])
    return bundle


def kinds(reports):
    """Which hooks wrote the reports."""
    return [entry.removeprefix("KIND=") for report in reports for entry in report["env"] if entry.startswith("KIND=")]


def test_order(runtime, bundle, log):
    all_hooks(bundle, log).args("wait")
    inside = bundle.rootfs / "hook.log"
    container = runtime.create(bundle)
    assert kinds(seen(log)) == KINDS[:3]
    assert not inside.exists()
    container.start().until_ready()
    assert kinds(seen(inside)) == ["startContainer"]
    assert kinds(seen(log)) == [*KINDS[:3], "poststart"]
    container.kill("KILL")
    container.wait()
    container.delete().ok()
    assert kinds(seen(log)) == [*KINDS[:3], "poststart", "poststop"]


def test_state_on_stdin(runtime, bundle, log):
    all_hooks(bundle, log).args("wait")
    bundle.config["annotations"] = {"org.example.key": "value"}
    container = runtime.create(bundle)
    container.start().until_ready()
    container.kill("KILL")
    container.wait()
    container.delete().ok()
    reports = {kinds([report])[0]: report["state"] for report in seen(log) + seen(bundle.rootfs / "hook.log")}
    assert {kind: state["status"] for kind, state in reports.items()} == {
        "prestart": "creating", "createRuntime": "creating", "createContainer": "creating", "startContainer": "created",
        "poststart": "running", "poststop": "stopped",
    }  # fmt: skip
    for state in reports.values():
        assert state["id"] == container.id
        assert state["bundle"] == str(bundle.path)
        assert state["ociVersion"]
        assert state["annotations"]["org.example.key"] == "value"
    assert [reports[kind]["pid"] for kind in ("prestart", "createRuntime", "poststart")] == [container.init] * 3
    assert [reports[kind]["pid"] for kind in ("createContainer", "startContainer")] == [1, 1]
    assert not reports["poststop"].get("pid")


def test_namespaces(runtime, bundle, log):
    all_hooks(bundle, log).args("wait")
    container = runtime.create(bundle)
    container.start().until_ready()
    inner = os.readlink(f"/proc/{container.init}/ns/net")
    outer = os.readlink("/proc/self/ns/net")
    container.kill("KILL")
    container.wait()
    container.delete().ok()
    found = {kinds([r])[0]: r["namespaces"]["net"] for r in seen(log) + seen(bundle.rootfs / "hook.log")}
    assert found == {kind: outer if kind in HOST_SIDE else inner for kind in KINDS}


@pytest.mark.parametrize(("env", "expected"), [(None, "container"), ([], []), (["A=1"], ["A=1"])])
def test_start_container_hook_without_env_has_the_containers(runtime, bundle, env, expected):
    bundle.process["env"] = ["PATH=/bin", "ONE=1", "ONE=2"]
    bundle.hook("startContainer", "hook", "/hook.log", **({} if env is None else {"env": env}))
    inside = runtime.report(bundle)["env"]
    (report,) = seen(bundle.rootfs / "hook.log")
    assert "ONE=2" in inside
    assert report["env"] == (inside if expected == "container" else expected)


def test_other_hooks_without_env_have_none(runtime, bundle, log):
    bundle.hook("createRuntime", "hook", str(log))
    bundle.hook("createContainer", "hook", str(log))
    runtime.create(bundle)
    assert [report["env"] for report in seen(log)] == [[], []]


def test_arguments_and_environment_are_the_hooks_own(runtime, bundle, log):
    bundle.hook("createRuntime", "hook", str(log), env=["ONLY=this", "A=b=c"])
    runtime.create(bundle)
    (report,) = seen(log)
    assert report["args"] == ["hook", str(log)]
    assert report["env"] == ["ONLY=this", "A=b=c"]
    assert list(report["fds"]) == ["0", "1", "2"]
    assert (report["ignored"], report["blocked"]) == ([], [])


def test_environment_unset_is_empty(runtime, bundle, log):
    bundle.hook("createRuntime", "hook", str(log))
    runtime.create(bundle)
    assert seen(log)[0]["env"] == []


def test_leaked_descriptors_do_not_reach_hooks(runtime, bundle, log):
    all_hooks(bundle, log)
    leak = os.open("/", os.O_RDONLY)
    runtime.run(bundle.args("true"), fds={7: leak, 12: leak}).ok()
    os.close(leak)
    reports = seen(log) + seen(bundle.rootfs / "hook.log")
    assert len(reports) == len(KINDS)
    assert all(list(report["fds"]) == ["0", "1", "2"] for report in reports)


def test_poststart_comes_after_the_program(runtime, bundle, log):
    """Where that cannot be run there is nothing to come after."""
    (bundle.rootfs / "junk").write_text("\0\0\0")
    (bundle.rootfs / "junk").chmod(0o755)
    bundle.process["args"] = ["/junk"]
    runtime.create(bundle.hook("poststart", "hook", str(log))).call("start").failed("/junk")
    assert not log.exists()


def test_container_is_gone_for_poststop(runtime, bundle):
    places = [runtime.root / bundle.id, *(root / bundle.id for root in hierarchies())]
    script = f"for place in {' '.join(map(str, places))}; do test -e $place && echo $place; done >{bundle.path}/left"
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", script + "; true"]}]}
    container = runtime.create(bundle)
    assert any(place.exists() for place in places[1:])
    container.delete().ok()
    assert (bundle.path / "left").read_text() == ""


def test_without_a_mount_namespace(runtime, bundle, log):
    all_hooks(bundle, log)
    bundle.without_namespace("mount").config["mounts"] = []
    runtime.run(bundle.args("true")).ok()
    assert kinds(seen(log)) == [kind for kind in KINDS if kind != "startContainer"]


@pytest.mark.parametrize("kind", KINDS)
def test_several_of_a_kind_in_order(runtime, bundle, log, kind):
    inside = kind == "startContainer"
    for number in "123":
        bundle.hook(kind, "hook", "/hook.log" if inside else str(log), env=[f"KIND={number}"])
    runtime.run(bundle.args("true")).ok()
    assert kinds(seen(bundle.rootfs / "hook.log" if inside else log)) == ["1", "2", "3"]


def test_mounts_are_there_for_create_container(runtime, bundle, log):
    bundle.hook("createContainer", "hook", str(log))
    runtime.create(bundle)
    points = seen(log)[0]["mountinfo"]
    assert f" {bundle.rootfs}/dev/shm " in points


@pytest.mark.parametrize("kind", KINDS[:3])
def test_mounts_are_done_and_the_root_is_still_the_hosts(runtime, bundle, kind):
    """Of the process that the state names: what runs inside is in the same namespace."""
    pid = "self" if kind == "createContainer" else "$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat /proc/{pid}/mountinfo >{bundle.path}/mounts"], "env": ["PATH=/usr/bin:/bin"]}
    bundle.config["hooks"] = {kind: [hook]}
    runtime.create(bundle)
    assert f" {bundle.rootfs}/dev/shm " in (bundle.path / "mounts").read_text()


@pytest.mark.parametrize("kind", KINDS[:3])
def test_failure_during_create(runtime, bundle, log, kind):
    """The error names the hook and has what it printed; poststop hooks run; the rest of the list does not."""
    bundle.hook(kind, "hook", str(log), "3", "the hook's complaint").hook(kind, "hook", str(log), env=["KIND=second"])
    bundle.hook("poststop", "hook", str(log), env=["KIND=poststop"])
    runtime.refuses(bundle, kind, "the hook's complaint")
    assert kinds(seen(log)) == ["poststop"]


def test_failure_of_start_container(runtime, bundle, log):
    bundle.hook("startContainer", "hook", "/hook.log", "3", "the hook's complaint")
    bundle.hook("poststop", "hook", str(log), env=["KIND=poststop"])
    container = runtime.create(bundle.args(["write", "/ran", "x"]))
    container.call("start").failed("startContainer", "the hook's complaint")
    assert not (bundle.rootfs / "ran").exists()
    assert kinds(seen(log)) == ["poststop"]
    container.call("state").failed("does not exist")


def test_failure_of_poststart(runtime, bundle, log):
    bundle.hook("poststart", "hook", str(log), "3", "the hook's complaint")
    bundle.hook("poststop", "hook", str(log), env=["KIND=poststop"])
    container = runtime.create(bundle.args("wait"))
    container.call("start").failed("poststart", "the hook's complaint")
    assert not alive(container.init)
    assert kinds(seen(log))[-1] == "poststop"


def test_failure_of_poststop_is_only_a_warning(runtime, bundle, log):
    bundle.hook("poststop", "hook", str(log), "3", "complaint").hook("poststop", "hook", str(log), env=["KIND=second"])
    container = runtime.start(bundle.args("true"))
    container.wait()
    assert container.delete().status == 0
    assert kinds(seen(log)) == ["second"]
    assert runtime.entries() == []


def test_warning_is_seen_where_no_log_takes_it(runtime, bundle, log, tmp_path):
    bundle.hook("poststop", "hook", str(log), "3", "complaint")
    for options, shown in (((), True), (("--log", str(tmp_path / "log")), False)):
        container = runtime.start(bundle.args("true"))
        container.wait()
        result = runtime.call("delete", container.id, options=options)
        assert (result.status, "complaint" in result.err) == (0, shown)
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_timeout_kills_the_whole_group(runtime, bundle, kind):
    bundle.hook(kind, "hang", timeout=1)
    begin = time.monotonic()
    if kind == "startContainer":
        container = runtime.create(bundle.args("true"))
        container.call("start", timeout=20).failed(kind)
    else:
        runtime.refuses(bundle, kind, timeout=20)
    assert 0.9 < time.monotonic() - begin < 15


def test_missing_hook(runtime, bundle):
    bundle.config["hooks"] = {"createRuntime": [{"path": "/nonexistent/hook"}]}
    runtime.refuses(bundle, "/nonexistent/hook")


def test_death_by_a_signal(runtime, bundle):
    bundle.hook("createRuntime", "raise", "9")
    runtime.refuses(bundle, "createRuntime")


def test_grandchild_does_not_hold_us_up(runtime, bundle):
    """A daemon that a hook starts keeps its output open; the hook has ended all the same."""
    bundle.hook("createRuntime", "spawn", "session")
    container = runtime.container(bundle)
    result = container.create(timeout=15)
    _kill_spawned(bundle.probe)
    result.ok()


def _kill_spawned(probe):
    from tests.helpers_leaks import descendants

    for pid in descendants():
        try:
            if os.readlink(f"/proc/{pid}/exe") == str(probe) and os.getsid(pid) == pid:
                with open(f"/proc/{pid}/cmdline") as words:
                    if "spawn" in words.read():
                        os.kill(pid, 9)
        except OSError:
            continue


def test_relative_hook_path(runtime, bundle):
    bundle.config["hooks"] = {"createRuntime": [{"path": "bin/hook"}]}
    runtime.refuses(bundle, "/hooks/createRuntime/0/path")


def test_timeout_of_zero(runtime, bundle):
    bundle.hook("createRuntime", "true", timeout=0)
    runtime.refuses(bundle, "/hooks/createRuntime/0/timeout")


def test_hooks_run_in_the_foreground_too(runtime, bundle, log):
    all_hooks(bundle, log)
    runtime.run(bundle.args("true")).ok()
    assert kinds(seen(log)) == [kind for kind in KINDS if kind != "startContainer"]
