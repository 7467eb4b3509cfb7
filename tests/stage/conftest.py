"""Fixtures of the stage tier: it needs root, and must leave nothing behind."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers_leaks import alive

from .cgroup_place import VIEWS, Place, view

ENDING_SECONDS = 5.0


@pytest.fixture(autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail a test that changes the host's mounts or leaves descriptors or children behind."""
    if os.geteuid() != 0:
        pytest.skip("requires root: the stage makes mounts without a user namespace")
    places = ("/", "/proc", "/sys", "/dev", str(tmp_path_factory.getbasetemp()))
    before = _traces(places)
    yield
    after = _traces(places)
    end = time.monotonic() + ENDING_SECONDS
    while after[1] - before[1] and time.monotonic() < end:  # what was killed a moment ago may still be ending
        time.sleep(0.005)
        after = _traces(places)
    # What went away meanwhile belonged to an earlier test: orphans of another tier, say, that were reaped late.
    assert not (after[0] - before[0]), "descriptors"
    assert not (after[1] - before[1]), "children"
    assert after[2] == before[2]


def _traces(places: tuple[str, ...]) -> tuple[set[str], set[str], list[str]]:
    """Our descriptors and children, and the mounts on the places that the tests touch or below the last one."""
    descriptors = [f"{path.name} {os.readlink(path)}" for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = [line for line in lines if (point := line.split(" ")[4]) in places or point.startswith(places[-1])]
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    # Another tier may have made this process a subreaper: orphans that have ended are nothing left behind.
    return set(descriptors), {pid for pid in children.split() if alive(int(pid))}, mounts


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """A root file system with the usual directories and a file."""
    for name in ("dev", "proc", "sys", "etc", "tmp"):
        (tmp_path / "rootfs" / name).mkdir(parents=True)
    (tmp_path / "rootfs" / "etc" / "hosts").write_text("hosts\n")
    return tmp_path / "rootfs"


@pytest.fixture(params=list(VIEWS))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    found = Place(view(request.param))
    yield found
    assert found.close() == []


@pytest.fixture
def v1_place() -> Iterator[Place]:
    found = Place(view("hybrid"))
    yield found
    assert found.close() == []


@pytest.fixture
def v2_place() -> Iterator[Place]:
    found = Place(view("v2"))
    yield found
    assert found.close() == []
