"""A pytest plugin: skips in continuous integration must be expected ones.

The runs that must be complete set `CI=true`. There a skip fails the run unless `tests/skips-allowed.txt` lists
it.
A line of that file has four parts, separated by ` | `:

    PLACE | TEST | REASON | WHY

PLACE is where the suite runs (`host`, `package`, `uml`, `uml-v1`, `v2view`, from $PYOCI_TEST_PLACE, or `*`), TEST a pattern for the
test's node id and REASON one for the text of the skip, both as in a shell. WHY says why that machine cannot run the test.
"""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

ALLOWED = Path(__file__).with_name("skips-allowed.txt")


class Entry(NamedTuple):
    """One line of the list of allowed skips."""

    place: str
    test: str
    reason: str
    why: str


def parse(text: str) -> list[Entry]:
    """Read the list; raises ValueError that names the line when one has not four non-empty parts."""
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(" | ")]
        if len(parts) != 4 or not all(parts):
            raise ValueError(f"{ALLOWED.name}:{number}: not PLACE | TEST | REASON | WHY")
        entries.append(Entry(*parts))
    return entries


def matches(entry: Entry, place: str, test: str, reason: str) -> bool:
    """Return whether an entry allows a skip."""
    # In fnmatch [ starts a set, but in the ids of parametrised tests it is just a bracket.
    literal = entry.test.replace("[", "[[]")
    return (
        fnmatchcase(place, entry.place)
        and fnmatchcase(test, literal)
        and fnmatchcase(reason, entry.reason.replace("[", "[[]"))
    )


def reason_of(report: "pytest.TestReport | pytest.CollectReport") -> str:
    """Return the text that was given to `skip`."""
    longrepr = report.longrepr
    text = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


class SkipGuard:
    """Collect the skips of a run and judge them at its end."""

    def __init__(self, entries: list[Entry], place: str) -> None:
        self.entries = entries
        self.place = place
        self.unexpected: list[tuple[str, str]] = []

    def _judge(self, report: "pytest.TestReport | pytest.CollectReport") -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = reason_of(report)
        if not any(matches(entry, self.place, report.nodeid, reason) for entry in self.entries):
            self.unexpected.append((report.nodeid, reason))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See the skip of a test."""
        self._judge(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """See the skip of a whole module."""
        self._judge(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run that would have passed with an unexpected skip."""
        if self.unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which skips were not expected."""
        if self.unexpected:
            terminalreporter.section(
                f"skips that {ALLOWED.name} does not allow here ({self.place})", red=True
            )
        for test, reason in self.unexpected:
            terminalreporter.line(f"{test}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    """Guard the skips of a run in continuous integration."""
    if os.environ.get("CI") != "true":
        return
    try:
        entries = parse(ALLOWED.read_text())
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    config.pluginmanager.register(
        SkipGuard(entries, os.environ.get("PYOCI_TEST_PLACE", "host")), "skip-guard"
    )
