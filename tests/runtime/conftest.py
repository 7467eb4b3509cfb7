"""Fixtures of the runtime tier: the runtime, bundles, and the check that nothing is left behind."""

import fnmatch
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import runtime_command, runtime_name
from tests.helpers_bundle import Bundle
from tests.helpers_host import (
    MS_BIND,
    MS_PRIVATE,
    become_subreaper,
    enter_mounts,
    missing,
    mount,
    unmount,
    unshare_mounts,
)
from tests.helpers_leaks import Snapshot, reap
from tests.helpers_payload import build_probe
from tests.helpers_runtime import Container, Runtime

TOKEN = f"pyocitest{os.getpid()}"
NUMBERS = itertools.count(1)


DEVIATIONS = Path(__file__).parent / "deviations.tsv"
TIER = (DEVIATIONS.parent, DEVIATIONS.parent.parent / "security")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect a peer to fail where deviations.tsv says so.  No line there excuses pyoci."""
    mine = [item for item in items if item.path.parent in TIER]
    name = runtime_name(config) if mine else "pyoci"
    if name == "pyoci":
        return
    rows = [line.split("\t") for line in DEVIATIONS.read_text().splitlines() if line and not line.startswith("#")]
    for item in mine:
        test = f"{item.path.stem}::{item.name}"
        known = [row[2] for row in rows if name in row[0].split(",") and fnmatch.fnmatchcase(test, row[1])]
        if known:
            reason = known[-1]
            run = not reason.startswith("dangerous")
            item.add_marker(pytest.mark.xfail(reason=f"{name}: {reason}", strict=False, run=run))


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory that every user may enter: containers in user namespaces work below it."""
    path = Path(tempfile.mkdtemp(prefix="pyoci-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def probe(scratch: Path) -> Path:
    """The payload, built once."""
    return build_probe(scratch)


@pytest.fixture(scope="package", autouse=True)
def own_mounts() -> Iterator[None]:
    """Put the tier into a mount namespace of its own, and make it the reaper of its orphans."""
    become_subreaper()
    if missing("root"):
        yield
        return
    before = unshare_mounts()
    yield
    enter_mounts(before)


@pytest.fixture
def runtime(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Runtime]:
    """The runtime under test.  Containers that a test leaves are deleted by force; whatever is left then is a leak."""
    root = scratch / f"state{next(NUMBERS)}"
    before = Snapshot(TOKEN, root)
    runtime = Runtime(runtime_command(request.config), root, before.processes)
    yield runtime
    runtime.end_calls()
    problems = [problem for container in reversed(runtime.containers) if (problem := _remove(container))]
    problems += before.leaks()
    before.clean()
    shutil.rmtree(root, ignore_errors=True)
    if problems and not _known_to_leak(request):
        pytest.fail("left behind: " + "; ".join(problems), pytrace=False)


def _remove(container: Container) -> str:
    """Delete a container that the test has left; give what went wrong."""
    runtime = container.runtime
    result = None
    try:
        if (runtime.root / container.id).exists():
            result = runtime.call("delete", "--force", container.id, meanwhile=reap)
    except AssertionError as error:
        return str(error)
    finally:
        container.stdout.close()
        reap()
    return "" if result is None or result.status == 0 else repr(result)


def _known_to_leak(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("xfail") is not None


@pytest.fixture
def one_file(runtime: Runtime) -> None:
    """Skip a test of what happens before pyoci's own code runs, when an interpreter is started first."""
    if len(runtime.command) > 1:
        pytest.skip("requires one file: the runtime under test is a package")


@pytest.fixture
def pyoci_alone(request: pytest.FixtureRequest) -> None:
    """Skip a test of what no peer has: pyoci's library, or the words of its log."""
    if runtime_name(request.config) != "pyoci":
        pytest.skip("it is pyoci's own")


@pytest.fixture
def bundles(scratch: Path, probe: Path) -> Iterator[Callable[[], Bundle]]:
    """A factory of bundles."""
    made: list[Bundle] = []

    def make() -> Bundle:
        number = next(NUMBERS)
        made.append(Bundle(scratch / f"bundle{number}", probe, f"{TOKEN}-{number}"))
        return made[-1]

    yield make
    for bundle in made:
        shutil.rmtree(bundle.path, ignore_errors=True)


@pytest.fixture
def bundle(bundles: Callable[[], Bundle]) -> Bundle:
    """A bundle whose container runs ``probe report``."""
    return bundles()


@pytest.fixture
def source(bundle):
    """A directory of the host with a file, a directory and a read-only file in it."""
    directory = bundle.path / "source"
    (directory / "sub").mkdir(parents=True)
    (directory / "file").write_text("text of the host")
    (directory / "sub" / "inner").write_text("inner")
    return directory


@pytest.fixture
def tree(source):
    """The source with another file system mounted below it, the whole a mount of its own."""
    mount(str(source), source, flags=MS_BIND)
    mount("none", source, flags=MS_PRIVATE)
    mount("inner", source / "sub", "tmpfs")
    yield source
    unmount(source / "sub")
    unmount(source)
