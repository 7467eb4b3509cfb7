"""podman and conmon drive the runtime: run, exec, stop, terminals, volumes, users, security options."""

import json
import os
import re
import select
import socket
import subprocess
from pathlib import Path

import pytest

from tests.interop import terminal
from tests.interop.containerd import wait_exit
from tests.interop.images import NAME
from tests.interop.podman import Podman

SLEEP = (NAME, "sleep", "1000")


def sleeper(podman: Podman, *options: str) -> str:
    """Start a sleeping container in the background and return its id."""
    return podman.ok("run", "--detach", *options, *SLEEP)


def pid_of(podman: Podman, name: str) -> int:
    """Return the host pid of a container's init."""
    return int(podman.inspect(name, ".State.Pid"))


# -- exit statuses ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_exit_status_passes_through(podman: Podman, code: int) -> None:
    assert podman("run", "--rm", NAME, "sh", "-c", f"exit {code}").returncode == code


def test_death_by_signal_gives_128_plus_number(podman: Podman) -> None:
    assert podman("run", "--rm", "--init", NAME, "sh", "-c", "kill -TERM $$").returncode == 128 + 15


def test_missing_command_is_127(podman: Podman) -> None:
    done = podman("run", "--rm", NAME, "no-such-command")
    assert done.returncode == 127
    assert "no-such-command" in done.stderr


def test_missing_path_is_127(podman: Podman) -> None:
    assert podman("run", "--rm", NAME, "/no/such/file").returncode == 127


@pytest.mark.parametrize("path", ["/etc/not-executable", "/etc"])
def test_not_executable_is_126(podman: Podman, path: str) -> None:
    done = podman("run", "--rm", NAME, path)
    assert done.returncode == 126
    assert path in done.stderr


def test_failed_create_leaves_a_container_that_can_be_removed(podman: Podman) -> None:
    assert podman("run", "--name", "broken", NAME, "no-such-command").returncode == 127
    podman.ok("rm", "broken")


def test_missing_working_directory_is_made(podman: Podman) -> None:
    assert podman.sh("pwd", "--workdir", "/tmp/.") == "/tmp"


# -- output, input, terminal ------------------------------------------------------------------------------------------

