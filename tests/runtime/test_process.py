"""config.md, process: its arguments, environment, directory and limits, and what must not get in."""

import errno
import os
import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.requires("root")


# ---- args


def test_args_are_passed_as_they_are(runtime, bundle):
    bundle.process["args"] = ["/bin/probe", "echo", "", "a b", "$HOME", "ü", "--x"]
    assert runtime.run(bundle).ok().out == " a b $HOME ü --x\n"


def test_program_is_looked_up_in_the_containers_path(runtime, bundle):
    (bundle.rootfs / "opt/tools").mkdir(parents=True)
    bundle.probe.rename(bundle.rootfs / "opt/tools/there")
    bundle.process["args"] = ["there", "echo", "found"]
    bundle.process["env"] = ["PATH=/nowhere:/opt/tools"]
    assert runtime.run(bundle).ok().out == "found\n"


def test_not_executable_file_on_the_path_is_passed_over(runtime, bundle):
    (bundle.rootfs / "first").mkdir()
    (bundle.rootfs / "first/probe").write_text("no program")
    bundle.process["args"] = ["probe", "echo", "second"]
    bundle.process["env"] = ["PATH=/first:/bin"]
    assert runtime.run(bundle).ok().out == "second\n"


def test_directory_on_the_path_is_passed_over(runtime, bundle):
    (bundle.rootfs / "first/probe").mkdir(parents=True)
    bundle.process["args"] = ["probe", "echo", "second"]
    bundle.process["env"] = ["PATH=/first:/bin"]
    assert runtime.run(bundle).ok().out == "second\n"


def test_relative_program_is_taken_from_cwd(runtime, bundle):
    bundle.process["args"] = ["./probe", "echo", "x"]
    bundle.process["cwd"] = "/bin"
    assert runtime.run(bundle).ok().out == "x\n"


def test_missing_program_fails_the_create(runtime, bundle):
    bundle.process["args"] = ["no-such-program"]
    runtime.refuses(bundle, "no-such-program", "executable file not found in $PATH")


def test_missing_absolute_program_fails_the_create(runtime, bundle):
    bundle.process["args"] = ["/bin/nothing"]
    line = runtime.refuses(bundle, "/bin/nothing")
    assert "no such file or directory" in line.lower()


def test_program_without_permission_fails_the_create(runtime, bundle):
    bundle.probe.chmod(0o644)
    line = runtime.refuses(bundle, "/bin/probe")
    assert "permission denied" in line.lower()


def test_permission_is_that_of_the_containers_user(runtime, bundle):
    bundle.probe.chmod(0o700)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert "permission denied" in runtime.refuses(bundle).lower()


def test_directory_as_program_fails_the_create(runtime, bundle):
    bundle.process["args"] = ["/bin"]
    runtime.refuses(bundle, "/bin")


def test_file_that_is_no_program_fails_the_start(runtime, bundle):
    (bundle.rootfs / "junk").write_text("\0\0\0")
    (bundle.rootfs / "junk").chmod(0o755)
    bundle.process["args"] = ["/junk"]
    container = runtime.create(bundle)
    line = container.call("start").failed("/junk")
    assert "exec format error" in line.lower()


def test_run_of_a_missing_program(runtime, bundle):
    bundle.process["args"] = ["no-such-program"]
    runtime.run(bundle).failed("executable file not found in $PATH")


# ---- environment and working directory


def test_environment_is_exactly_as_configured(runtime, bundle):
    bundle.process["env"] = ["PATH=/bin", "A=1", "B=", "C=a=b", "UMLAUT=ä", "HOME=/x"]
    assert runtime.report(bundle)["env"] == [
        text.encode().decode("latin-1") for text in ("PATH=/bin", "A=1", "B=", "C=a=b", "UMLAUT=ä", "HOME=/x")
    ]


