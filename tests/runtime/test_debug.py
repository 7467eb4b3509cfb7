"""--debug: every step with its time, what is written into cgroups, hooks and what they print; and where a log goes."""

import json
import re

import pytest

pytestmark = [pytest.mark.requires("root"), pytest.mark.usefixtures("pyoci_alone")]
STEP = re.compile(r"step (\d+): .*: \d+\.\d{3} ms")


@pytest.fixture
def log(tmp_path):
    """Where the log goes."""
    return tmp_path / "log"


def options(log):
    """Globals that ask for everything."""
    return ("--debug", "--log", str(log), "--log-format", "json")


def messages(log):
    """Return what was logged."""
    return [json.loads(line)["msg"] for line in log.read_text().splitlines()]


def hook(*args):
    """Return a hook of the host."""
    return {"path": "/bin/echo", "args": ["echo", *args]}


def steps(log):
    """Return the numbers of the steps that were logged."""
    return [int(found[1]) for message in messages(log) if (found := STEP.search(message))]


def test_every_step_with_its_time(runtime, bundle, log):
    container = runtime.create(bundle.args("wait"), options=options(log))
    made = steps(log)
    assert made == list(range(len(made))) and len(made) > 20
    assert any("mounting proc on /proc [/mounts/" in message for message in messages(log))
    log.unlink()
    runtime.call("start", container.id, options=options(log)).ok()
    assert steps(log)[0] == len(made) + 1  # the barrier between the two belongs to nobody
    assert any("waiting for start" in message for message in messages(log))
    container.until_ready()
    log.unlink()
    container.runtime.call("exec", container.id, "/bin/probe", "true", options=options(log)).ok()
    assert steps(log)[0] == 0


@pytest.mark.requires("seccomp")
@pytest.mark.parametrize("filtered", [False, True])
def test_start_alone(runtime, bundle, log, filtered):
    """Who starts a container decides whether what is left to do is told; create was not asked."""
    if filtered:
        bundle.process["noNewPrivileges"] = False  # the filter is in force before the gate
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}]}
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/probe", "args": ["probe", "echo", "a hook"]}]}
    container = runtime.create(bundle.args("wait"))
    runtime.call("start", container.id, options=options(log)).ok()
    container.until_ready()
    assert bool(steps(log)) != filtered
    assert any("it printed: a hook" in message for message in messages(log)) != filtered


def test_start_that_does_not_ask(runtime, bundle, log):
    container = runtime.create(bundle.args("wait"), options=options(log))
    log.unlink()
    runtime.call("start", container.id, options=("--log", str(log), "--log-format", "json")).ok()
    container.until_ready()
    assert log.read_text() == ""


def test_all_levels_say_what_was_asked_for(runtime, bundle, log):
    runtime.create(bundle.args("wait"), options=("--log", str(log), "--log-level", "info"))
    assert log.read_text() == ""


@pytest.mark.requires("pids")
def test_what_is_written_into_cgroups(runtime, bundle, log):
    bundle.linux.setdefault("resources", {})["pids"] = {"limit": 77}
    runtime.create(bundle.args("wait"), options=options(log)).delete("--force").ok()
    assert any(re.fullmatch(r"writing 77 to /sys/fs/cgroup/.*pids\.max", message) for message in messages(log))


def test_hooks_and_what_they_print(runtime, bundle, log):
    names = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle.config["hooks"] = {name: [hook("this is", name)] for name in names}
    bundle.config["hooks"]["startContainer"] = [{"path": "/bin/probe", "args": ["probe", "echo", "this is startContainer"]}]
    runtime.container(bundle.args("true"))
    runtime.call("run", "--bundle", bundle.write(), bundle.id, options=options(log)).ok()
    told = [message for message in messages(log) if "it printed: this is" in message]
    order = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    assert [message.split()[-1] for message in told] == list(order)
    assert all(re.search(r"\d\.\d{3} ms", message) for message in told)


@pytest.mark.requires("seccomp")
@pytest.mark.parametrize("refused", ["clock_gettime", "sendmsg"])
@pytest.mark.parametrize("early", [True, False])
def test_a_filter_that_refuses_what_logging_takes(runtime, bundle, log, refused, early):
    """Steps are told up to the filter; it changes nothing for the program that they were."""
    bundle.process["noNewPrivileges"] = not early
    rule = {"names": [refused], "action": "SCMP_ACT_KILL_PROCESS"}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    runtime.container(bundle.args("true"))
    plain = runtime.call("run", "--bundle", bundle.write(), bundle.id)
    traced = runtime.call("run", "--bundle", bundle.write(), bundle.id, options=options(log))
    assert (traced.status, traced.err) == (plain.status, plain.err)
    assert len(steps(log)) > 20


# ---- where it goes


def test_without_a_file_the_log_goes_to_standard_error(runtime, bundle):
    result = runtime.run(bundle.args(["exit", 3]), options=("--debug",))
    lines = result.err.splitlines()
    assert result.status == 3
    assert lines and all(line.startswith("pyoci: debug: ") for line in lines)


def test_json_without_a_file(runtime, bundle):
    result = runtime.call("start", "nope", options=("--log-format", "json"))
    record = json.loads(result.err)
    assert (result.status, record["level"]) == (1, "error")
    assert "does not exist" in record["msg"]
    result = runtime.run(bundle.args("true"), options=("--debug", "--log-format", "json"))
    assert {json.loads(line)["level"] for line in result.err.splitlines()} == {"debug"}


@pytest.mark.parametrize("scheme", ["journald", "syslog", "http", "fd", "http+unix", "a-b", "x.y"])
def test_a_scheme_that_is_not_supported(runtime, tmp_path, scheme):
    runtime.call("list", cwd=tmp_path, options=("--log", f"{scheme}:x")).failed(f'"{scheme}:" is not supported')
    assert not list(tmp_path.iterdir())


def test_a_scheme_with_nothing_behind_it(runtime):
    runtime.call("list", options=("--log", "file:")).failed("names no file")


@pytest.mark.parametrize("name", ["file:{}/log", "{}/journald:log", "./log:1"])
def test_a_file_by_its_name(runtime, tmp_path, name):
    runtime.call("start", "nope", cwd=tmp_path, options=("--log", name.format(tmp_path))).failed()
    assert list(tmp_path.iterdir())
