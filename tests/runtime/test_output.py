"""What callers read back: state, list, ps, pid files, the log (what engines decode, and how strictly)."""

import json
import os
import re
import stat
import subprocess
import time

import pytest

from tests.property.strategies import validator

pytestmark = pytest.mark.requires("root")
RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
FORBIDDEN = {"started", "finished", "exitcode", "error", "initpid", "oomkilled", "checkpointedtime"}


# ---- state


@pytest.mark.parametrize("status", ["created", "running", "stopped"])
def test_state(runtime, bundle, status):
    bundle.config["annotations"] = {"org.example.a": "1", "org.example.ü": "ö"}
    container = runtime.create(bundle.args("wait"))
    if status != "created":
        container.start().until_ready()
    if status == "stopped":
        container.kill("KILL")
        container.wait()
    state = container.state()
    assert state["id"] == container.id
    assert state["status"] == status
    assert state["bundle"] == str(bundle.path)
    assert state["rootfs"] == str(bundle.rootfs)
    assert state["annotations"] == bundle.config["annotations"]
    assert re.match(r"^1\.\d+\.\d+", state["ociVersion"])
    assert state["owner"] in ("", "root")
    assert (state["pid"] == 0) == (status == "stopped") and isinstance(state["pid"], int)
    assert not {key.lower() for key in state} & FORBIDDEN


@pytest.mark.parametrize("annotations", [None, {}, {"org.example.a": "1"}])
def test_state_follows_the_schema(runtime, bundle, annotations):
    schema = validator("state.schema.json")
    if annotations is not None:
        bundle.config["annotations"] = annotations
    container = runtime.create(bundle.args("wait"))
    schema.validate(container.state())
    container.start().until_ready()
    schema.validate(container.state())
    container.kill("KILL")
    container.wait()
    schema.validate(container.state())


def test_created_is_a_time_of_now(runtime, bundle):
    created = runtime.create(bundle).state()["created"]
    assert RFC3339.match(created) and created.endswith("Z")
    parsed = time.strptime(created[:19], "%Y-%m-%dT%H:%M:%S")
    import calendar

    assert abs(calendar.timegm(parsed) - time.time()) < 120


def test_created_stays_the_same(runtime, bundle):
    container = runtime.create(bundle.args("wait"))
    before = container.state()["created"]
    container.start().until_ready()
    assert container.state()["created"] == before


@pytest.mark.requires("freezer")
def test_state_of_paused(runtime, bundle):
    container = runtime.waiting(bundle)
    container.call("pause").ok()
    assert container.status == "paused"
    container.call("resume").ok()
    assert container.status == "running"


def test_state_answers_in_any_environment(runtime, bundle):
    container = runtime.create(bundle)
    result = runtime.call("state", container.id, env={}).ok()
    assert json.loads(result.out)["status"] == "created"


def test_reused_pid_is_not_the_container(runtime, bundle):
    """A zombie that is collected leaves its pid to others; the container stays stopped."""
    container = runtime.start(bundle.args("true"))
    container.wait()
    os.waitpid(container.init, 0)
    assert container.status == "stopped"
    container.call("kill", "KILL").failed("container not running")


# ---- list


def test_list_json(runtime, bundles):
    first, second = runtime.create(bundles()), runtime.create(bundles())
    found = {entry["id"]: entry for entry in json.loads(runtime.call("list", "--format", "json").ok().out)}
    assert found.keys() == {first.id, second.id}
    assert found[first.id]["status"] == "created"
    assert found[first.id]["pid"] == first.init
    assert found[first.id]["bundle"] == str(first.bundle.path)
    assert "owner" in found[first.id]


def test_list_table(runtime, bundle):
    container = runtime.create(bundle)
    header, row = runtime.call("list").ok().out.splitlines()
    assert header.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert row.split()[:4] == [container.id, str(container.init), "created", str(bundle.path)]


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_list_quiet(runtime, bundle, option):
    container = runtime.create(bundle)
    assert runtime.call("list", option).ok().out == f"{container.id}\n"


def test_list_of_nothing(runtime):
    runtime.root.mkdir()
    assert json.loads(runtime.call("list", "--format", "json").ok().out) in (None, [])
    assert runtime.call("list", "-q").ok().out == ""


def test_list_of_a_root_that_is_not_there(runtime):
    """Whoever names a root means one; that the default root has not been made yet is no error."""
    assert not runtime.root.exists()
    for words in (["list"], ["list", "-q"], ["list", "--format", "json"]):
        runtime.call(*words).failed(str(runtime.root), "does not exist")
    assert not runtime.root.exists()