def test_stdout_and_stderr_stay_apart(podman: Podman) -> None:
    done = podman("run", "--rm", NAME, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_stdin(podman: Podman) -> None:
    assert podman.ok("run", "--rm", "--interactive", NAME, "wc", "-c", stdin="x" * 200_000) == "200000"


def test_stdout_can_be_opened_again_by_an_ordinary_user(podman: Podman) -> None:
    assert podman.sh("echo again > /dev/stdout", "--user", "1000") == "again"


def test_terminal(podman: Podman) -> None:
    status, shown = terminal.run(
        [*podman.command, "run", "--rm", "-it", NAME, "sh", "-c", "tty; ls -l /dev/console | cut -c1; echo ready; cat; exit 3"],
        env=podman.environ, cwd=podman.base, prompt=b"ready", typed=b"typed\n\x04",
    )
    assert status == 3, shown
    lines = shown.splitlines()
    assert lines[:3] == ["/dev/pts/0", "c", "ready"]
    assert lines.count("typed") == 2  # the terminal's echo, then cat


def test_terminal_size(podman: Podman) -> None:
    status, shown = terminal.run(
        [*podman.command, "run", "--rm", "-it", NAME, "sh", "-c", "while [ \"$(stty size)\" != '33 99' ]; do :; done; stty size"],
        env=podman.environ, cwd=podman.base, rows=33, columns=99,
    )
    assert (status, shown) == (0, "33 99\n")


def test_terminal_for_an_ordinary_user(podman: Podman) -> None:
    status, shown = terminal.run(
        [*podman.command, "run", "--rm", "-it", "--user", "1000", NAME, "sh", "-c", "stat -c '%u %a' $(tty); echo x >/dev/tty"],
        env=podman.environ, cwd=podman.base,
    )
    assert (status, shown.split()) == (0, ["1000", "620", "x"])


def test_detached_terminal_and_logs(podman: Podman) -> None:
    name = podman.ok("run", "--detach", "--tty", NAME, "sh", "-c", "tty; exit 4")
    assert podman.ok("wait", name) == "4"
    assert podman.ok("logs", name).strip() == "/dev/pts/0"


def test_detached_logs_and_wait(podman: Podman) -> None:
    name = podman.ok("run", "--detach", NAME, "sh", "-c", "echo line; exit 5")
    assert podman.ok("wait", name) == "5"
    assert podman.ok("logs", name) == "line"


# -- exec -------------------------------------------------------------------------------------------------------------

def test_exec(podman: Podman) -> None:
    name = sleeper(podman, "--env", "FROM=create", "--hostname", "inside")
    assert podman.ok("exec", name, "sh", "-c", "echo $FROM $FROM_IMAGE; hostname; cat /proc/1/comm") \
        == "create yes\ninside\nsleep"


def test_exec_options(podman: Podman) -> None:
    name = sleeper(podman)
    shown = podman.ok(
        "exec", "--user", "app", "--workdir", "/home/app", "--env", "A=b", name, "sh", "-c", "id -un; id -g; pwd; echo $A",
    )
    assert shown == "app\n1000\n/home/app\nb"


def test_exec_exit_statuses(podman: Podman) -> None:
    name = sleeper(podman)
    assert podman("exec", name, "sh", "-c", "exit 6").returncode == 6
    assert podman("exec", name, "no-such-command").returncode == 127
    assert podman("exec", name, "/etc/not-executable").returncode == 126


def test_exec_stdin(podman: Podman) -> None:
    name = sleeper(podman)
    assert podman.ok("exec", "--interactive", name, "cat", stdin="to the command") == "to the command"


def test_exec_terminal(podman: Podman) -> None:
    name = sleeper(podman)
    status, shown = terminal.run(
        [*podman.command, "exec", "-it", name, "sh", "-c", "tty; exit 2"], env=podman.environ, cwd=podman.base,
    )
    assert (status, shown) == (2, "/dev/pts/0\n")


def test_exec_detached_outlives_its_caller(podman: Podman) -> None:
    name = sleeper(podman)
    podman.ok("exec", "--detach", name, "sh", "-c", "echo done > /tmp/f; mkfifo /tmp/p; cat /tmp/p; touch /tmp/later")
    podman.ok("exec", name, "sh", "-c", "while ! [ -p /tmp/p ]; do :; done; cat /tmp/f; : > /tmp/p; while ! [ -e /tmp/later ]; do :; done")


def test_exec_privileged(podman: Podman) -> None:
    name = sleeper(podman, "--cap-drop", "all")
    plain = podman.ok("exec", name, "grep", "CapEff", "/proc/self/status")
    more = podman.ok("exec", "--privileged", name, "grep", "CapEff", "/proc/self/status")
    assert int(plain.split()[1], 16) == 0
    assert int(more.split()[1], 16) != 0


def test_exec_in_a_stopped_container_fails(podman: Podman) -> None:
    name = podman.ok("run", "--detach", NAME, "true")
    podman.ok("wait", name)
    assert podman("exec", name, "true").returncode == 255


# -- lifecycle --------------------------------------------------------------------------------------------------------

def test_create_then_start(podman: Podman) -> None:
    name = podman.ok("create", NAME, "sh", "-c", "echo started")
    assert podman.inspect(name, ".State.Status") == "created"
    assert podman.ok("start", "--attach", name) == "started"


def test_init_then_start(podman: Podman) -> None:
    name = podman.ok("create", NAME, "sh", "-c", "echo started")
    podman.ok("init", name)
    assert podman.inspect(name, ".State.Status") == "initialized"
    assert podman.ok("start", "--attach", name) == "started"


def test_remove_after_init(podman: Podman) -> None:
    name = podman.ok("create", *SLEEP)
    podman.ok("init", name)
    pid = pid_of(podman, name)
    podman.ok("rm", "--force", name)
    wait_exit(pid)


def test_stop_with_a_handler(podman: Podman) -> None:
    name = podman.ok("run", "--detach", NAME, "sh", "-c", "trap 'exit 9' TERM; touch /tmp/set; while :; do sleep 0.1; done")
    podman.ok("exec", name, "sh", "-c", "while ! [ -e /tmp/set ]; do :; done")
    podman.ok("stop", "--time", "30", name)
    assert podman.inspect(name, ".State.ExitCode") == "9"


def test_stop_by_force(podman: Podman) -> None:
    name = sleeper(podman)
    podman("stop", "--time", "0", name)
    assert podman.ok("wait", name) == "137"


def test_kill_with_a_signal(podman: Podman) -> None:
    name = podman.ok("run", "--detach", NAME, "sh", "-c", "trap 'exit 8' USR2; touch /tmp/set; while :; do sleep 0.1; done")
    podman.ok("exec", name, "sh", "-c", "while ! [ -e /tmp/set ]; do :; done")
    podman.ok("kill", "--signal", "USR2", name)
    assert podman.ok("wait", name) == "8"


def test_restart_with_the_same_id(podman: Podman) -> None:
    name = sleeper(podman)
    pids = {pid_of(podman, name)}
    for _ in range(3):
        podman.ok("restart", "--time", "0", name)
        pids.add(pid_of(podman, name))
    assert len(pids) == 4
    assert podman.inspect(name, ".State.Status") == "running"


def test_start_again_after_exit(podman: Podman) -> None:
    name = podman.ok("create", NAME, "sh", "-c", "echo x >> /tmp/count; wc -l < /tmp/count")
    assert [podman.ok("start", "--attach", name) for _ in range(3)] == ["1", "2", "3"]


def test_pause_and_unpause(podman: Podman) -> None:
    name = sleeper(podman)
    podman.ok("pause", name)
    assert podman.inspect(name, ".State.Status") == "paused"
    assert podman("exec", name, "true").returncode != 0
    podman.ok("unpause", name)
    podman.ok("exec", name, "true")


def test_remove_while_paused(podman: Podman) -> None:
    name = sleeper(podman)
    pid = pid_of(podman, name)
    podman.ok("pause", name)
    podman.ok("rm", "--force", "--time", "0", name)
    wait_exit(pid)


def test_top(podman: Podman) -> None:
    name = sleeper(podman)
    assert "sleep 1000" in podman.ok("top", name, "args")


def test_cp_both_ways(podman: Podman, tmp_path: Path) -> None:
    name = sleeper(podman)
    (tmp_path / "in").write_text("copied")
    podman.ok("cp", str(tmp_path / "in"), f"{name}:/tmp/there")
    assert podman.ok("exec", name, "cat", "/tmp/there") == "copied"
    podman.ok("exec", name, "cp", "/tmp/there", "/tmp/back")
    podman.ok("cp", f"{name}:/tmp/back", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "copied"


def test_init_process_reaps(podman: Podman) -> None:
    if not Path("/usr/bin/catatonit").exists():
        pytest.skip("needs the program catatonit")
    name = sleeper(podman, "--init")
    assert podman.ok("exec", name, "cat", "/proc/1/comm") in ("catatonit", "podman-init")


# -- identity and security --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("user", "shown"), [("1000", "1000 1000"), ("app:daemon", "1000 1"), ("5:6", "5 6")])
def test_user(podman: Podman, user: str, shown: str) -> None:
    assert podman.sh("echo $(id -u) $(id -g)", "--user", user) == shown


def test_additional_groups(podman: Podman) -> None:
    assert {"1000", "777"} <= set(podman.sh("id -G", "--user", "1000:1000", "--group-add", "777").split())


def status_field(podman: Podman, field: str, *options: str) -> str:
    """Return a field of /proc/self/status of a process in a new container."""
    return podman.sh(f"grep ^{field}: /proc/self/status", *options).split()[1]


def test_capabilities(podman: Podman) -> None:
    net_admin, chown = 1 << 12, 1 << 0
    assert int(status_field(podman, "CapEff", "--cap-add", "net_admin"), 16) & net_admin
    assert not int(status_field(podman, "CapBnd"), 16) & net_admin
    assert not int(status_field(podman, "CapBnd", "--cap-drop", "chown"), 16) & chown
    assert int(status_field(podman, "CapBnd", "--cap-drop", "all"), 16) == 0


def test_ordinary_user_has_no_effective_capabilities(podman: Podman) -> None:
    assert int(status_field(podman, "CapEff", "--user", "1000"), 16) == 0


def test_no_new_privileges(podman: Podman) -> None:
    assert status_field(podman, "NoNewPrivs", "--security-opt", "no-new-privileges") == "1"
    assert status_field(podman, "NoNewPrivs") == "0"


def test_privileged(podman: Podman) -> None:
    mine = re.search(r"^CapBnd:\s+(\w+)", Path("/proc/self/status").read_text(), re.M)
    assert mine and status_field(podman, "CapBnd", "--privileged") == mine[1]
    assert podman.sh("mount -t tmpfs t /tmp && echo mounted", "--privileged") == "mounted"
    assert status_field(podman, "Seccomp", "--privileged") == "0"


def test_default_seccomp_profile(podman: Podman) -> None:
    if not Path("/usr/share/containers/seccomp.json").exists():
        pytest.skip("needs the file /usr/share/containers/seccomp.json (package golang-github-containers-common)")
    assert status_field(podman, "Seccomp") == "2"
    assert status_field(podman, "Seccomp", "--security-opt", "seccomp=unconfined") == "0"


def test_seccomp_profile_file(podman: Podman, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile))
    done = podman("run", "--rm", "--security-opt", f"seccomp={path}", NAME, "sh", "-c", "mkdir /tmp/x")
    assert done.returncode == 1
    assert "not supported" in done.stderr


def test_masked_and_read_only_paths(podman: Podman) -> None:
    assert podman.sh("wc -c < /proc/timer_list; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v :; true").split()[0] == "0"
    done = podman("run", "--rm", NAME, "sh", "-c", "echo x > /proc/sys/kernel/domainname")
    assert "Read-only file system" in done.stderr
    assert podman.sh("wc -c < /proc/timer_list", "--security-opt", "unmask=ALL") != ""


def test_ulimit(podman: Podman) -> None:
    # nproc is given too, because --ulimit replaces the configured defaults and podman's own need a privilege.
    limits = [word for limit in ("nofile=100:200", "core=0:0", "nproc=1024:1024") for word in ("--ulimit", limit)]
    assert podman.sh("ulimit -Sn; ulimit -Hn; ulimit -c", *limits) == "100\n200\n0"


def test_umask(podman: Podman) -> None:
    assert podman.sh("umask", "--umask", "0027") == "0027"


def test_no_stray_descriptors(podman: Podman) -> None:
    inner = [*podman.command, "run", "--rm", NAME, "ls", "/proc/self/fd"]
    done = subprocess.run(
        ["bash", "-c", 'exec 5</etc/passwd 9</etc/passwd; exec "$@"', "bash", *inner],
        env=podman.environ, cwd=podman.base, capture_output=True, text=True, timeout=60, check=True, input="",
    )
    assert done.stdout.split() == ["0", "1", "2", "3"]  # 3 is that of ls itself


def test_sysctl(podman: Podman) -> None:
    assert podman.sh("cat /proc/sys/kernel/msgmax", "--sysctl", "kernel.msgmax=4321") == "4321"


def test_oom_score_adj(podman: Podman) -> None:
    assert podman.sh("cat /proc/self/oom_score_adj", "--oom-score-adj", "321") == "321"


# -- namespaces -------------------------------------------------------------------------------------------------------

def namespaces(pid: int) -> dict[str, str]:
    """Return the namespace links of a process."""
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in ("net", "uts", "ipc", "pid", "mnt", "cgroup", "user")}


