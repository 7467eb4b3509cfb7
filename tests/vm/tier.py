"""Run the runtime tier in another place, and judge its end."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import runtime_command

RUNTIME = ("tests/runtime", "tests/security")
TREE = Path(__file__).resolve().parents[2]
SUMMARY = re.compile(r"^=* ?(\d+ (?:passed|failed|skipped|error)[^=\n]*in [\d.]+s.*?) ?=*$", re.M)


def environment(config: pytest.Config, place: str) -> dict[str, str]:
    """Return the variables that the inner run needs: the runtime under test, and where it runs."""
    words = config.getoption("--oci-runtime")
    values = {"PYOCI_TEST_PLACE": place, "OCI_RUNTIME": words or shlex.join(runtime_command(config))}
    if "CI" in os.environ:
        values["CI"] = os.environ["CI"]
    return values


def command(*tests: str) -> list[str]:
    """Return the command that runs tests of this tree with the Python of this run."""
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--color=no", *tests]


def run_here(
    words: list[str], variables: dict[str, str], capture: pytest.CaptureFixture[str], place: str, deadline: float
) -> None:
    """Run a tier on this kernel, in the directory of this tree, and judge it."""
    done = subprocess.run(
        words,
        cwd=TREE,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=deadline,
        check=False,
    )
    judge(done.returncode, done.stdout, capture, place)


def judge(status: int | None, output: str, capture: pytest.CaptureFixture[str], place: str) -> None:
    """Print the inner run's closing line; fail, with all its output captured, when it failed or ran nothing."""
    found = SUMMARY.findall(output)
    closing = found[-1] if found else "no summary"
    with capture.disabled():
        print(f"\n    [{place}] {closing}")
    print(output)
    if status != 0 or not re.search(r"[1-9]\d* passed", closing):
        pytest.fail(f"status {status} in {place}: {closing}", pytrace=False)
