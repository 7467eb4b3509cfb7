"""buildah of an ordinary user: each RUN is a container in the user namespace that buildah has made."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import need_program
from tests.interop.images import BUSYBOX, NAME
from tests.interop.rootless import Rootless


@pytest.fixture
def working(rootless: Rootless) -> Iterator[str]:
    """A working container from the busybox image."""
    need_program("buildah")
    yield rootless.buildah("from", "--pull-never", NAME)
    rootless.buildah("rm", "--all")


def run(rootless: Rootless, container: str, script: str, *options: str) -> str:
    """Return what a script prints in a working container."""
    return rootless.buildah("run", "--network", "none", *options, container, "sh", "-c", script)


@pytest.mark.parametrize("isolation", ["oci", "rootless"])
def test_run(rootless: Rootless, working: str, isolation: str) -> None:
    shown = run(rootless, working, "id -u; echo x > /dev/null; echo text > /made; cat /made", "--isolation", isolation)
    assert shown.split() == ["0", "text"]
    assert run(rootless, working, "cat /made", "--isolation", isolation) == "text"


def test_another_user(rootless: Rootless, working: str) -> None:
    assert run(rootless, working, "id -un; id -G", "--user", "app").split() == ["app", "1000", "2000"]


def test_from_scratch(rootless: Rootless, working: str) -> None:
    """No directory of the image exists but what the runtime makes."""
    container = rootless.buildah("from", "scratch")
    rootless.buildah("copy", container, str(BUSYBOX), "/sh")
    words = ("run", "--network", "none", container, "/sh", "-c", "echo from scratch")
    assert rootless.buildah(*words) == "from scratch"


def test_commit(rootless: Rootless, working: str) -> None:
    run(rootless, working, "echo committed > /made")
    rootless.buildah("commit", "--quiet", working, "committed")
    assert rootless.ok("run", "--rm", "committed", "cat", "/made") == "committed"


def test_build(rootless: Rootless, working: str) -> None:
    file: Path = rootless.directory("buildah") / "Containerfile"
    file.write_text(f"FROM {NAME}\nRUN id -u > /root-was\nUSER app\nRUN id -u > /tmp/user-was\n")
    rootless.buildah("bud", "--quiet", "--network", "none", "--tag", "bud", "--file", str(file), str(file.parent))
    assert rootless.ok("run", "--rm", "bud", "cat", "/root-was", "/tmp/user-was").split() == ["0", "1000"]