def test_hostname(podman: Podman) -> None:
    assert podman.sh("hostname; cat /etc/hostname", "--hostname", "web") == "web\nweb"


def test_host_namespaces(podman: Podman) -> None:
    name = sleeper(podman, "--network=host", "--uts=host", "--ipc=host", "--pid=host", "--cgroupns=host")
    theirs, mine = namespaces(pid_of(podman, name)), namespaces(os.getpid())
    assert theirs.pop("mnt") != mine.pop("mnt")
    assert theirs == mine


def test_private_namespaces(podman: Podman) -> None:
    name = sleeper(podman, "--network=none", "--cgroupns=private")
    theirs, mine = namespaces(pid_of(podman, name)), namespaces(os.getpid())
    assert theirs.pop("user") == mine.pop("user")
    assert not set(theirs.values()) & set(mine.values())


def test_joining_the_namespaces_of_another_container(podman: Podman) -> None:
    first = sleeper(podman)
    shared = [f"--{kind}=container:{first}" for kind in ("network", "ipc", "pid", "uts")]
    second = sleeper(podman, *shared)
    one, two = namespaces(pid_of(podman, first)), namespaces(pid_of(podman, second))
    assert {key for key in one if one[key] == two[key]} - {"cgroup"} == {"net", "ipc", "pid", "uts", "user"}


