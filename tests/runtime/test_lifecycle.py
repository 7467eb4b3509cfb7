"""Which operation is allowed in which status, and in what words it is refused (runtime.md, operations)."""

import json
import os
import signal
from pathlib import Path
from subprocess import DEVNULL

import pytest

from tests.helpers_leaks import alive, cgroups
from tests.helpers_runtime import wait_exit, wait_until

pytestmark = pytest.mark.requires("root")
IDS = ["a", "A-b_c+d.e", "0", "_", "..a", "a" * 128, "a" * 255]
BAD_IDS = ["", ".", "..", "a/b", "../a", "a b", "a\nb", "ä", "a*", "a:b", "a" * 256, "a@b"]


def test_create_does_not_run_the_program(runtime, bundle):
    container = runtime.create(bundle.args(["write", "/ran", "x"]))
    assert container.status == "created"
    assert not (bundle.rootfs / "ran").exists()
    container.start()
    assert container.wait() == 0
    assert (bundle.rootfs / "ran").exists()


def test_every_status_in_turn(runtime, bundle):
    container = runtime.create(bundle.args("wait"))
    assert container.status == "created"
    container.start().until_ready()
    assert container.status == "running"
    container.kill("TERM")
    assert container.wait() == 128 + signal.SIGTERM
    assert container.status == "stopped"
    container.delete().ok()
    container.call("state").failed("does not exist")


def test_nothing_is_printed_by_any_verb(runtime, bundle):
    container = runtime.container(bundle.args("wait"))
    for result in (container.create().ok(), container.call("start").ok()):
        assert result.out == ""
    container.until_ready()
    assert container.call("kill", "KILL").ok().out == ""
    container.wait()
    assert container.delete().ok().out == ""


