"""What is to be said about a configuration, from its file alone: what create refuses, and what it reads leniently.

No finding is looked up by its place: whoever writes a document chooses its names, see pyoci.record.Members.
"""

from pyoci.config.lenient import leniences
from pyoci.config.parse import parse_config
from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoci.codec import Document

ERROR, WARNING = "error", "warning"


class Finding(Problem):
    """A problem, or what only deserves a warning."""

    severity: str = ERROR


def told(error: ConfigError) -> "list[Finding]":
    """Return the problems of an error."""
    return [Finding(**problem.__dict__) for problem in error.problems]


def refused(document: "Document") -> "list[Finding]":
    """Return what create would refuse."""
    try:
        parse_config(document)
    except ConfigError as error:
        return told(error)
    return []


def lenient(document: "Document") -> "list[Finding]":
    """Return what is read as its writer means it."""
    return placed(document, leniences(document.value), WARNING)


def placed(document: "Document", found: "Iterable[tuple[str, str]]", severity: str) -> "list[Finding]":
    """Make findings, which know where in the document they are."""
    listed = list(found)
    places = document.places([pointer for pointer, _ in listed])
    return [
        Finding(pointer=pointer, message=message, line=line, column=column, severity=severity)
        for (pointer, message), (line, column) in zip(listed, places, strict=True)
    ]


def in_order(findings: "list[Finding]") -> "list[Finding]":
    """Sort findings by the lines of the document."""
    return sorted(findings, key=lambda finding: (finding.line, finding.column))