def test_stop_with_host_pids_ends_every_process(podman: Podman) -> None:
    name = podman.ok("run", "--detach", "--pid=host", NAME, "sh", "-c", "sleep 1000 & sleep 1000 & wait")
    pid = pid_of(podman, name)
    children: list[str] = []
    while len(children) < 2:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    podman.ok("stop", "--time", "1", name)
    for child in children:
        wait_exit(int(child), deadline=10)


def test_user_namespace_with_id_maps(podman: Podman) -> None:
    options = ("--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536")
    assert podman.sh("cat /proc/self/uid_map /proc/self/gid_map", *options).split() \
        == ["0", "100000", "65536", "0", "200000", "65536"]
    assert podman.sh("id -u; touch /root/x && stat -c %u /root/x", *options) == "0\n0"
    assert podman.sh("id -u; stat -c %u /home/app", "--user", "1000", *options) == "1000\n1000"


def test_exec_in_a_user_namespace(podman: Podman) -> None:
    name = sleeper(podman, "--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536")
    assert podman.ok("exec", "--user", "app", name, "id", "-u") == "1000"


# -- file systems -----------------------------------------------------------------------------------------------------

def test_volume_read_write(podman: Podman, tmp_path: Path) -> None:
    podman.sh("echo inside > /data/file", "--volume", f"{tmp_path}:/data")
    assert (tmp_path / "file").read_text() == "inside\n"