def test_the_last_of_a_name_counts(runtime, bundle):
    bundle.process["env"] += ["A=first", "B=b", "A=last"]
    assert [entry for entry in runtime.report(bundle)["env"] if entry[:2] in ("A=", "B=")] == ["A=last", "B=b"]


@pytest.mark.parametrize("given", [[], ["HOME="], ["HOME=/x", "HOME="]])
def test_home_is_that_of_passwd_unless_it_is_set(runtime, bundle, given):
    (bundle.rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:7:7::/home/user:/bin/sh\n")
    bundle.process["user"] = {"uid": 7, "gid": 7}
    bundle.process["env"] += given
    home = [entry for entry in runtime.report(bundle)["env"] if entry.startswith("HOME=")]
    assert home == ["HOME=/home/user"]


def test_nothing_of_the_callers_environment_gets_in(runtime, bundle):
    report = runtime.report(bundle, env={"PATH": os.environ["PATH"], "SECRET": "x", "LC_ALL": "C", "PYTHONPATH": ""})
    names = {entry.split("=")[0] for entry in report["env"]}
    assert names <= {"PATH", "HOME"}, "HOME may be added, as runc and crun do"


def test_cwd(runtime, bundle):
    bundle.process["cwd"] = "/var/lib/data"
    assert runtime.report(bundle)["cwd"] == "/var/lib/data"


@pytest.mark.parametrize("readonly", [False, True])
def test_missing_cwd_is_made(runtime, bundle, readonly):
    bundle.config["root"]["readonly"] = readonly
    bundle.process["cwd"] = "/made/on/demand"
    assert runtime.report(bundle)["cwd"] == "/made/on/demand"


def test_cwd_through_a_link_stays_inside(runtime, bundle):
    (bundle.rootfs / "link").symlink_to("/var/lib")
    bundle.process["cwd"] = "/link/data"
    assert runtime.report(bundle)["cwd"] == "/var/lib/data"


def test_cwd_of_another_user(runtime, bundle):
    """A directory that only its user may enter: root without CAP_DAC_OVERRIDE could not."""
    private = bundle.rootfs / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 1000, 1000)
    bundle.process.update(cwd="/private", user={"uid": 1000, "gid": 1000})
    assert runtime.report(bundle)["cwd"] == "/private"


def test_cwd_that_is_a_file(runtime, bundle):
    bundle.process["cwd"] = "/bin/probe"
    runtime.refuses(bundle, "/bin/probe")


# ---- limits and scheduling


def test_rlimits(runtime, bundle):
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_STACK", "soft": 65536 * 16, "hard": 65536 * 32},
        {"type": "RLIMIT_RTTIME", "soft": 7, "hard": 8},
    ]
    limits = runtime.report(bundle)["rlimits"]
    assert limits[resource.RLIMIT_NOFILE] == [100, 200]
    assert limits[resource.RLIMIT_CORE] == [0, 0]
    assert limits[resource.RLIMIT_STACK] == [65536 * 16, 65536 * 32]
    assert limits[15] == [7, 8]


def test_other_limits_stay_as_they_were(runtime, bundle):
    limits = runtime.report(bundle)["rlimits"]
    for number in range(16):
        soft, hard = resource.getrlimit(number)
        assert limits[number] == [soft & (2**64 - 1), hard & (2**64 - 1)], f"limit {number}"


def test_infinite_limit(runtime, bundle):
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("RLIMIT_FSIZE is not infinite here")
    bundle.process["rlimits"] = [{"type": "RLIMIT_FSIZE", "soft": 1 << 40, "hard": 2**64 - 1}]
    assert runtime.report(bundle)["rlimits"][resource.RLIMIT_FSIZE] == [1 << 40, 2**64 - 1]


@pytest.mark.requires("cap_sys_resource")
def test_raised_limit(runtime, bundle):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 1}]
    assert runtime.report(bundle)["rlimits"][resource.RLIMIT_NOFILE] == [hard + 1] * 2


