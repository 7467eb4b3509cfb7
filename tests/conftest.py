"""What all tiers share: ``requires`` and the list of skips at the end."""

import importlib.util
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import helpers_host, helpers_start
from tests.helpers_runtime import default_command, newer_source

# What runs build/pyoci, unless another runtime is named.
NEED_BUILD = ("runtime/", "security/", "interop/", "vm/", "source/test_static", "source/test_collisions")

pytest_plugins = ["tests.skips"] if importlib.util.find_spec("tests.skips") else []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--oci-runtime``."""
    parser.addoption(
        "--oci-runtime",
        default=os.environ.get("OCI_RUNTIME", ""),
        help="the runtime that the tests drive, as words of a shell; default: $OCI_RUNTIME, else pyoci from the tree",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Describe the markers; make ordinary what the tests inherit."""
    helpers_start.make_ordinary()
    config.addinivalue_line("markers", "requires(*names): what the machine must have, see tests/helpers_host.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to test a build/pyoci that is older than the sources: it would show what they were."""
    here = f"{Path(__file__).parent}/"
    wanted = any(str(item.path).removeprefix(here).startswith(NEED_BUILD) for item in items)
    if wanted and not config.getoption("--oci-runtime") and (newer := newer_source()):
        raise pytest.UsageError(f"build/pyoci is older than {newer}: run make, or name another runtime by --oci-runtime")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test when the machine lacks something, and say what."""
    for marker in item.iter_markers("requires"):
        for name in marker.args:
            if reason := helpers_host.missing(name):
                pytest.skip(f"requires {name}: {reason}")


def runtime_command(config: pytest.Config) -> list[str]:
    """Return the words of the runtime under test."""
    words: str = config.getoption("--oci-runtime")
    return shlex.split(words) if words else default_command()


def runtime_name(config: pytest.Config) -> str:
    """Ask the runtime under test what it is: pyoci, runc, crun."""
    words = [*runtime_command(config), "--version"]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout.split(" ")[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the skips with their reasons, most frequent first."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] = reasons.get(reason.removeprefix("Skipped: "), 0) + 1
    if reasons:
        terminalreporter.section("not tested here")
        for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1]):
            terminalreporter.line(f"{count:4d}  {reason}")
