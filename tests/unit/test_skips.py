"""The plugin that fails a complete run with a skip that nobody allowed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import ALLOWED, Entry, matches, parse

TREE = Path(__file__).resolve().parents[2]


def test_the_list_can_be_read() -> None:
    parse(ALLOWED.read_text())


@pytest.mark.parametrize("line", ["host | a", "host | a | b", "host | a | b |", "host | a | b | c | d"])
def test_line_without_four_parts_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"skips-allowed.txt:2: "):
        parse(f"# comment\n{line}\n")


@pytest.mark.parametrize(
    ("place", "test", "reason", "expected"),
    [
        ("host", "tests/a.py::t[x-1]", "needs [big] iron", True),
        ("uml", "tests/a.py::t[x-1]", "needs [big] iron", False),
        ("host", "tests/b.py::t", "needs [big] iron", False),
        ("host", "tests/a.py::t[x-1]", "needs more", False),
    ],
)
def test_place_test_and_reason_must_match(place: str, test: str, reason: str, expected: bool) -> None:
    entry = Entry("host", "tests/a.py::t[x*]", "needs [big]*", "there is none")
    assert matches(entry, place, test, reason) is expected


@pytest.mark.parametrize(("variable", "status"), [("true", 1), ("", 0)])
def test_unexpected_skip_fails_a_complete_run_only(tmp_path: Path, variable: str, status: int) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_one(): pytest.skip('no such moon')\ndef test_two(): pass\n",
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.skips",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            tmp_path,
            tmp_path,
        ],
        env={**os.environ, "CI": variable, "PYTHONPATH": str(TREE)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert ("test_it.py::test_one: no such moon" in done.stdout) is (status == 1)
