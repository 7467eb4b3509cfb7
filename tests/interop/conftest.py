"""Fixtures for the tests that drive the runtime through podman and containerd."""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.conftest import runtime_command, runtime_name
from tests.interop import images
from tests.interop.containerd import Containerd
from tests.interop.podman import Podman, own_processes
from tests.interop.rootless import Rootless

DEVIATIONS = Path(__file__).parent / "deviations.tsv"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect a peer to fail where deviations.tsv says so. No line there excuses pyoci."""
    mine = [item for item in items if item.path.parent == DEVIATIONS.parent]
    rows = [
        line.split("\t") for line in DEVIATIONS.read_text().splitlines() if line and not line.startswith("#")
    ]
    name = runtime_name(config) if mine else ""
    for item in mine:
        for peers, pattern, reason in rows:
            if name in peers.split(",") and fnmatchcase(f"{item.path.stem}::{item.name}", pattern):
                item.add_marker(pytest.mark.xfail(reason=f"{name}: {reason}", strict=False))


def need_root() -> None:
    """Skip unless running as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def need_program(*names: str) -> None:
    """Skip unless the programs are installed."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs the program {' and '.join(missing)}")


@pytest.fixture(scope="session")
def runtime_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one executable that is the runtime under test: callers configure a path, not a command line."""
    words = runtime_command(request.config)
    if len(words) == 1:
        found = shutil.which(words[0])
        assert found, f"{words[0]} is not an executable"
        return Path(found).resolve()
    path = tmp_path_factory.mktemp("runtime") / "runtime"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def image_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the busybox image as an OCI archive."""
    try:
        return images.write_archive(tmp_path_factory.mktemp("image") / "busybox.tar")
    except images.ImageError as error:
        pytest.skip(str(error))


def cgroup_directories() -> set[str]:
    """Return every cgroup directory of this machine that a caller or a runtime made under a name of theirs."""
    found: set[str] = set()
    for root, names, _ in os.walk("/sys/fs/cgroup"):
        found.update(os.path.join(root, name) for name in names)
    return found


def mount_points() -> list[str]:
    """Return the mount points of this process's mount namespace."""
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def eventually_gone(base: Path, deadline: float = 10.0) -> list[str]:
    """Wait until no process names `base`, and return those that still do after `deadline` seconds."""
    end = time.monotonic() + deadline
    while (left := own_processes(base)) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def remove_cgroups(names: tuple[str, ...]) -> None:
    """Remove the callers' own parent cgroups where they are empty; a used one stays."""
    for hierarchy in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]:
        for name in names:
            for directory, _, _ in os.walk(hierarchy / name, topdown=False):
                try:
                    os.rmdir(directory)
                except OSError:
                    continue


@pytest.fixture(scope="session")
def podman_store(runtime_path: Path, image_archive: Path) -> Iterator[Podman]:
    """Return a private podman with the busybox image; fail when it leaves a process, mount or cgroup behind."""
    need_root()
    need_program("podman", "conmon")
    before = mount_points(), cgroup_directories()
    base = Path(tempfile.mkdtemp(prefix="pyoci-podman-"))
    podman = Podman(base, runtime_path)
    try:
        podman.ok("pull", "--quiet", f"oci-archive:{image_archive}")
        yield podman
        podman.remove_all()
    finally:
        left = eventually_gone(base)
        shutil.rmtree(base, ignore_errors=True)
        remove_cgroups(("libpod_parent",))
    assert not left, f"processes left: {left}"
    assert mount_points() == before[0]
    mine = {path for path in cgroup_directories() - before[1] if "libpod" in path}
    assert not mine, f"cgroups left: {sorted(mine)}"


@pytest.fixture
def podman(podman_store: Podman) -> Iterator[Podman]:
    """Return podman for one test; all its containers must be removable afterwards, and unknown to the runtime."""
    yield podman_store
    ids = podman_store.ok("ps", "--all", "--quiet", "--no-trunc").split()
    podman_store.remove_all()
    listed = subprocess.run(
        [podman_store.runtime, "list", "-q"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout.split()
    assert not set(ids) & set(listed), "the runtime still lists a removed container"


@pytest.fixture(scope="session")
def rootless_store(runtime_path: Path, image_archive: Path) -> Iterator[Rootless]:
    """Return podman and buildah of an ordinary user with the busybox image; fail when they leave something behind."""
    need_root()
    need_program("podman", "conmon", "newuidmap", "setpriv")
    for file in ("/etc/subuid", "/etc/subgid"):
        if not Path(file).exists():
            pytest.skip(f"needs the file {file}")
    before = mount_points()
    base = Path(tempfile.mkdtemp(prefix="pyoci-rootless-"))
    rootless = Rootless(base, runtime_path)
    try:
        archive = shutil.copy(image_archive, base / "image.tar")
        rootless.ok("pull", "--quiet", f"oci-archive:{archive}")
        yield rootless
        rootless.remove_all()
    finally:
        rootless("system", "migrate")  # ends the process that keeps the user namespace
        left = eventually_gone(base)
        shutil.rmtree(base, ignore_errors=True)
    assert not left, f"processes left: {left}"
    assert mount_points() == before


@pytest.fixture
def rootless(rootless_store: Rootless) -> Iterator[Rootless]:
    """Return podman of an ordinary user for one test; all its containers must be removable afterwards."""
    yield rootless_store
    rootless_store.remove_all()


@pytest.fixture(scope="session")
def containerd(runtime_path: Path, image_archive: Path) -> Iterator[Containerd]:
    """Return a private containerd with the busybox image; fail when it leaves processes, mounts or cgroups."""
    need_root()
    need_program("containerd", "ctr", "containerd-shim-runc-v2")
    before = mount_points(), cgroup_directories()
    base = Path(tempfile.mkdtemp(prefix="pyoci-ctr-"))
    daemon = Containerd(base, runtime_path)
    try:
        daemon.start()
        daemon.ok("image", "import", "--snapshotter", "native", str(image_archive))
        yield daemon
        daemon.remove_all()
    finally:
        daemon.stop()
        left = eventually_gone(base)
        shutil.rmtree(base, ignore_errors=True)
        remove_cgroups((daemon.namespace,))
    assert not left, f"processes left: {left}"
    assert mount_points() == before[0]
    mine = {path for path in cgroup_directories() - before[1] if daemon.namespace in path}
    assert not mine, f"cgroups left: {sorted(mine)}"
