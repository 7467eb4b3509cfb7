"""The runtime tier where /sys/fs/cgroup is a pure cgroup v2 tree, on the kernel at hand."""

import os
import subprocess

import pytest

from tests.vm import tier, v2view

DEADLINE = 900


def test_view_is_pure_v2() -> None:
    need_root()
    done = subprocess.run(
        v2view.command_line(
            ["sh", "-c", "stat -f -c %t /sys/fs/cgroup; grep -c /sys/fs/cgroup /proc/self/mountinfo"]
        ),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["63677270", "1"]  # CGROUP2_SUPER_MAGIC


def test_runtime_tier(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    need_root()
    words = v2view.command_line(tier.command(*tier.RUNTIME))
    tier.run_here(words, tier.environment(request.config, "v2view"), capsys, "v2view", DEADLINE)


def need_root() -> None:
    """Skip unless running as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
