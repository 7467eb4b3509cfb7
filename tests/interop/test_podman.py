"""podman and conmon drive the runtime: exit statuses, output, terminals, exec and the lifecycle."""

from pathlib import Path

import pytest

from tests.interop import terminal
from tests.interop.containerd import wait_exit
from tests.interop.images import NAME
from tests.interop.podman import Podman, pid_of, sleeper

# -- exit statuses -------------------------------------------------------------------------------------------


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


# -- output, input, terminal ---------------------------------------------------------------------------------


def test_stdout_and_stderr_stay_apart(podman: Podman) -> None:
    done = podman("run", "--rm", NAME, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_stdin(podman: Podman) -> None:
    assert podman.ok("run", "--rm", "--interactive", NAME, "wc", "-c", stdin="x" * 200_000) == "200000"


def test_stdout_can_be_opened_again_by_an_ordinary_user(podman: Podman) -> None:
    assert podman.sh("echo again > /dev/stdout", "--user", "1000") == "again"


def test_terminal(podman: Podman) -> None:
    status, shown = terminal.run(
        [
            *podman.command,
            "run",
            "--rm",
            "-it",
            NAME,
            "sh",
            "-c",
            "tty; ls -l /dev/console | cut -c1; echo ready; cat; exit 3",
        ],
        env=podman.environ,
        cwd=podman.base,
        prompt=b"ready",
        typed=b"typed\n\x04",
    )
    assert status == 3, shown
    lines = shown.splitlines()
    assert lines[:3] == ["/dev/pts/0", "c", "ready"]
    assert lines.count("typed") == 2  # the terminal's echo, then cat


def test_terminal_size(podman: Podman) -> None:
    status, shown = terminal.run(
        [
            *podman.command,
            "run",
            "--rm",
            "-it",
            NAME,
            "sh",
            "-c",
            "while [ \"$(stty size 2>/dev/null)\" != '33 99' ]; do :; done; stty size",
        ],
        env=podman.environ,
        cwd=podman.base,
        rows=33,
        columns=99,
    )
    assert (status, shown) == (0, "33 99\n")


def test_terminal_for_an_ordinary_user(podman: Podman) -> None:
    status, shown = terminal.run(
        [
            *podman.command,
            "run",
            "--rm",
            "-it",
            "--user",
            "1000",
            NAME,
            "sh",
            "-c",
            "stat -c '%u %a' $(tty); echo x >/dev/tty",
        ],
        env=podman.environ,
        cwd=podman.base,
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


# -- exec ----------------------------------------------------------------------------------------------------


def test_exec(podman: Podman) -> None:
    name = sleeper(podman, "--env", "FROM=create", "--hostname", "inside")
    assert (
        podman.ok("exec", name, "sh", "-c", "echo $FROM $FROM_IMAGE; hostname; cat /proc/1/comm")
        == "create yes\ninside\nsleep"
    )


def test_exec_options(podman: Podman) -> None:
    name = sleeper(podman)
    shown = podman.ok(
        "exec",
        "--user",
        "app",
        "--workdir",
        "/home/app",
        "--env",
        "A=b",
        name,
        "sh",
        "-c",
        "id -un; id -g; pwd; echo $A",
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
        [*podman.command, "exec", "-it", name, "sh", "-c", "tty; exit 2"],
        env=podman.environ,
        cwd=podman.base,
    )
    assert (status, shown) == (2, "/dev/pts/0\n")


def test_exec_detached_outlives_its_caller(podman: Podman) -> None:
    name = sleeper(podman)
    podman.ok(
        "exec",
        "--detach",
        name,
        "sh",
        "-c",
        "echo done > /tmp/f; mkfifo /tmp/p; cat /tmp/p; touch /tmp/later",
    )
    podman.ok(
        "exec",
        name,
        "sh",
        "-c",
        "while ! [ -p /tmp/p ]; do :; done; cat /tmp/f; : > /tmp/p; while ! [ -e /tmp/later ]; do :; done",
    )


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


# -- lifecycle -----------------------------------------------------------------------------------------------


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
    name = podman.ok("create", NAME, "sleep", "1000")
    podman.ok("init", name)
    pid = pid_of(podman, name)
    podman.ok("rm", "--force", name)
    wait_exit(pid)


def test_stop_with_a_handler(podman: Podman) -> None:
    name = podman.ok(
        "run", "--detach", NAME, "sh", "-c", "trap 'exit 9' TERM; touch /tmp/set; while :; do sleep 0.1; done"
    )
    podman.ok("exec", name, "sh", "-c", "while ! [ -e /tmp/set ]; do :; done")
    podman.ok("stop", "--time", "30", name)
    assert podman.inspect(name, ".State.ExitCode") == "9"


def test_stop_by_force(podman: Podman) -> None:
    name = sleeper(podman)
    podman("stop", "--time", "0", name)
    assert podman.ok("wait", name) == "137"


def test_kill_with_a_signal(podman: Podman) -> None:
    name = podman.ok(
        "run", "--detach", NAME, "sh", "-c", "trap 'exit 8' USR2; touch /tmp/set; while :; do sleep 0.1; done"
    )
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
