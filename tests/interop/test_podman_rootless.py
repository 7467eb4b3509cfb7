"""podman of an ordinary user: it makes the user namespace itself, and calls the runtime in it, as root of it."""

import os
import re
from pathlib import Path

import pytest

from tests.interop import terminal
from tests.interop.images import NAME
from tests.interop.podman import sleeper
from tests.interop.rootless import COUNT, FIRST, GROUP, USER, Rootless

DEVICES = "null zero full tty random urandom"


def mappings(text: str) -> list[list[int]]:
    """Read a uid_map."""
    return [[int(word) for word in line.split()] for line in text.splitlines()]


def test_run(rootless: Rootless) -> None:
    assert rootless.sh("id -u; id -g; echo $$").split() == ["0", "0", "1"]
    assert mappings(rootless.sh("cat /proc/self/uid_map")) == [[0, USER, 1], [1, FIRST, COUNT]]


def test_exit_statuses(rootless: Rootless) -> None:
    assert rootless("run", "--rm", NAME, "sh", "-c", "exit 7").returncode == 7
    assert rootless("run", "--rm", NAME, "no-such-command").returncode == 127
    assert rootless("run", "--rm", NAME, "/etc/not-executable").returncode == 126


def test_devices(rootless: Rootless) -> None:
    shown = rootless.sh(f"cd /dev; stat -c '%F %n' {DEVICES}; echo x > null; echo x > full || head -c 1 zero | wc -c")
    assert shown.count("character special file") == 6
    assert shown.endswith("\n1")


def test_all_devices_of_the_host(rootless: Rootless) -> None:
    """--privileged lists them; the default ones are among them, once more."""
    assert "1,   7" in rootless.sh("ls -l /dev/full; mount -t tmpfs none /tmp; touch /tmp/x", "--privileged")
    assert rootless.sh("cat /proc/self/uid_map", "--privileged", "--userns", "keep-id")


def test_a_device_of_another_name(rootless: Rootless) -> None:
    assert "1,   5" in rootless.sh("ls -l /dev/named", "--device", "/dev/zero:/dev/named")


@pytest.mark.parametrize("options", [["host"], ["none"]], ids=lambda options: options[0])
def test_sysfs(rootless: Rootless, options: list[str]) -> None:
    """The network namespace is the host's, or one that the container's user namespace owns."""
    names = rootless.sh("ls /sys/class/net; touch /sys/x 2>/dev/null || echo read-only", "--network", *options).split()
    assert names[-1] == "read-only"
    assert "lo" in names
    if options == ["host"]:
        assert set(names[:-1]) == set(os.listdir("/sys/class/net"))


def test_processes_of_the_host(rootless: Rootless) -> None:
    assert rootless.sh("echo $$", "--pid", "host") != "1"


def test_exec(rootless: Rootless) -> None:
    name = sleeper(rootless, "--hostname", "inside", "--env", "A=b")
    assert rootless.ok("exec", name, "sh", "-c", "hostname; id -u; echo $A; cat /proc/1/comm").split() == [
        "inside",
        "0",
        "b",
        "sleep",
    ]
    assert rootless.ok("exec", "--user", "app", name, "id", "-u") == "1000"
    assert rootless("exec", name, "sh", "-c", "exit 6").returncode == 6


def test_detached_logs_and_wait(rootless: Rootless) -> None:
    name = rootless.ok("run", "--detach", NAME, "sh", "-c", "echo line; exit 5")
    assert rootless.ok("wait", name) == "5"
    assert rootless.ok("logs", name) == "line"


def test_stop(rootless: Rootless) -> None:
    name = rootless.ok(
        "run", "--detach", NAME, "sh", "-c", "trap 'exit 9' TERM; touch /tmp/set; while :; do sleep 0.1; done"
    )
    rootless.ok("exec", name, "sh", "-c", "while ! [ -e /tmp/set ]; do :; done")
    rootless.ok("stop", "--time", "30", name)
    assert rootless.inspect(name, ".State.ExitCode") == "9"
    rootless.ok("start", name)
    rootless.ok("kill", name)
    assert rootless.ok("wait", name) == "137"


