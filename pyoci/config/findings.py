"""What ``validate`` can say about a configuration by itself: errors of create, and deviations that are accepted.

Findings are never looked up by their place: the author of a document chooses its names, see pyoci.members.Members.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pyoci.codec import Document
from pyoci.config.lenient import leniences
from pyoci.config.parse import parse_config
from pyoci.errors import ConfigError, Problem

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Problem):
    """An error or a warning."""

    severity: str = ERROR


def errors_of(error: ConfigError) -> list[Finding]:
    """Return the problems of an error as findings."""
    return [
        Finding(pointer=each.pointer, message=each.message, line=each.line, column=each.column)
        for each in error.problems
    ]


def errors(document: Document) -> list[Finding]:
    """Return the errors for which create would refuse the configuration."""
    try:
        parse_config(document)
    except ConfigError as error:
        return errors_of(error)
    return []


def deviations(document: Document) -> list[Finding]:
    """Return warnings about what is accepted although the specification does not allow it."""
    return located(document, leniences(document.value), WARNING)


def located(document: Document, found: Iterable[tuple[str, str]], severity: str) -> list[Finding]:
    """Return findings with line and column for pairs of JSON pointer and message."""
    listed = list(found)
    places = document.places([pointer for pointer, _ in listed])
    return [
        Finding(pointer=pointer, message=message, line=line, column=column, severity=severity)
        for (pointer, message), (line, column) in zip(listed, places, strict=True)
    ]


def in_order(findings: list[Finding]) -> list[Finding]:
    """Return the findings in document order."""
    return sorted(findings, key=lambda finding: (finding.line, finding.column))
