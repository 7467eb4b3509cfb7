"""What the tests of mounts look at."""

from pathlib import Path

from tests.helpers_host import mounts_of


def host_mounts():
    """The host's mountinfo now."""
    return Path("/proc/self/mountinfo").read_text()


def at(report, point):
    """The mount on a path as the container sees it (the topmost)."""
    found = [m for m in mounts_of(report["mountinfo"]) if m.point == point]
    assert found, f"nothing is mounted on {point}"
    return found[-1]