def test_zombie_counts_as_stopped(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    assert os.path.exists(f"/proc/{container.init}"), "the zombie is still there"
    state = container.state()
    assert (state["status"], state["pid"]) == ("stopped", 0)


def test_init_is_reparented_to_the_subreaper(runtime, bundle):
    container = runtime.create(bundle)
    with open(f"/proc/{container.init}/stat") as stat:
        assert int(stat.read().rpartition(")")[2].split()[1]) == os.getpid()


def test_created_init_holds_little_memory(runtime, bundle):
    """The stage waits in the container's cgroup, whose limit may be small: less than a mebibyte, sealed code and all."""
    container = runtime.create(bundle)
    rollup = Path(f"/proc/{container.init}/smaps_rollup").read_text()
    private = [int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")]
    assert len(private) >= 2 and sum(private) <= 1024, rollup


def test_init_leads_a_session(runtime, bundle):
    container = runtime.waiting(bundle)
    assert os.getsid(container.init) == container.init


def test_start_twice(runtime, bundle):
    container = runtime.waiting(bundle)
    container.call("start").failed("cannot start an already running container")
    assert container.status == "running"


def test_start_after_exit(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    container.call("start").failed("cannot start a container that has stopped")


@pytest.mark.parametrize("verb", ["start", "state", "kill", "delete", "pause", "resume", "ps", "update", "exec"])
def test_missing_container(runtime, verb):
    more = {"exec": ["true"], "update": ["--pids-limit", "5"]}.get(verb, [])
    words = [*more, "nope"] if verb == "update" else ["nope", *more]
    runtime.call(verb, *words).failed("does not exist", status=255 if verb == "exec" else 1)


@pytest.mark.parametrize("verb", ["create", "run", "start", "state", "kill", "delete", "pause", "resume", "ps", "exec"])
def test_id_is_needed(runtime, verb):
    result = runtime.call(verb)
    assert result.status != 0
    assert result.err.count("\n") == 1, result


def test_delete_force_of_missing_is_silent_success(runtime):
    result = runtime.call("delete", "--force", "nope").ok()
    assert result.out == ""


def test_delete_force_with_a_root_that_never_was(runtime, tmp_path):
    runtime.root = tmp_path / "deep" / "er"
    runtime.call("delete", "--force", "nope").ok()


def test_delete_of_running_changes_nothing(runtime, bundle):
    container = runtime.waiting(bundle)
    container.delete().failed()
    assert container.status == "running"
    assert alive(container.init)


def test_delete_of_created(runtime, bundle):
    container = runtime.create(bundle)
    container.delete().ok()
    assert container.id not in runtime.entries()
    wait_until(lambda: not alive(container.init), "init has gone")


@pytest.mark.parametrize("created_only", [True, False])
def test_delete_force_kills(runtime, bundle, created_only):
    container = runtime.create(bundle.args("spawn", "wait"))
    if not created_only:
        container.start().until_ready()
    container.delete("--force").ok()
    assert not alive(container.init)
    assert not cgroups(container.id)


def test_delete_force_of_stopped(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    container.delete("--force").ok()
    container.delete("--force").ok()


def test_same_id_again_right_after_delete(runtime, bundle):
    for _ in range(3):
        container = runtime.waiting(bundle)
        container.delete("--force").ok()


def test_duplicate_id(runtime, bundle):
    container = runtime.waiting(bundle)
    runtime.call("create", "--bundle", bundle.path, bundle.id).failed("container with given ID already exists")
    assert container.status == "running"


def test_duplicate_id_of_stopped(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    runtime.call("create", "--bundle", bundle.path, bundle.id).failed("already exists")


@pytest.mark.parametrize("name", IDS)
def test_valid_id(runtime, bundle, name):
    bundle.id = name
    container = runtime.waiting(bundle)
    assert container.state()["id"] == name
    container.exec("true").ok()


@pytest.mark.parametrize("name", BAD_IDS, ids=ascii)
def test_invalid_id(runtime, bundle, name):
    result = runtime.call("create", "--bundle", bundle.write(), name)
    result.failed()
    assert "Errno" not in result.err
    assert runtime.entries() == []


def test_config_is_read_once(runtime, bundle):
    container = runtime.create(bundle.args("wait"))
    (bundle.path / "config.json").write_text("no longer JSON")
    container.start().until_ready()
    assert container.exec("true").ok()


def test_bundle_may_vanish(runtime, bundle):
    container = runtime.waiting(bundle)
    (bundle.path / "config.json").unlink()
    container.kill("KILL")
    container.wait()
    container.delete().ok()


def test_config_may_be_a_link(runtime, bundle):
    bundle.args(["echo", "linked"]).write()
    (bundle.path / "config.json").rename(bundle.path / "real.json")
    (bundle.path / "config.json").symlink_to("real.json")
    runtime.container(bundle)
    assert runtime.call("run", "--bundle", bundle.path, bundle.id).ok().out == "linked\n"


def test_bundle_defaults_to_the_working_directory(runtime, bundle):
    runtime.container(bundle)
    result = runtime.call("run", bundle.id, cwd=bundle.args(["echo", "here"]).write())
    assert result.ok().out == "here\n"


def test_relative_bundle_is_reported_absolute(runtime, bundle):
    container = runtime.container(bundle)
    runtime.call("create", "--bundle", bundle.write().name, bundle.id, cwd=bundle.path.parent).ok()
    assert container.state()["bundle"] == str(bundle.path)


@pytest.mark.parametrize("spelling", ["9", "KILL", "SIGKILL", "kill", "SigKill"])
def test_kill_spellings(runtime, bundle, spelling):
    container = runtime.waiting(bundle)
    container.kill(spelling)
    assert container.wait() == 128 + signal.SIGKILL


def test_kill_default_is_term(runtime, bundle):
    container = runtime.waiting(bundle)
    container.kill()
    assert container.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize(("words", "number"), [([], 10), (["WINCH"], 28)])
def test_kill_default_is_the_stop_signal_of_the_image(runtime, bundle, words, number):
    bundle.config["annotations"] = {"org.opencontainers.image.stopSignal": "SIGUSR1"}
    container = runtime.waiting(bundle)
    container.kill(*words)
    container.until(container.signals, "a signal arrives")
    assert container.signals() == [number]


@pytest.mark.parametrize("word", ["0", "", "garbage", "SIG", "65", "-1", "9 9"])
def test_stop_signal_of_the_image_that_is_none(runtime, bundle, word, tmp_path):
    """A word of an image must not make kill a silent no-op, nor let it fail."""
    bundle.config["annotations"] = {"org.opencontainers.image.stopSignal": word}
    container = runtime.waiting(bundle)
    log = tmp_path / "log"
    runtime.call("kill", container.id, options=("--log", str(log), "--log-level", "warning")).ok()
    assert container.wait() == 128 + signal.SIGTERM
    assert "org.opencontainers.image.stopSignal" in log.read_text()


@pytest.mark.parametrize(("word", "number"), [("USR1", 10), ("12", 12), ("SIGRTMIN+3", 37), ("RTMIN+1", 35), ("WINCH", 28)])
def test_kill_delivers_exactly_that_signal(runtime, bundle, word, number):
    container = runtime.waiting(bundle)
    container.kill(word)
    container.until(container.signals, "a signal arrives")
    assert container.signals() == [number]


def test_signal_zero_only_asks(runtime, bundle):
    container = runtime.waiting(bundle)
    container.kill("0")
    assert container.status == "running" and container.signals() == []


@pytest.mark.parametrize("word", ["NOSUCH", "-1", "65", "999999999999", "SIG", "9x", ""])
def test_bad_signal(runtime, bundle, word):
    container = runtime.waiting(bundle)
    container.call("kill", word).failed()
    assert container.status == "running"


def test_kill_of_dead(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    container.call("kill", "TERM").failed("container not running")


def test_kill_all_of_dead_is_fine(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    runtime.call("kill", "--all", container.id, "KILL").ok()


def test_kill_all_reaches_every_process(runtime, bundle):
    container = runtime.waiting(bundle, before=("spawn", ["spawn", "session"]))
    pids = json.loads(runtime.call("ps", "--format", "json", container.id).ok().out)
    assert len(pids) == 3
    runtime.call("kill", "--all", container.id, "KILL").ok()
    for pid in pids:
        wait_exit(pid)


def test_kill_all_without_a_cgroup_reaches_init(runtime, bundle):
    container = runtime.waiting(bundle.args("wait"), options=("--cgroup-manager", "disabled"))
    runtime.call("kill", "--all", container.id, "KILL").ok()
    assert container.wait() == 128 + signal.SIGKILL
    runtime.call("kill", "--all", container.id, "KILL").ok()


def test_kill_without_own_pid_namespace_reaches_every_process(runtime, bundle):
    container = runtime.waiting(bundle.without_namespace("pid"), before=("spawn",))
    pids = json.loads(runtime.call("ps", "--format", "json", container.id).ok().out)
    assert len(pids) == 2
    container.kill("KILL")
    for pid in pids:
        wait_exit(pid)


def test_shared_pid_namespace_leftovers_are_killed_by_delete(runtime, bundle):
    container = runtime.start(bundle.without_namespace("pid").args(["spawn", "session"], "true"))
    container.wait()
    assert container.status == "stopped"
    runtime.call("kill", "--all", container.id, "KILL").ok()
    container.delete().ok()


@pytest.mark.parametrize("words", [["KILL"], ["9"], ["--all", "TERM"]])
def test_what_init_leaves_behind_is_listed_and_killed(runtime, bundle, words):
    """Without a PID namespace of its own a container's processes outlive init, and callers go on to stop them."""
    container = runtime.start(bundle.without_namespace("pid").args(["spawn", "session"], "true"))
    container.wait()
    container.until(lambda: container.status == "stopped", "init has gone")
    left = json.loads(runtime.call("ps", "--format", "json", container.id).ok().out)
    assert len(left) == 1
    options = [word for word in words if word.startswith("--")]
    runtime.call("kill", *options, container.id, words[-1]).ok()
    assert wait_exit(left[0]) == 128 + (signal.SIGTERM if "TERM" in words else signal.SIGKILL)
    runtime.call("ps", "--format", "json", container.id).failed("container not running")
    runtime.call("kill", container.id, "KILL").failed("container not running")
    container.delete().ok()


@pytest.mark.parametrize("word", ["TERM", "0"])
def test_other_signals_do_not_reach_what_init_leaves_behind(runtime, bundle, word):
    container = runtime.start(bundle.without_namespace("pid").args(["spawn", "session"], "true"))
    container.wait()
    runtime.call("kill", container.id, word).failed("container not running")
    container.delete().ok()


@pytest.mark.parametrize("word", ["TERM", "INT", "KILL"])
def test_kill_at_the_gate(runtime, bundle, word):
    container = runtime.create(bundle)
    container.kill(word)
    container.wait()
    assert container.status == "stopped"
    container.call("start").failed()


def test_kill_before_the_container_is_made(runtime, bundle):
    """Neither created nor running: an error, and the create goes on."""
    go = bundle.path / "go"
    script = f"touch {bundle.path}/hook; until test -e {go}; do sleep 0.05; done"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]}
    container = runtime.container(bundle)
    create = runtime.spawn("create", "--bundle", bundle.write(), bundle.id, stdout=container.stdout.fd)
    wait_until((bundle.path / "hook").exists, "the hook runs")
    container.call("kill", "KILL").failed("creating")
    go.touch()
    assert create.wait(30) == 0
    assert container.status == "created"


def test_start_fails_when_init_died_at_the_gate(runtime, bundle):
    container = runtime.create(bundle)
    os.kill(container.init, signal.SIGKILL)
    container.wait()
    container.call("start").failed("cannot start a container that has stopped")


def test_almost_no_environment(runtime, bundle):
    container = runtime.waiting(bundle)
    runtime.call("kill", container.id, "0", env={"XDG_RUNTIME_DIR": ""}).ok()


def test_without_process_create_works_and_start_fails(runtime, bundle):
    del bundle.config["process"]
    container = runtime.create(bundle)
    assert container.status == "created"
    container.call("start").failed("process")


def test_parallel_creates_of_one_id(runtime, bundle):
    """Exactly one of them wins; the others leave nothing."""
    runtime.container(bundle)
    calls = [runtime.spawn("create", "--bundle", bundle.write(), bundle.id, stdout=DEVNULL, stderr=DEVNULL) for _ in range(8)]
    statuses = sorted(call.wait(60) for call in calls)
    assert statuses == [0] + [1] * 7


def test_verbs_for_all_that_match_an_expression(runtime, bundles):
    first, second, third = (runtime.waiting(bundles()) for _ in range(3))
    both = f"^({first.id}|{second.id})$"
    runtime.call("kill", "--regex", both, "KILL").ok()
    assert first.wait() is not None and second.wait() is not None
    assert third.status == "running"
    runtime.call("delete", "-r", both).ok()
    assert runtime.entries() == [third.id]
    runtime.call("delete", "--regex", "no such id").ok()
    runtime.call("delete", "--force", "--regex", third.id[3:]).ok()
    assert runtime.entries() == []


def test_failure_with_one_of_many_does_not_spare_the_others(runtime, bundles):
    running, stopped = runtime.waiting(bundles()), runtime.start(bundles().args("true"))
    stopped.wait()
    runtime.call("delete", "--regex", ".").failed(running.id, "not stopped")
    assert runtime.entries() == [running.id]


@pytest.mark.parametrize(
    "expression", ["(", "a{99999999999}", "(" * 1000 + ")" * 1000, "(?P<n>a)(?P<n>b)", "*"], ids=lambda text: text[:16]
)
def test_malformed_expression(runtime, expression):
    runtime.call("delete", "--force", "--regex", expression).failed("not a regular expression")


def test_expression_with_syntax_that_may_change(runtime):
    """Python warns about it, which is not for the user of a command."""
    assert runtime.call("delete", "--regex", "[[a]--").ok().err == ""