def test_list_passes_over_what_is_not_ours(runtime, bundle):
    container = runtime.create(bundle)
    for name in ("other", ".hidden", "a b"):
        (runtime.root / name).mkdir()
    (runtime.root / "other" / "state.json").write_text("{ not ours")
    (runtime.root / "file").write_text("x")
    assert [entry["id"] for entry in json.loads(runtime.call("list", "-f", "json").ok().out)] == [container.id]
    for name in ("other", ".hidden", "a b", "file"):
        path = runtime.root / name
        assert path.exists(), "nor touched"
        if path.is_dir():
            for inner in path.iterdir():
                inner.unlink()
            path.rmdir()
        else:
            path.unlink()


# ---- ps


def test_ps_json(runtime, bundle):
    container = runtime.waiting(bundle, before=("spawn",))
    pids = json.loads(runtime.call("ps", "--format", "json", container.id).ok().out)
    assert container.init in pids and len(pids) == 2
    assert all(isinstance(pid, int) for pid in pids)


def test_ps_table(runtime, bundle):
    if subprocess.run(["ps", "-ef"], capture_output=True, check=False).returncode:
        pytest.skip("requires a working ps: it fails on this kernel")
    container = runtime.waiting(bundle)
    header, row = container.call("ps").ok().out.splitlines()
    assert "PID" in header.split()
    assert str(container.init) in row.split()
    assert "probe" in row


def test_ps_with_options_of_ps(runtime, bundle):
    container = runtime.waiting(bundle)
    lines = runtime.call("ps", container.id, "-o", "pid,comm").ok().out.splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert [line.split() for line in lines[1:]] == [[str(container.init), "probe"]]


# ---- pid files


def test_pid_file(runtime, bundle):
    file = bundle.path / "init.pid"
    container = runtime.create(bundle, "--pid-file", str(file))
    assert file.read_bytes() == str(container.init).encode(), "digits and nothing else"
    assert stat.S_IMODE(file.stat().st_mode) & 0o444 == 0o444
    assert {"init.pid"} == {name for name in os.listdir(bundle.path) if "pid" in name}


def test_pid_file_is_replaced_whole(runtime, bundle):
    """A reader sees the old content or the new, never a part (it is renamed into place)."""
    file = bundle.path / "init.pid"
    file.write_text("99999999999999")
    before = file.stat().st_ino
    runtime.create(bundle, "--pid-file", str(file))
    assert file.stat().st_ino != before


def test_pid_file_of_a_failed_create(runtime, bundle):
    file = bundle.path / "init.pid"
    bundle.process["args"] = ["no-such-program"]
    runtime.refuses(bundle, options=("--pid-file", str(file)))
    assert not file.exists()


@pytest.mark.parametrize("options", [(), ("--detach",)], ids=["foreground", "detached"])
def test_pid_file_of_a_run_whose_program_cannot_start(runtime, bundle, options):
    file = bundle.path / "init.pid"
    (bundle.rootfs / "bin/junk").write_text("junk")
    (bundle.rootfs / "bin/junk").chmod(0o755)
    bundle.process["args"] = ["/bin/junk"]
    runtime.run(bundle, "--pid-file", str(file), *options).failed("/bin/junk")
    assert not file.exists()


def test_state_is_there_when_the_pid_file_is(runtime, bundle):
    """BuildKit waits for the file while the runtime is running."""
    file, seen = bundle.path / "init.pid", []

    def look(_):
        if file.exists() and not seen:
            seen.append((runtime.root / bundle.id / "state.json").exists())

    runtime.create(bundle, "--pid-file", str(file), meanwhile=look)
    look(0)
    assert seen == [True]


def test_pid_file_relative_to_the_callers_directory(runtime, bundle, tmp_path):
    runtime.create(bundle, "--pid-file", "here.pid", cwd=tmp_path)
    assert (tmp_path / "here.pid").read_text().isdigit()


def test_pid_file_that_cannot_be_written(runtime, bundle):
    runtime.refuses(bundle, "nowhere", options=("--pid-file", "/nowhere/at/all.pid"))


# ---- the log


def log_options(path, form="json"):
    """Globals that ask for a log."""
    return ("--log", str(path), "--log-format", form)


def test_log_of_a_failure(runtime, bundle, tmp_path):
    log = tmp_path / "log.json"
    result = runtime.call("start", "nope", options=log_options(log))
    text = result.failed("does not exist")
    assert log.read_text().count("\n") == 1
    record = json.loads(log.read_text())
    assert record["level"] == "error"
    assert record["msg"] in text, "the log and stderr say the same"
    assert RFC3339.match(record["time"])


def test_log_is_empty_after_success(runtime, bundle, tmp_path):
    log = tmp_path / "log.json"
    runtime.container(bundle)
    result = runtime.call("create", "--bundle", bundle.write(), bundle.id, options=log_options(log))
    result.ok()
    assert log.exists() and log.read_text() == ""


def test_log_is_appended_to(runtime, tmp_path):
    log = tmp_path / "log.json"
    for _ in range(3):
        runtime.call("start", "nope", options=log_options(log)).failed()
    assert len([json.loads(line) for line in log.read_text().splitlines()]) == 3


