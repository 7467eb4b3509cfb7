"""A private podman: its own storage, run directory and containers.conf, all below one temporary directory."""

import os
import re
import subprocess
from pathlib import Path

from tests.interop.images import NAME

# The default limits of podman need CAP_SYS_RESOURCE, which the suite must not depend on; its default pids_limit
# needs a pids controller. events_logger must not be journald, and nothing may be taken from /etc/containers.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
pids_limit = 0
netns = "none"
log_driver = "k8s-file"
default_sysctls = []
userns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "tested"
runtime_supports_json = ["tested"]
runtime_supports_nocgroup = ["tested"]
hooks_dir = ["{hooks}"]
init_path = "/usr/bin/catatonit"
no_pivot_root = false
[engine.runtimes]
tested = ["{runtime}"]
"""

STORAGE_CONF = """
[storage]
driver = "vfs"
graphroot = "{base}/storage"
runroot = "{base}/run"
"""

DEADLINE = 60.0


class Podman:
    """Run podman commands against one private store, with one runtime."""

    def __init__(self, base: Path, runtime: Path) -> None:
        self.base = base
        self.runtime = runtime
        self.hooks = base / "hooks.d"
        self.hooks.mkdir()
        conf, storage = base / "containers.conf", base / "storage.conf"
        conf.write_text(CONTAINERS_CONF.format(runtime=runtime, hooks=self.hooks))
        storage.write_text(STORAGE_CONF.format(base=base))
        self.command = [
            "podman",
            "--root",
            f"{base}/storage",
            "--runroot",
            f"{base}/run",
            "--tmpdir",
            f"{base}/tmp",
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "file",
        ]
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(base),
            "TMPDIR": str(base),
            "CONTAINERS_CONF": str(conf),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_REGISTRIES_CONF": "/dev/null",
        }

    def __call__(
        self,
        *args: str,
        stdin: str | None = None,
        deadline: float = DEADLINE,
    ) -> "subprocess.CompletedProcess[str]":
        """Run one podman command; its standard input is empty unless `stdin` is given."""
        return self.program([*self.command, *args], stdin, deadline)

    def program(
        self, words: list[str], stdin: str | None = None, deadline: float = DEADLINE
    ) -> "subprocess.CompletedProcess[str]":
        """Run any program in podman's environment and directory."""
        return subprocess.run(
            words,
            env=self.environ,
            cwd=self.base,
            text=True,
            timeout=deadline,
            check=False,
            capture_output=True,
            input=stdin or "",
        )

    def ok(self, *args: str, stdin: str | None = None, deadline: float = DEADLINE) -> str:
        """Run one podman command that must succeed and return what it printed, without the last newline."""
        done = self(*args, stdin=stdin, deadline=deadline)
        assert done.returncode == 0, f"podman {' '.join(args)}: {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout.rstrip("\n")

    def sh(self, script: str, *options: str) -> str:
        """Return what `script` prints in a new container that is removed afterwards."""
        return self.ok("run", "--rm", *options, NAME, "sh", "-c", script)

    def inspect(self, name: str, template: str) -> str:
        """Return one field of a container, as a Go template."""
        return self.ok("container", "inspect", "--format", "{{" + template + "}}", name)

    def remove_all(self) -> None:
        """Remove every container and pod of the private store."""
        # --all works in parallel and not in the order of dependencies: a round may fail but removes something.
        commands = [
            ["pod", "rm", "--all", "--force", "--time", "0"],
            ["rm", "--all", "--force", "--time", "0"],
        ]
        for _ in range(5):
            done = [self(*command) for command in commands]
            if not any(each.returncode for each in done):
                return
        raise AssertionError(f"containers cannot be removed: {[each.stderr for each in done]}")


def sleeper(podman: Podman, *options: str) -> str:
    """Start a sleeping container in the background and return its id."""
    return podman.ok("run", "--detach", *options, NAME, "sleep", "1000")


def pid_of(podman: Podman, name: str) -> int:
    """Return the host pid of a container's init."""
    return int(podman.inspect(name, ".State.Pid"))


def namespaces(pid: int) -> dict[str, str]:
    """Return the namespace links of a process."""
    return {
        name: os.readlink(f"/proc/{pid}/ns/{name}")
        for name in ("net", "uts", "ipc", "pid", "mnt", "cgroup", "user")
    }


def own_processes(base: Path) -> list[str]:
    """Return the command lines of the processes that name the directory `base`, such as conmon and shims."""
    found = []
    for entry in Path("/proc").iterdir():
        if not re.fullmatch(r"\d+", entry.name) or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(base) in command:
            found.append(f"{entry.name}: {command}")
    return found