def test_volume_read_only(podman: Podman, tmp_path: Path) -> None:
    done = podman("run", "--rm", "--volume", f"{tmp_path}:/data:ro", NAME, "touch", "/data/file")
    assert "Read-only file system" in done.stderr
    assert not (tmp_path / "file").exists()


def test_volume_of_a_file(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    assert podman.sh("cat /etc/new/file", "--volume", f"{tmp_path}/file:/etc/new/file:ro") == "content"


@pytest.mark.parametrize(("option", "word"), [("shared", "shared:"), ("slave", "master:"), ("private", "-")])
def test_volume_propagation(podman: Podman, tmp_path: Path, option: str, word: str) -> None:
    source = tmp_path / "mount"
    source.mkdir()
    shown = podman_in_shared_mount(podman, source, f"{source}:/data:{option}")
    fields = shown.split()
    assert fields[6].startswith(word), shown


def podman_in_shared_mount(podman: Podman, source: Path, volume: str) -> str:
    """Run podman where `source` is a shared mount, and return the mountinfo line of /data in the container."""
    inner = [*podman.command, "run", "--rm", "--volume", volume, NAME, "grep", " /data ", "/proc/self/mountinfo"]
    script = 'mount -t tmpfs t "$0" && mount --make-shared "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(source), *inner],
        env=podman.environ, cwd=podman.base, capture_output=True, text=True, timeout=60, check=False, input="",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_named_volume_takes_the_images_content(podman: Podman) -> None:
    assert "passwd" in podman.sh("ls /etc", "--volume", "named:/etc").split()
    podman.ok("volume", "rm", "named")


def test_read_only_root(podman: Podman) -> None:
    done = podman("run", "--rm", "--read-only", NAME, "sh", "-c", "touch /tmp/ok && touch /etc/new")
    assert done.returncode == 1
    assert "/etc/new: Read-only file system" in done.stderr


def test_tmpfs_options(podman: Podman) -> None:
    line = podman.sh("grep ' /mnt/t ' /proc/self/mountinfo", "--tmpfs", "/mnt/t:rw,size=1m,mode=1755,noexec")
    assert "size=1024k" in line
    assert "noexec" in line
    assert podman.sh("stat -c %a /mnt/t", "--tmpfs", "/mnt/t:mode=1755") == "1755"


def test_tmpfs_copies_up(podman: Podman) -> None:
    assert "passwd" in podman.sh("ls /etc", "--tmpfs", "/etc:tmpcopyup").split()


def test_shm_size(podman: Podman) -> None:
    assert "size=2048k" in podman.sh("grep ' /dev/shm ' /proc/self/mountinfo", "--shm-size", "2m")


def test_device(podman: Podman) -> None:
    assert podman.sh("stat -c '%t:%T %a' /dev/mine; head -c 3 /dev/mine | wc -c", "--device", "/dev/zero:/dev/mine:r").split() \
        == ["1:5", "666", "3"]


def test_device_that_is_not_allowed(podman: Podman) -> None:
    done = podman("run", "--rm", "--cap-add", "mknod", NAME, "sh", "-c", "mknod /tmp/d b 254 0 && head -c 1 /tmp/d")
    assert "Operation not permitted" in done.stderr


def test_default_devices(podman: Podman) -> None:
    names = podman.sh("ls /dev").split()
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "fd", "stdin", "ptmx"} <= set(names)
    assert podman.sh("readlink /dev/fd; readlink /dev/ptmx") == "/proc/self/fd\npts/ptmx"


