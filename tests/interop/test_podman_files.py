"""podman: volumes, devices, cgroups, hooks, builds and pods."""

import json
import os
import select
import socket
import subprocess
from pathlib import Path

import pytest

from tests.interop.images import NAME
from tests.interop.podman import Podman, namespaces, pid_of, sleeper

# -- file systems --------------------------------------------------------------------------------------------


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
    inner = [
        *podman.command,
        "run",
        "--rm",
        "--volume",
        volume,
        NAME,
        "grep",
        " /data ",
        "/proc/self/mountinfo",
    ]
    script = 'mount -t tmpfs t "$0" && mount --make-shared "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(source), *inner],
        env=podman.environ,
        cwd=podman.base,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        input="",
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
    assert podman.sh(
        "stat -c '%t:%T %a' /dev/mine; head -c 3 /dev/mine | wc -c", "--device", "/dev/zero:/dev/mine:r"
    ).split() == ["1:5", "666", "3"]


def test_device_that_is_not_allowed(podman: Podman) -> None:
    done = podman(
        "run", "--rm", "--cap-add", "mknod", NAME, "sh", "-c", "mknod /tmp/d b 254 0 && head -c 1 /tmp/d"
    )
    assert "Operation not permitted" in done.stderr


def test_default_devices(podman: Podman) -> None:
    names = podman.sh("ls /dev").split()
    assert {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "pts",
        "shm",
        "mqueue",
        "fd",
        "stdin",
        "ptmx",
    } <= set(names)
    assert podman.sh("readlink /dev/fd; readlink /dev/ptmx") == "/proc/self/fd\npts/ptmx"


# -- cgroups -------------------------------------------------------------------------------------------------


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


def test_no_pids_limit(podman: Podman) -> None:
    """Podman 4 writes a limit of 0 for it."""
    name = sleeper(podman, "--pids-limit", "-1")
    assert podman("exec", name, "sh", "-c", "echo a | cat").stdout == "a\n"


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


# -- the rest ------------------------------------------------------------------------------------------------


def test_hooks_directory(podman: Podman, tmp_path: Path) -> None:
    record = tmp_path / "stages"
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\ncat >> {record}\necho >> {record}\n")
    script.chmod(0o755)
    hook = {
        "version": "1.0.0",
        "hook": {"path": str(script)},
        "when": {"annotations": {"^hooked$": "yes"}},
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
        env=podman.environ,
        cwd=podman.base,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        input="",
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
        "build",
        "--isolation",
        "oci",
        "--runtime",
        str(podman.runtime),
        "--ulimit",
        "nofile=1024:1024",
        "--network",
        "none",
        "--tag",
        "localhost/built",
        str(tmp_path),
        deadline=120,
    )
    assert podman.ok("run", "--rm", "localhost/built", "cat", "/built", "/tmp/app") == "built\n0\n1000"
    podman.ok("rmi", "localhost/built")


def test_pod_shares_namespaces(podman: Podman) -> None:
    podman.ok(
        "pod",
        "create",
        "--name",
        "p",
        "--network",
        "none",
        "--infra-image",
        NAME,
        "--infra-command",
        "sleep 1000",
    )
    one = sleeper(podman, "--pod", "p")
    two = sleeper(podman, "--pod", "p")
    first, second = namespaces(pid_of(podman, one)), namespaces(pid_of(podman, two))
    assert {key for key in first if first[key] == second[key]} >= {"net", "ipc", "uts"}
    assert first["pid"] != second["pid"]
