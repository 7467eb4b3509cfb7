"""exec: a further process in a running container, by options or by a process file."""

import json
import os
import signal

import pytest

from tests.helpers_bundle import CAPABILITIES, PROBE
from tests.helpers_identity import bits, capability_sets
from tests.helpers_runtime import wait_exit

pytestmark = pytest.mark.requires("root")
USERS = [
    ("1", (1, 0)), ("0", (0, 0)), ("1:2", (1, 2)), ("1000:1000", (1000, 1000)), ("4294967294", (4294967294, 0)),
]  # fmt: skip
BAD_USERS = ["", ":", "1:", ":1", "+1", "-1", " 1", "1 ", "0x1", "1e3", "4294967295", "4294967296", "9" * 40, "root", "1:x",
             "1:2:3", "1,2", "1.0", "\u0661"]  # fmt: skip


@pytest.fixture
def container(runtime, bundle):
    """A running container that waits."""
    return runtime.waiting(bundle)


def test_it_is_in_the_container(container):
    report = container.exec_report()
    inner = {kind: os.readlink(f"/proc/{container.init}/ns/{kind}") for kind in ("pid", "net", "ipc", "uts", "mnt")}
    assert {kind: report["namespaces"][kind] for kind in inner} == inner
    assert report["hostname"] == "box"
    with open(f"/proc/{container.init}/cgroup") as own:
        assert report["cgroup"] == own.read()
    assert report["pid"] not in (0, 1)
    assert report["sid"] == report["pgid"] == report["pid"]


def test_defaults_are_those_of_the_config(runtime, bundle):
    bundle.process.update(cwd="/var/lib/data", env=["PATH=/bin", "A=1"])
    bundle.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}
    report = runtime.waiting(bundle).exec_report()
    assert report["cwd"] == "/var/lib/data"
    assert {"PATH=/bin", "A=1"} <= set(report["env"])
    assert (report["uids"], report["gids"]) == ([5] * 3, [6] * 3)
    assert 7 in report["groups"]
    assert report["noNewPrivs"] == 1


@pytest.mark.parametrize("status", [0, 1, 42, 126, 127, 255])
def test_exit_status(container, status):
    assert container.exec(["exit", status]).status == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_exit_status_of_a_signal(container, number):
    assert container.exec(["raise", int(number)]).status == 128 + number


def test_output_and_input(container):
    result = container.exec(["cat"], ["complain", "to stderr"], stdin="from the caller")
    assert (result.status, result.out, result.err) == (0, "from the caller", "to stderr\n")


def test_options(container):
    report = container.exec_report(
        "--cwd", "/tmp", "--env", "X=1", "-e", "Y=2", "--user", "10:20", "--additional-gids", "30", "-g", "40",
    )  # fmt: skip
    assert report["cwd"] == "/tmp"
    assert {"X=1", "Y=2"} <= set(report["env"])
    assert (report["uids"], report["gids"]) == ([10] * 3, [20] * 3)
    assert {30, 40} <= set(report["groups"])


def test_env_replaces_what_the_config_has(container):
    """getenv(3) finds the first of two: there must be one."""
    env = container.exec_report("--env", "PATH=/bin", "-e", "A=1", "-e", "A=2")["env"]
    assert [entry for entry in env if entry.startswith(("PATH=", "A="))] == ["PATH=/bin", "A=2"]


def test_missing_cwd_is_not_made(container):
    container.exec("report", options=("--cwd", "/not/there")).failed("/not/there", "ENOENT", status=255)
    assert not (container.bundle.rootfs / "not").exists()


@pytest.mark.parametrize("spelling", [["--user=1"], ["--user", "1"], ["-u", "1"], ["-user", "1"], ["-u=1"]], ids=" ".join)
def test_option_spellings(container, spelling):
    assert container.exec_report(*spelling)["uids"] == [1] * 3


@pytest.mark.parametrize(("text", "expected"), USERS)
def test_user(container, text, expected):
    report = container.exec_report("--user", text)
    assert (report["uids"][0], report["gids"][0]) == expected


@pytest.mark.parametrize("text", BAD_USERS, ids=ascii)
def test_bad_user_is_never_root(container, text):
    """CVE-2026-30892: what is not a number must be an error, not uid 0."""
    result = container.exec("report", options=("--user", text))
    result.failed(status=255)
    assert result.out == ""