def test_terminal(rootless: Rootless) -> None:
    words = [*rootless.command, "run", "--rm", "-it", NAME, "sh", "-c", "tty; ls -l /dev/console | cut -c1; exit 3"]
    status, shown = terminal.run(words, env=rootless.environ, cwd=rootless.base)
    assert (status, shown.split()) == (3, ["/dev/pts/0", "c"])


def test_volumes(rootless: Rootless) -> None:
    directory = rootless.directory("volume")
    rootless.sh("echo text > /v/root; echo text > /v/other; chown 5:6 /v/other", "--volume", f"{directory}:/v")
    assert (directory / "root").stat().st_uid == USER
    assert ((directory / "other").stat().st_uid, (directory / "other").stat().st_gid) == (FIRST + 4, FIRST + 5)
    shown = rootless.sh("cat /v/root; touch /v/x 2>/dev/null || echo read-only", "--volume", f"{directory}:/v:ro")
    assert shown.split() == ["text", "read-only"]
    assert rootless.sh("touch /named/x; ls /named", "--volume", "named:/named") == "x"


def test_read_only_with_tmpfs(rootless: Rootless) -> None:
    shown = rootless.sh("touch /x 2>/dev/null || touch /t/x && ls /t", "--read-only", "--tmpfs", "/t")
    assert shown == "x"


def test_keep_id(rootless: Rootless) -> None:
    """A user namespace inside the one of podman."""
    directory = rootless.directory("home")
    shown = rootless.sh(
        "id -u; id -g; touch /v/mine; stat -c %u /v/mine", "--userns", "keep-id", "--volume", f"{directory}:/v"
    )
    assert shown.split() == [str(USER), str(USER), str(USER)]
    assert (directory / "mine").stat().st_uid == USER
    name = sleeper(rootless, "--userns", "keep-id")
    assert rootless.ok("exec", name, "id", "-u") == str(USER)


@pytest.mark.parametrize("options", [[], ["--userns", "keep-id"], ["--user", "7"]], ids=["plain", "keep-id", "user"])
def test_keep_groups(rootless: Rootless, options: list[str]) -> None:
    """What only a group of the caller may read is read; without the wish it is not."""
    name = "-".join(["groups", *[re.sub(r"\W", "", option) for option in options]])
    file = rootless.directory(name) / "file"
    file.write_text("for the group")
    os.chown(file, 0, GROUP)
    file.chmod(0o640)
    volume = [*options, "--volume", f"{file}:/file"]
    assert rootless.sh("cat /file", *volume, "--group-add", "keep-groups") == "for the group"
    assert rootless("run", "--rm", *volume, NAME, "cat", "/file").returncode == 1


def test_oom_score_that_cannot_be_lowered(rootless: Rootless) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert rootless.sh("cat /proc/self/oom_score_adj", "--oom-score-adj", str(max(own - 100, -1000))) == str(own)


def test_two_containers_share_namespaces(rootless: Rootless) -> None:
    name = sleeper(rootless)
    shown = rootless.sh("ps", "--pid", f"container:{name}", "--ipc", f"container:{name}")
    assert "sleep 1000" in shown


def test_build(rootless: Rootless) -> None:
    file = rootless.directory("context") / "Containerfile"
    file.write_text(f"FROM {NAME}\nRUN id -u > /root-was\nUSER app\nRUN id -u > /tmp/user-was\n")
    rootless.ok("build", "--quiet", "--network", "none", "--tag", "built", "--file", str(file), str(file.parent))
    assert rootless.ok("run", "--rm", "built", "cat", "/root-was", "/tmp/user-was").split() == ["0", "1000"]
