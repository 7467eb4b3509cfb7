"""containerd's shim drives the runtime: `ctr run`, exec, kill, pause, ps and terminals."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import terminal
from tests.interop.containerd import Containerd, wait_exit

SLEEP = ("sleep", "1000")
NAMESPACES = ("uts", "mnt", "pid", "ipc")


@pytest.fixture
def ctr(containerd: Containerd) -> Iterator[Containerd]:
    """Return the private containerd for one test; nothing of it may stay in the runtime's state directory."""
    yield containerd
    containerd.remove_all()
    root = containerd.base / "runtime" / containerd.namespace
    left = [path.name for path in root.iterdir()] if root.exists() else []
    assert not left, f"state left: {left}"


def test_run_passes_output_and_exit_status(ctr: Containerd) -> None:
    done = ctr.run("c1", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.returncode) == ("out\n", 7)
    assert "err\n" in done.stderr


def test_same_id_can_be_used_again_at_once(ctr: Containerd) -> None:
    for number in range(3):
        assert ctr.run("again", "sh", "-c", f"exit {number}").returncode == number


def test_image_environment_and_cwd_reach_the_process(ctr: Containerd) -> None:
    done = ctr.run(
        "c2", "sh", "-c", "echo $FROM_IMAGE $ASKED; pwd", options=("--env", "ASKED=too", "--cwd", "/tmp")
    )
    assert done.stdout == "yes too\n/tmp\n", done.stderr