def test_small_file_limit_does_not_hurt_the_setup(runtime, bundle):
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 4, "hard": 4}]
    assert runtime.report(bundle)["rlimits"][resource.RLIMIT_NOFILE] == [4, 4]


def test_oom_score(runtime, bundle):
    bundle.process["oomScoreAdj"] = 777
    assert runtime.report(bundle)["oomScoreAdj"] == "777\n"


def test_oom_score_unset_is_the_callers(runtime, bundle):
    with open("/proc/self/oom_score_adj") as own:
        assert runtime.report(bundle)["oomScoreAdj"] == own.read()


@pytest.mark.requires("cap_sys_resource")
def test_oom_score_lowered(runtime, bundle):
    bundle.process["oomScoreAdj"] = -500
    assert runtime.report(bundle)["oomScoreAdj"] == "-500\n"


@pytest.mark.parametrize(("policy", "number"), [("SCHED_OTHER", 0), ("SCHED_BATCH", 3), ("SCHED_IDLE", 5)])
def test_scheduler(runtime, bundle, policy, number):
    bundle.process["scheduler"] = {"policy": policy, "nice": 3 if number != 5 else 0}
    found = runtime.report(bundle)["scheduler"]
    assert found["policy"] == number
    assert found["nice"] == (3 if number != 5 else 0)


def test_cpu_affinity_for_exec_is_not_inits(runtime, bundle):
    bundle.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    del bundle.linux["cgroupsPath"]
    assert runtime.report(bundle)["affinity"] == sorted(os.sched_getaffinity(0))


@pytest.mark.requires("two_cpus")
@pytest.mark.parametrize("verb", ["create", "run"])
def test_the_callers_cpu_affinity_is_not_inherited(runtime, bundle, verb):
    """Who pins pyoci has not asked for a container on these CPUs: it gets all that its cpuset has."""
    usable = sorted(os.sched_getaffinity(0))
    pinned = {"preexec_fn": lambda: os.sched_setaffinity(0, usable[:1])}
    if verb == "run":
        report = runtime.report(bundle, **pinned)
    else:
        container = runtime.start(bundle, **pinned)
        container.wait()
        report = container.lines[-1]
    assert report["affinity"] == usable


