"""A cgroup of the tests' own, in each layout that this machine can show: hybrid, v1 alone, v2 alone."""

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyoci.cgroups.cgroup import Cgroup
from pyoci.cgroups.layout import Layout, detect, plan_cgroup
from pyoci.config.resources import Resources
from tests.helpers_runtime import wait_until

DEADLINE = 20
VIEWS: dict[str, Callable[[str], bool]] = {
    "hybrid": lambda _key: True,
    "v1": lambda key: key != "",
    "v2": lambda key: key == "",
}


def view(name: str) -> Layout:
    """Return the host's layout, or a part of it."""
    whole = detect()
    mounts = {key: mount for key, mount in whole.mounts.items() if VIEWS[name](key)}
    layout = Layout(mounts=mounts, own={key: whole.own[key] for key in mounts})
    if layout.mode != name:
        pytest.skip(f"requires cgroup layout {name}: the machine has {whole.mode}")
    return layout


class Place:
    """A cgroup path of the test's own, with the journal and the processes for it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.path = f"/pyoci-place-{os.getpid()}"
        self.journal: list[str] = []
        self.children: list[subprocess.Popen[str]] = []

    def plan(self, below: str = "") -> Cgroup:
        return plan_cgroup(self.path + below, "id", self.layout, "cgroupfs")

    def create(self, below: str = "", resources: Resources | None = None) -> Cgroup:
        cgroup = self.plan(below)
        cgroup.create(self.journal.append, resources)
        return cgroup

    def run(self, script: str) -> subprocess.Popen[str]:
        """Start a shell that waits for a line before it runs *script*."""
        child = subprocess.Popen(
            ["sh", "-c", f"read line; {script}"],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.children.append(child)
        return child

    def finish(self, script: str, *cgroups: Cgroup) -> tuple[int, str]:
        """Run *script* in the cgroups to its end; return its exit status and output."""
        child = self.run(script)
        for cgroup in cgroups:
            cgroup.add(child.pid)
        output, _ = child.communicate("go\n", timeout=DEADLINE)
        return child.returncode, output

    def close(self) -> list[str]:
        """End all processes; return the directories that could not be removed."""
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # the shell, and what it has started
            child.communicate(timeout=DEADLINE)
        left = [Path(mount + self.path) for mount in set(self.layout.mounts.values())]
        for directory in left:
            for path, _, _ in os.walk(directory, topdown=False):
                wait_until(lambda path=path: removed(path), f"{path} can be removed", DEADLINE)  # they end in a moment
        return [str(directory) for directory in left if directory.exists()]


def go(child: subprocess.Popen[str]) -> None:
    """Let a shell that Place.run started continue with its script."""
    assert child.stdin
    child.stdin.write("go\n")
    child.stdin.flush()


def go_until_started(child: subprocess.Popen[str]) -> None:
    """Let it continue, and wait for the line ``started``."""
    go(child)
    assert child.stdout
    assert child.stdout.readline() == "started\n"


def removed(path: str) -> bool:
    """Remove an empty cgroup; return False if there are processes in it."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