def test_stdin_is_passed_and_its_end_too(ctr: Containerd) -> None:
    # ctr forgets an end of file that comes before the task exists, so the input ends after it was echoed.
    command = ctr.command(*ctr.run_args("c3", "cat", options=("--rm",)))
    with subprocess.Popen(
        command,
        env=ctr.environ,
        cwd=ctr.base,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin and child.stdout
        child.stdin.write("one\n")
        child.stdin.flush()
        assert child.stdout.readline() == "one\n"
        child.stdin.close()
        assert child.stdout.read() == ""
        assert child.wait(20) == 0


def test_missing_command_is_reported_with_its_name(ctr: Containerd) -> None:
    done = ctr.run("c4", "no-such-command")
    assert done.returncode != 0
    assert re.search(r'"no-such-command": executable file not found in \$PATH', done.stderr)


def test_process_ended_by_a_signal_gives_128_plus_number(ctr: Containerd) -> None:
    ctr.start_detached("c5", *SLEEP)
    pid = ctr.pid("c5")
    ctr.ok("task", "kill", "--signal", "KILL", "c5")
    ctr.wait_stopped("c5", pid)
    assert ctr.exit_code("c5") == 128 + signal.SIGKILL


def test_kill_delivers_the_signal(ctr: Containerd) -> None:
    ctr.start_detached("c6", "sh", "-c", "trap 'exit 42' USR1; while :; do sleep 0.1; done")
    pid = ctr.pid("c6")
    wait_for_trap(pid)
    ctr.ok("task", "kill", "--signal", "USR1", "c6")
    ctr.wait_stopped("c6", pid)
    assert ctr.exit_code("c6") == 42


def wait_for_trap(pid: int) -> None:
    """Wait until the process has a handler for SIGUSR1."""
    bit = 1 << (signal.SIGUSR1 - 1)
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        if int(re.search(r"^SigCgt:\s+(\w+)", status, re.M)[1], 16) & bit:  # type: ignore[index]
            return


def test_kill_all_ends_every_process(ctr: Containerd) -> None:
    ctr.start_detached("c7", "sh", "-c", "sleep 1000 & sleep 1000")
    pid = ctr.pid("c7")
    ctr.ok("task", "kill", "--all", "--signal", "KILL", "c7")
    wait_exit(pid)
    end = time.monotonic() + 10
    while any(Path(path).read_text().split() for path in cgroup_procs(ctr, "c7")):
        assert time.monotonic() < end, "a process outlived kill --all"


def cgroup_procs(ctr: Containerd, name: str) -> list[str]:
    """Return the cgroup.procs files of a container in all hierarchies."""
    return [
        os.path.join(root, "cgroup.procs")
        for root, _, files in os.walk("/sys/fs/cgroup")
        if root.endswith(f"/{ctr.namespace}/{name}") and "cgroup.procs" in files
    ]


def test_exec_runs_in_the_container(ctr: Containerd) -> None:
    ctr.start_detached("c8", *SLEEP)
    shown = ctr.exec(
        "c8",
        "e1",
        "sh",
        "-c",
        "cat /proc/1/comm; for n in uts mnt pid ipc; do readlink /proc/self/ns/$n; done",
    )
    pid = ctr.pid("c8")
    assert shown.splitlines() == ["sleep", *(os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES)]


def test_exec_passes_the_exit_status(ctr: Containerd) -> None:
    ctr.start_detached("c9", *SLEEP)
    fifo = f"{ctr.base}/fifo"
    assert (
        ctr("task", "exec", "--fifo-dir", fifo, "--exec-id", "e1", "c9", "sh", "-c", "exit 9").returncode == 9
    )


def test_exec_of_a_missing_command_fails_and_leaves_the_container(ctr: Containerd) -> None:
    ctr.start_detached("c10", *SLEEP)
    done = ctr("task", "exec", "--fifo-dir", f"{ctr.base}/fifo", "--exec-id", "e1", "c10", "no-such-command")
    assert done.returncode != 0
    assert "executable file not found" in done.stderr
    assert ctr.status("c10") == "RUNNING"


def test_exec_as_another_user(ctr: Containerd) -> None:
    ctr.start_detached("c11", *SLEEP)
    assert ctr.exec("c11", "e1", "sh", "-c", "id -u; id -g", options=("--user", "1000:2000")) == "1000\n2000"


def test_ps_lists_the_host_pids(ctr: Containerd) -> None:
    ctr.start_detached("c12", "sh", "-c", "sleep 1000 & wait")
    pid = ctr.pid("c12")
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert ctr.status("c12") == "RUNNING"
    listed = {line.split()[0] for line in ctr.ok("task", "ps", "c12").splitlines()[1:]}
    assert listed == {str(pid), *children}


def test_pause_and_resume(ctr: Containerd) -> None:
    ctr.start_detached("c13", *SLEEP)
    ctr.ok("task", "pause", "c13")
    assert ctr.status("c13") == "PAUSED"
    ctr.ok("task", "resume", "c13")
    assert ctr.status("c13") == "RUNNING"


def test_paused_container_ends_by_sigkill(ctr: Containerd) -> None:
    ctr.start_detached("c14", *SLEEP)
    pid = ctr.pid("c14")
    ctr.ok("task", "pause", "c14")
    ctr.ok("task", "kill", "--signal", "KILL", "c14")
    wait_exit(pid, deadline=10)


def test_terminal_of_a_container(ctr: Containerd) -> None:
    command = ctr.command(
        *ctr.run_args("c15", "sh", "-c", "tty; stty size; exit 3", options=("--rm", "--tty"))
    )
    status, shown = terminal.run(command, env=ctr.environ, cwd=ctr.base)
    lines = shown.splitlines()
    assert status == 3, shown
    assert lines[0] in ("/dev/pts/0", "/dev/console")
    assert len(lines) == 2


def test_terminal_of_an_exec(ctr: Containerd) -> None:
    ctr.start_detached("c16", *SLEEP)
    command = ctr.command(
        "task",
        "exec",
        "--tty",
        "--fifo-dir",
        f"{ctr.base}/fifo",
        "--exec-id",
        "e1",
        "c16",
        "sh",
        "-c",
        "tty; exit 5",
    )
    status, shown = terminal.run(command, env=ctr.environ, cwd=ctr.base)
    assert (status, shown.split()[0]) == (5, "/dev/pts/0")


def test_privileged_has_all_capabilities_of_the_caller(ctr: Containerd) -> None:
    done = ctr.run("c17", "grep", "CapBnd", "/proc/self/status", options=("--privileged",))
    mine = re.search(r"^CapBnd:\s+(\w+)", Path("/proc/self/status").read_text(), re.M)
    assert done.returncode == 0, done.stderr
    assert mine and done.stdout.split()[1] == mine[1]


def test_read_only_root(ctr: Containerd) -> None:
    done = ctr.run("c18", "touch", "/file", options=("--read-only",))
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_bind_mount(ctr: Containerd, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    option = f"type=bind,src={tmp_path},dst=/mnt/in,options=rbind:ro"
    done = ctr.run("c19", "sh", "-c", "cat /mnt/in/file; echo > /mnt/in/new", options=("--mount", option))
    assert done.stdout == "from the host\n"
    assert "Read-only file system" in done.stderr


def test_default_seccomp_profile_is_accepted(ctr: Containerd) -> None:
    done = ctr.run("c20", "grep", "Seccomp:", "/proc/self/status", options=("--seccomp",))
    assert done.stdout.split() == ["Seccomp:", "2"], done.stderr


@pytest.mark.requires("memory")
def test_memory_limit_is_set(ctr: Containerd) -> None:
    ctr.start_detached("c21", *SLEEP, options=("--memory-limit", "67108864"))
    limits = [
        Path(path).parent / name
        for path in cgroup_procs(ctr, "c21")
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    assert [path.read_text() for path in limits if path.exists()] == ["67108864\n"]


def test_pause_of_a_stopped_container_fails(ctr: Containerd) -> None:
    ctr.start_detached("c23", *SLEEP)
    pid = ctr.pid("c23")
    ctr.ok("task", "kill", "--signal", "KILL", "c23")
    ctr.wait_stopped("c23", pid)
    assert ctr("task", "pause", "c23").returncode != 0