def test_capabilities(container):
    report = container.exec_report("--cap", "CAP_KILL", "-c", "CAP_CHOWN")
    usable = bits(*CAPABILITIES, "CAP_CHOWN")
    assert capability_sets(report) == {"Bnd": usable, "Prm": usable, "Eff": usable, "Inh": 0, "Amb": 0}


@pytest.mark.parametrize("user", ["0", "1000"])
@pytest.mark.parametrize("inheritable", [[], ["CAP_KILL"]])
def test_added_capabilities_become_ambient_only_where_they_are_inheritable(runtime, bundle, inheritable, user):
    """CVE-2022-29162: none becomes inheritable by being added."""
    bundle.process["capabilities"]["inheritable"] = inheritable
    container = runtime.waiting(bundle)
    report = container.exec_report("--user", user, "--cap", "CAP_KILL", "--cap", "CAP_SETUID")
    before, added, kept = bits(*CAPABILITIES), bits("CAP_KILL", "CAP_SETUID"), bits(*inheritable)
    usable = before | added if user == "0" else kept
    assert capability_sets(report) == {"Bnd": before | added, "Prm": usable, "Eff": usable, "Inh": kept, "Amb": kept}


@pytest.mark.parametrize("how", ["options", "file"])
def test_the_working_directory_may_be_private_of_somebody_else(runtime, bundle, how):
    """Root goes there while it still may; the user could not."""
    private = bundle.rootfs / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 2000, 2000)
    container = runtime.waiting(bundle)
    if how == "options":
        report = container.exec_report("--user", "1000:1000", "--cwd", "/private")
    else:
        process = {**bundle.process, "args": [PROBE, "report"], "cwd": "/private", "user": {"uid": 1000, "gid": 1000}}
        report = container.exec_process(process).ok().lines[-1]
    assert (report["cwd"], report["uids"]) == ("/private", [1000] * 3)


def test_capabilities_unchanged_without_the_option(container):
    own = bits(*CAPABILITIES)
    assert capability_sets(container.exec_report()) == {"Bnd": own, "Prm": own, "Eff": own, "Inh": 0, "Amb": 0}


def test_no_new_privileges_option(runtime, bundle):
    bundle.process["noNewPrivileges"] = False
    container = runtime.waiting(bundle)
    assert container.exec_report()["noNewPrivs"] == 0
    assert container.exec_report("--no-new-privs")["noNewPrivs"] == 1


def test_options_end_at_the_id(container):
    assert container.exec(["echo", "--user", "-x", "--", "true"]).out == "--user -x\n"


def test_the_command_may_follow_two_dashes(container):
    done = container.runtime.call("exec", container.id, "--", PROBE, "exit", 7)
    assert (done.status, done.err) == (7, "")


def test_null_in_a_process_file_is_absent(container):
    process = {"args": [PROBE, "report"], "cwd": "/", "user": {"uid": 5}, "env": None, "capabilities": None, "rlimits": None}
    report = container.exec_process(process).ok().lines[-1]
    assert (report["uids"], report["gids"]) == ([5] * 3, [0] * 3)


def test_process_file(container):
    process = {
        "user": {"uid": 11, "gid": 12, "additionalGids": [13], "umask": 0o27},
        "args": [PROBE, "report"],
        "env": ["ONLY=this"],
        "cwd": "/tmp",
        "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
        "noNewPrivileges": True,
        "oomScoreAdj": 600,
    }
    report = container.exec_process(process).ok().lines[-1]
    assert (report["uids"], report["gids"]) == ([11] * 3, [12] * 3)
    assert 13 in report["groups"]
    assert "ONLY=this" in report["env"] and "PATH=/usr/local/bin:/bin:/usr/bin" not in report["env"]
    assert (report["cwd"], report["umask"], report["noNewPrivs"]) == ("/tmp", 0o27, 1)
    assert report["rlimits"][7] == [50, 60]
    assert report["oomScoreAdj"] == "600\n"
    assert capability_sets(report) == {"Bnd": bits("CAP_KILL"), "Prm": 0, "Eff": 0, "Inh": 0, "Amb": 0}


def test_words_after_a_process_file_are_ignored(container):
    process = {**container.bundle.process, "args": [PROBE, "echo", "from the file"]}
    file = container.bundle.path / "p.json"
    file.write_text(json.dumps(process))
    result = container.runtime.call("exec", "--process", file, container.id, "something", "else")
    assert result.ok().out == "from the file\n"


