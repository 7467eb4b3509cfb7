"""A private containerd: its own root, state and socket, no CRI plugin, the native snapshotter."""

import os
import re
import select
import subprocess
import time
from pathlib import Path

from tests.helpers_runtime import wait_until
from tests.interop.images import NAME

CONFIG = """
version = 2
root = "{base}/root"
state = "{base}/state"
disabled_plugins = [
    "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.overlayfs",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{base}/containerd.sock"
"""

DEADLINE = 60.0


class Containerd:
    """One daemon and the `ctr` commands that talk to it."""

    def __init__(self, base: Path, runtime: Path) -> None:
        self.base = base
        self.namespace = f"pyoci-ctr-{os.getpid()}"
        self.config = base / "config.toml"
        self.config.write_text(CONFIG.format(base=base))
        self.log = base / "containerd.log"
        self.environ = {"PATH": os.environ["PATH"], "TMPDIR": str(base), "HOME": str(base)}
        self.daemon: subprocess.Popen[bytes] | None = None
        self.runtime_options = ["--runc-binary", str(runtime), "--runc-root", f"{base}/runtime"]

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        with self.log.open("wb") as log:
            self.daemon = subprocess.Popen(
                ["containerd", "--config", str(self.config)],
                env=self.environ,
                cwd=self.base,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + DEADLINE
        while self("version", deadline=10).returncode != 0:
            assert self.daemon.poll() is None and time.monotonic() < end, self.log.read_text()[-2000:]
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the daemon and wait for its end."""
        if self.daemon is None:
            return
        self.daemon.terminate()
        try:
            self.daemon.wait(20)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()

    def command(self, *args: str) -> list[str]:
        """Return the full command line of a ctr command."""
        return ["ctr", "--address", f"{self.base}/containerd.sock", "--namespace", self.namespace, *args]

    def __call__(
        self,
        *args: str,
        stdin: str | None = None,
        deadline: float = DEADLINE,
    ) -> "subprocess.CompletedProcess[str]":
        """Run one ctr command; its standard input is empty unless `stdin` is given."""
        return subprocess.run(
            self.command(*args),
            env=self.environ,
            cwd=self.base,
            text=True,
            timeout=deadline,
            check=False,
            capture_output=True,
            input=stdin or "",
        )

    def ok(self, *args: str, stdin: str | None = None) -> str:
        """Run one ctr command that must succeed and return what it printed, without the last newline."""
        done = self(*args, stdin=stdin)
        assert done.returncode == 0, f"ctr {' '.join(args)}: {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout.rstrip("\n")

    def run_args(self, name: str, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the arguments of `ctr run` for a container with the runtime under test."""
        common = ["--snapshotter", "native", "--fifo-dir", f"{self.base}/fifo", *self.runtime_options]
        return ["run", *common, *options, NAME, name, *command]

    def run(
        self,
        name: str,
        *command: str,
        options: tuple[str, ...] = (),
        stdin: str | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a container in the foreground and remove it."""
        return self(*self.run_args(name, *command, options=("--rm", *options)), stdin=stdin)

    def start_detached(self, name: str, *command: str, options: tuple[str, ...] = ()) -> None:
        """Start a container in the background."""
        self.ok(*self.run_args(name, *command, options=("--detach", *options)))

    def exec(self, name: str, exec_id: str, *command: str, options: tuple[str, ...] = ()) -> str:
        """Return what a command prints that runs in a running container."""
        return self.ok(
            "task", "exec", "--fifo-dir", f"{self.base}/fifo", "--exec-id", exec_id, *options, name, *command
        )

    def pid(self, name: str) -> int:
        """Return the host pid of a container's init."""
        return int(self._row(name)[1])

    def status(self, name: str) -> str:
        """Return the status of a container's task, such as RUNNING, PAUSED or STOPPED."""
        return self._row(name)[2]

    def _row(self, name: str) -> list[str]:
        for line in self.ok("task", "ls").splitlines():
            if line.split()[0] == name:
                return line.split()
        raise AssertionError(f"no task {name}")

    def wait_stopped(self, name: str, pid: int) -> None:
        """Wait until the process `pid`, the init of container `name`, has ended and containerd knows it."""
        wait_exit(pid)
        wait_until(lambda: self.status(name) == "STOPPED", f"{name} is stopped", DEADLINE)

    def exit_code(self, name: str) -> int:
        """Remove the task of a stopped container and return the exit code that containerd kept."""
        done = self("task", "rm", name)
        assert done.returncode == 0, done.stderr
        told = re.search(r"non-zero exit code (\d+)", done.stderr)
        return int(told[1]) if told else 0

    def remove(self, name: str) -> None:
        """Remove a container, killing it first if need be."""
        self("task", "rm", "--force", name)
        self("container", "rm", name)

    def remove_all(self) -> None:
        """Remove all containers of the private namespace."""
        for name in self.ok("container", "ls", "--quiet").split():
            self.remove(name)


def wait_exit(pid: int, deadline: float = DEADLINE) -> None:
    """Wait until the process `pid` has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(deadline * 1000), f"process {pid} did not end"
    finally:
        os.close(fd)