@pytest.mark.parametrize(("name", "number"), [("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)])
def test_io_priority(runtime, bundle, name, number):
    bundle.process["ioPriority"] = {"class": name, "priority": 6}
    assert runtime.report(bundle)["ioprio"] == number << 13 | 6


def test_io_priority_idle_has_no_levels(runtime, bundle):
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE"}
    assert runtime.report(bundle)["ioprio"] == 3 << 13
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE"}
    runtime.refuses(bundle, "/process/ioPriority/priority")


@pytest.mark.parametrize("caps", [["CAP_DAC_OVERRIDE"], []])
def test_the_working_directory_may_be_private_of_somebody_else(runtime, bundle, caps):
    """Root goes there while it still may, whatever the program may."""
    private = bundle.rootfs / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 2000, 2000)
    bundle.capabilities(*caps)
    bundle.process.update(cwd="/private", user={"uid": 1000 if caps else 0, "gid": 1000})
    assert runtime.report(bundle)["cwd"] == "/private"


def test_personality(runtime, bundle):
    if os.uname().machine != "x86_64":
        pytest.skip("a machine with a 32-bit persona is needed")
    bundle.linux["personality"] = {"domain": "LINUX32"}
    report = runtime.report(bundle)
    assert report["personality"] & 0xFF == 8
    # What uname(2) says in this persona is the kernel's business: User-Mode Linux knows no 32-bit name.
    code = "import ctypes, os; ctypes.CDLL(None).personality(8); print(os.uname().machine)"
    assert report["machine"] == subprocess.check_output([sys.executable, "-c", code], text=True).strip()


# ---- what must not get in


def test_signals_are_reset(runtime, bundle):
    """The caller ignores and blocks; the program finds everything at its default."""
    caller = "trap '' PIPE USR1 INT QUIT; exec \"$@\""
    runtime.command = ["/bin/sh", "-c", caller, "sh", *runtime.command]
    report = runtime.report(bundle)
    assert (report["ignored"], report["blocked"]) == ([], [])


def test_leaked_descriptors_do_not_get_in(runtime, bundle):
    null = os.open("/dev/null", os.O_RDWR)
    report = runtime.report(bundle, fds=dict.fromkeys(range(3, 21), null))
    os.close(null)
    assert list(report["fds"]) == ["0", "1", "2"]


def test_descriptors_at_the_gate(runtime, bundle):
    """What the waiting stage holds: no directory of the host, no descriptor of the caller."""
    leak = os.open("/", os.O_RDONLY)
    container = runtime.create(bundle, fds={9: leak, 15: leak})
    os.close(leak)
    links = [os.readlink(f"/proc/{container.init}/fd/{fd}") for fd in os.listdir(f"/proc/{container.init}/fd")]
    assert "/" not in links
    assert not [link for link in links if link.startswith(("/etc", "/usr", "/home", str(bundle.path)))]


def test_preserved_descriptors(runtime, bundle):
    files = [os.memfd_create(name) for name in ("one", "two", "three")]
    report = runtime.report(bundle, "--preserve-fds", "2", fds=dict(zip((3, 4, 5), files, strict=True)))
    for file in files:
        os.close(file)
    assert list(report["fds"]) == ["0", "1", "2", "3", "4"]
    assert report["fds"]["3"].startswith("/memfd:one")
    assert report["fds"]["4"].startswith("/memfd:two")


def test_listen_fds(runtime, bundle):
    """Socket activation (sd_listen_fds(3)) is handed on."""
    socket = os.memfd_create("socket")
    runtime.command = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *runtime.command]
    environment = {"PATH": os.environ["PATH"], "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}
    report = runtime.report(bundle, env=environment, fds={3: socket})
    os.close(socket)
    assert report["fds"]["3"].startswith("/memfd:socket")
    assert {"LISTEN_FDS=1", "LISTEN_PID=1"} <= set(report["env"])


def test_no_descriptor_without_listen_pid(runtime, bundle):
    socket = os.memfd_create("socket")
    environment = {"PATH": os.environ["PATH"], "LISTEN_FDS": "1", "LISTEN_PID": "1"}
    report = runtime.report(bundle, env=environment, fds={3: socket})
    os.close(socket)
    assert "3" not in report["fds"]


@pytest.mark.requires("keyrings")
def test_session_keyring_is_new(runtime, bundles):
    bundle = bundles()
    report = runtime.report(bundle)
    assert report["keyringSerial"] > 0
    assert bundle.id in report["keyring"]
    other = runtime.report(bundles())
    assert other["keyringSerial"] != report["keyringSerial"]


@pytest.mark.requires("keyrings")
def test_no_new_keyring(runtime, bundle):
    first = runtime.report(bundle, "--no-new-keyring")
    second = runtime.report(bundle, "--no-new-keyring")
    assert first["keyringSerial"] == second["keyringSerial"]


def test_program_is_not_ptraceable_by_its_peers_at_the_gate(runtime, bundle):
    container = runtime.create(bundle)
    assert os.stat(f"/proc/{container.init}/environ").st_uid == 0


def test_exe_at_the_gate_is_sealed(runtime, bundle):
    """/proc/PID/exe of the waiting process must not lead to a program of the host (CVE-2019-5736)."""
    container = runtime.create(bundle)
    try:
        file = os.open(f"/proc/{container.init}/exe", os.O_WRONLY)
    except OSError as error:
        assert error.errno in (errno.ETXTBSY, errno.EACCES, errno.EPERM, errno.EROFS)
    else:
        os.close(file)
        pytest.fail("the program at the gate can be written to")
    target = os.readlink(f"/proc/{container.init}/exe")
    assert not os.path.exists(target), f"{target} is a file of the host"