def test_file_may_vanish_after_the_call(container):
    process = {**container.bundle.process, "args": [PROBE, "wait"]}
    pid_file = container.bundle.path / "exec.pid"
    container.exec_process(process, "--detach", "--pid-file", pid_file).ok()
    (container.bundle.path / "process.json").unlink()
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_detached(container):
    pid_file = container.bundle.path / "exec.pid"
    result = container.exec("wait", options=("--detach", "--pid-file", pid_file), out=container.stdout)
    assert result.status == 0
    text = pid_file.read_bytes()
    assert text.isdigit(), text
    pid = int(text)
    with open(f"/proc/{pid}/stat") as stat:
        assert int(stat.read().rpartition(")")[2].split()[1]) == os.getpid(), "an orphan of the caller's subreaper"
    container.until(lambda: container.lines.count({"ready": "yes"}) == 2, "it runs")
    os.kill(pid, signal.SIGTERM)
    assert wait_exit(pid) == 128 + signal.SIGTERM


def test_foreground_pid_file(container):
    pid_file = container.bundle.path / "exec.pid"
    report = container.exec_report("--pid-file", pid_file)
    assert report["pid"] > 1
    assert pid_file.read_bytes().isdigit()


def test_signals_are_forwarded(container):
    call = container.runtime.spawn("exec", container.id, PROBE, "wait", stdout=container.stdout.fd)
    container.until(lambda: container.lines.count({"ready": "yes"}) == 2, "it runs")
    call.send_signal(signal.SIGUSR1)
    container.until(lambda: signal.SIGUSR1 in container.signals(), "the signal arrives")
    call.send_signal(signal.SIGTERM)
    assert call.wait(20) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("program", "word"), [("nope", "executable file not found in $PATH"), ("/nope", "no such file or directory"),
                          ("/etc", "permission denied|is a directory"), ("/tmp/plain", "permission denied")],
)  # fmt: skip
def test_failure(container, program, word):
    (container.bundle.rootfs / "tmp/plain").write_text("x")
    pid_file = container.bundle.path / "exec.pid"
    result = container.runtime.call("exec", "--detach", "--pid-file", pid_file, container.id, program)
    line = result.failed(status=255)
    assert any(w.lower() in line.lower() for w in word.split("|")), line
    assert not pid_file.exists()
    assert container.status == "running"


@pytest.mark.parametrize(
    ("option", "value"), [("--cwd", "tmp"), ("--env", "NAME"), ("--env", "=x"), ("--cap", "CAP_SYS_AMIN"), ("--additional-gids", "x")],
)  # fmt: skip
def test_wrong_option(container, option, value):
    container.exec("true", options=(option, value)).failed(value, status=255)


def test_wrong_command_line_is_no_exit_status_of_a_program(container):
    container.call("exec").failed("command", status=255)
    container.runtime.call("exec", "--nonsense", container.id, "true").failed("--nonsense", status=255)


def test_console_socket_needs_detach(container):
    container.exec("true", options=("--tty", "--console-socket", "/nowhere")).failed("--detach", status=255)


def test_process_from_a_pipe(container):
    """As a shell's <(...) gives it."""
    process = {**container.bundle.process, "args": [PROBE, "echo", "piped"]}
    reader, writer = os.pipe()
    os.write(writer, json.dumps(process).encode())
    os.close(writer)
    result = container.runtime.call("exec", "--process", "/dev/stdin", container.id, stdin=reader)
    os.close(reader)
    assert result.ok().out == "piped\n"


def test_exec_in_created(runtime, bundle):
    container = runtime.create(bundle)
    assert container.exec(["echo", "early"]).ok().out == "early\n"
    assert container.status == "created"


def test_exec_in_stopped(runtime, bundle):
    container = runtime.start(bundle.args("true"))
    container.wait()
    container.exec("true").failed("cannot exec in a stopped container", status=255)


def test_nothing_of_the_caller_gets_in(container):
    leak = os.open("/", os.O_RDONLY)
    report = container.exec_report(fds={5: leak, 11: leak}, env={"PATH": os.environ["PATH"], "SECRET": "x"})
    os.close(leak)
    assert list(report["fds"]) == ["0", "1", "2"]
    assert not [entry for entry in report["env"] if entry.startswith("SECRET")]
    assert (report["ignored"], report["blocked"]) == ([], [])


def test_preserved_descriptors(container):
    file = os.memfd_create("kept")
    report = container.exec_report("--preserve-fds", "1", fds={3: file})
    os.close(file)
    assert report["fds"]["3"].startswith("/memfd:kept")