# -- cgroups ----------------------------------------------------------------------------------------------------------

def controller_file(podman: Podman, name: str, v1: str, v2: str) -> str:
    """Return a container's value of a controller file, whichever cgroup version has it; skip without either."""
    controller = v1.split("/")[0]
    for line in Path(f"/proc/{pid_of(podman, name)}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}/{v1.split('/')[1]}").read_text().strip()
        unified = Path(f"/sys/fs/cgroup{path}/{v2}")
        if number == "0" and unified.exists():
            return unified.read_text().strip()
    pytest.skip(f"needs the {controller} controller")


@pytest.mark.requires("memory")
def test_memory_limit(podman: Podman) -> None:
    name = sleeper(podman, "--memory", "64m", "--memory-swap", "-1")
    assert controller_file(podman, name, "memory/memory.limit_in_bytes", "memory.max") == "67108864"


@pytest.mark.requires("memory")
def test_small_memory_limit_is_enough_to_start(podman: Podman) -> None:
    assert podman("run", "--rm", "--memory", "6m", "--memory-swap", "-1", NAME, "true").returncode == 0


@pytest.mark.requires("pids")
def test_pids_limit(podman: Podman) -> None:
    name = sleeper(podman, "--pids-limit", "20")
    assert controller_file(podman, name, "pids/pids.max", "pids.max") == "20"


@pytest.mark.requires("cpu")
def test_cpu_limit(podman: Podman) -> None:
    name = sleeper(podman, "--cpu-shares", "512")
    assert controller_file(podman, name, "cpu/cpu.shares", "cpu.weight") in ("512", "20")


def test_cgroups_disabled(podman: Podman) -> None:
    name = sleeper(podman, "--cgroups=disabled")
    assert "libpod" not in Path(f"/proc/{pid_of(podman, name)}/cgroup").read_text()