def test_text_log(runtime, tmp_path):
    log = tmp_path / "log"
    runtime.call("start", "nope", options=log_options(log, "text")).failed()
    assert "does not exist" in log.read_text()


def test_log_of_a_wrong_command_line(runtime, tmp_path):
    """The log is open before anything can fail."""
    log = tmp_path / "log.json"
    runtime.call("start", "--no-such-flag", "x", options=log_options(log)).failed()
    assert json.loads(log.read_text())["level"] == "error"


@pytest.mark.parametrize("wrong", [("--no-such-global",), ("--log-level", "loud"), ("--root",)], ids=" ".join)
def test_log_of_a_wrong_global(runtime, tmp_path, wrong):
    log = tmp_path / "log.json"
    runtime.call("--debug", *wrong, options=log_options(log)).failed()
    assert json.loads(log.read_text())["level"] == "error"


@pytest.mark.parametrize(
    "words",
    [("list", "--format", "a\nb"), ("create", "--bundle", "/no\nwhere", "x"), ("--log-level", "a\nb", "list"), ("create", "--config", "/a\nb", "x"),
     ("--cgroup-manager", "a\nb", "create", "x"), ("spec", "--bundle", "/no\nwhere"), ("state", "a\nb"), ("kill", "x\n"), ("a\nb",), ("--a\nb",)],
    ids=ascii,
)  # fmt: skip
def test_newline_in_an_argument(runtime, bundle, tmp_path, words):
    log = tmp_path / "log.json"
    line = runtime.call(*words, cwd=bundle.write(), options=log_options(log)).failed()
    assert json.loads(log.read_text())["msg"] in line
    assert log.read_text().count("\n") == 1


def test_long_argument_makes_a_short_message(runtime):
    """conmon reads 8191 bytes."""
    assert len(runtime.call("state", "/" * 100000).failed().encode()) < 8191


def test_warnings_stay_out_of_the_output_when_there_is_a_log(runtime, bundle, tmp_path):
    log = tmp_path / "log.json"
    bundle.process["capabilities"]["bounding"].append("CAP_OF_TOMORROW")
    runtime.create(bundle, options=("--debug", *log_options(log)))
    assert any("CAP_OF_TOMORROW" in json.loads(line)["msg"] for line in log.read_text().splitlines())


def test_log_is_json_whatever_the_error_holds(runtime, bundle, tmp_path):
    log = tmp_path / "log.json"
    bundle.process["args"] = ['/no"such\\\x01\nfile\u2028']
    runtime.container(bundle)
    result = runtime.call("create", "--bundle", bundle.write(), bundle.id, options=log_options(log))
    assert result.status == 1
    assert len(log.read_bytes().splitlines()) == 1
    json.loads(log.read_text())


def test_unknown_log_format(runtime):
    runtime.call("list", options=("--log-format", "xml")).failed("xml")


# ---- closed and broken streams


def test_closed_stdio(runtime, bundle):
    """Descriptors 0 to 2 that are not open must not be filled with something else."""
    runtime.command = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *runtime.command]
    runtime.container(bundle.args(["write", "/report", "x"]))
    assert runtime.call("run", "--bundle", bundle.write(), bundle.id).status == 0
    assert (bundle.rootfs / "report").read_text() == "x"


def test_broken_stdout(runtime, bundle):
    container = runtime.create(bundle)
    reader, writer = os.pipe()
    os.close(reader)
    result = runtime.call("state", container.id, stdout=writer)
    os.close(writer)
    assert result.status in (0, 1)
    assert "Traceback" not in result.err


def test_full_stdout(runtime):
    runtime.root.mkdir()
    with open("/dev/full", "w") as full:
        runtime.call("list", stdout=full).failed("standard output")


def test_root_that_is_a_file(runtime, tmp_path):
    runtime.root = tmp_path / "file"
    runtime.root.write_text("")
    assert "internal" not in runtime.call("list").failed("not a directory".capitalize())
    runtime.root = tmp_path / "none"


def test_version(runtime):
    result = runtime.call("--version").ok()
    assert len([line for line in result.out.splitlines() if "version" in line]) == 1
    assert "spec: 1." in result.out


def test_spec_makes_a_config_that_runs(runtime, bundle, tmp_path):
    runtime.call("spec", cwd=tmp_path).ok()
    bundle.config = json.loads((tmp_path / "config.json").read_text())
    bundle.process.update(terminal=False, args=["/bin/probe", "echo", "runs"])
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] not in ("mqueue", "cgroup")]
    for mount in bundle.config["mounts"]:
        mount["options"] = [o for o in mount.get("options", []) if o != "gid=5"]
    assert runtime.run(bundle).ok().out == "runs\n"
    runtime.call("spec", cwd=tmp_path).failed()