def test_exec_keeps_the_seccomp_filter(runtime, bundle):
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}],
    }
    container = runtime.waiting(bundle)
    assert container.exec(["mkdir", "/tmp/x"]).lines[0]["errno"] == 77


def test_exec_sees_the_masks(runtime, bundle):
    (bundle.rootfs / "etc/key").write_text("secret")
    bundle.linux["maskedPaths"] = ["/etc/key"]
    assert runtime.waiting(bundle).exec(["read", "/etc/key"]).lines[0]["text"] == ""


def test_many_at_once(container):
    calls = [container.runtime.spawn("exec", container.id, PROBE, "exit", str(n)) for n in range(1, 9)]
    assert [call.wait(60) for call in calls] == list(range(1, 9))


def test_background_child_does_not_hold_the_call(container):
    """The first process decides; what it leaves running belongs to the container."""
    result = container.exec("spawn", ["echo", "done"], timeout=15)
    assert result.out.endswith("done\n")
    pids = json.loads(container.runtime.call("ps", "--format", "json", container.id).ok().out)
    assert len(pids) == 2, "init and the child"


@pytest.mark.requires("freezer")
def test_exec_in_paused(container):
    container.call("pause").ok()
    container.exec("true").failed(status=255)
    container.call("resume").ok()
    container.exec("true").ok()


# ---- CPUs


@pytest.mark.parametrize("cpu", sorted(os.sched_getaffinity(0))[:2])
def test_final_affinity(runtime, bundle, cpu):
    bundle.process["execCPUAffinity"] = {"final": str(cpu)}
    assert runtime.waiting(bundle).exec_report()["affinity"] == [cpu]


def test_initial_affinity_stays_without_a_final_one(runtime, bundle):
    """A change of cgroup may make the kernel forget it: here there is none."""
    cpu = max(os.sched_getaffinity(0))
    container = runtime.waiting(bundle, options=("--cgroup-manager", "disabled"))
    process = {**bundle.process, "args": [PROBE, "report"], "execCPUAffinity": {"initial": str(cpu)}}
    assert container.exec_process(process).ok().lines[-1]["affinity"] == [cpu]


@pytest.mark.requires("two_cpus")
@pytest.mark.parametrize("given", ["nothing", "initial", "final"])
def test_the_callers_affinity_is_not_inherited(runtime, bundle, given):
    """Who pins pyoci (taskset, CPUAffinity= of systemd, kubelet) has not asked for a container on these CPUs."""
    usable = sorted(os.sched_getaffinity(0))
    pinned = {"preexec_fn": lambda: os.sched_setaffinity(0, usable[:1])}
    if given != "nothing":
        bundle.process["execCPUAffinity"] = {given: str(usable[-1])}
    container = runtime.waiting(bundle, **pinned)
    expected = {"nothing": usable, "final": usable[-1:]}
    if given in expected:  # an initial one is left to the kernel
        assert container.exec_report(**pinned)["affinity"] == expected[given]
    process = {**bundle.process, "args": [PROBE, "report"], "execCPUAffinity": {}}
    assert container.exec_process(process, **pinned).ok().lines[-1]["affinity"] == usable


@pytest.mark.requires("cpuset", "two_cpus")
def test_the_cpuset_bounds_the_affinity(runtime, bundle):
    usable = sorted(os.sched_getaffinity(0))
    bundle.linux["resources"] = {"cpu": {"cpus": str(usable[-1]), "mems": "0"}}
    pinned = {"preexec_fn": lambda: os.sched_setaffinity(0, usable[:1])}
    assert runtime.waiting(bundle, **pinned).exec_report(**pinned)["affinity"] == usable[-1:]


@pytest.mark.parametrize("field", ["initial", "final"])
def test_affinity_to_a_cpu_that_is_not_there(runtime, bundle, field):
    bundle.process["execCPUAffinity"] = {field: "8191"}
    runtime.waiting(bundle).exec("true").failed(f"/process/execCPUAffinity/{field}", status=255)


def test_unknown_capability_in_a_process_file_is_a_warning(container):
    process = {**container.bundle.process, "args": [PROBE, "true"], "capabilities": {"bounding": ["CAP_TO_FLY"]}}
    result = container.exec_process(process)
    assert result.status == 0 and "warning" in result.err and "CAP_TO_FLY" in result.err