def test_cgroup_parent(podman: Podman) -> None:
    name = sleeper(podman, "--cgroup-parent", "/libpod_parent/deeper")
    assert f"/libpod_parent/deeper/libpod-{name}" in Path(f"/proc/{pid_of(podman, name)}/cgroup").read_text()


def test_cgroup_is_gone_after_removal(podman: Podman) -> None:
    name = sleeper(podman)
    podman.ok("rm", "--force", "--time", "0", name)
    assert not [root for root, _, _ in os.walk("/sys/fs/cgroup") if f"libpod-{name}" in root]


# -- the rest ---------------------------------------------------------------------------------------------------------

def test_hooks_directory(podman: Podman, tmp_path: Path) -> None:
    record = tmp_path / "stages"
    script = tmp_path / "hook"
    script.write_text(f'#!/bin/sh\ncat >> {record}\necho >> {record}\n')
    script.chmod(0o755)
    hook = {
        "version": "1.0.0", "hook": {"path": str(script)}, "when": {"annotations": {"^hooked$": "yes"}},
        "stages": ["createRuntime", "poststart", "poststop"],
    }
    (podman.hooks / "test.json").write_text(json.dumps(hook))
    try:
        name = podman.ok("run", "--detach", "--annotation", "hooked=yes", NAME, "true")
        podman.ok("wait", name)
        podman.ok("rm", "--force", name)
    finally:
        (podman.hooks / "test.json").unlink()
    states = [json.loads(line) for line in record.read_text().splitlines() if line]
    assert {state["id"] for state in states} == {name}
    assert [state["status"] for state in states][::2] == ["creating", "stopped"]


def test_preserved_descriptors(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("through descriptor 3")
    inner = [*podman.command, "run", "--rm", "--preserve-fds", "1", NAME, "sh", "-c", "cat <&3"]
    done = subprocess.run(
        ["sh", "-c", 'exec 3<"$0"; exec "$@"', str(tmp_path / "file"), *inner],
        env=podman.environ, cwd=podman.base, capture_output=True, text=True, timeout=60, check=False, input="",
    )
    assert done.stdout == "through descriptor 3", done.stderr


def test_sd_notify(podman: Podman) -> None:
    address = podman.base / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(address))
        podman.environ["NOTIFY_SOCKET"] = str(address)
        try:
            name = sleeper(podman, "--sdnotify=conmon")
        finally:
            del podman.environ["NOTIFY_SOCKET"]
        poll = select.poll()
        poll.register(server, select.POLLIN)
        assert poll.poll(10_000)
        assert b"MAINPID=" in server.recv(4096)
    address.unlink()
    assert podman.inspect(name, ".State.Status") == "running"


def test_health_check_runs_exec(podman: Podman) -> None:
    name = sleeper(podman, "--health-cmd", "test -e /etc/passwd", "--health-interval", "disable")
    podman.ok("healthcheck", "run", name)


def test_build_runs_commands(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(
        f"FROM {NAME}\nRUN echo built > /built && id -u >> /built\nUSER app\nRUN id -u > /tmp/app\n",
    )
    podman.ok(
        "build", "--isolation", "oci", "--runtime", str(podman.runtime), "--ulimit", "nofile=1024:1024",
        "--network", "none", "--tag", "localhost/built", str(tmp_path), deadline=120,
    )
    assert podman.ok("run", "--rm", "localhost/built", "cat", "/built", "/tmp/app") == "built\n0\n1000"
    podman.ok("rmi", "localhost/built")


def test_pod_shares_namespaces(podman: Podman) -> None:
    podman.ok("pod", "create", "--name", "p", "--network", "none", "--infra-image", NAME, "--infra-command", "sleep 1000")
    one = sleeper(podman, "--pod", "p")
    two = sleeper(podman, "--pod", "p")
    first, second = namespaces(pid_of(podman, one)), namespaces(pid_of(podman, two))
    assert {key for key in first if first[key] == second[key]} >= {"net", "ipc", "uts"}
    assert first["pid"] != second["pid"]
