"""pyoci validate: say all that is wrong with a configuration, and what in it has no effect."""

from typing import TYPE_CHECKING

from pyoci import bundle, codec
from pyoci.commands.common import show
from pyoci.config.lenient import as_read, leniences
from pyoci.config.parse import parse_config
from pyoci.errors import ConfigError, Problem, UsageError, printable
from pyoci.tools import opinion, schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoci.cli import Command

ERROR, WARNING = "error", "warning"


class Finding(Problem):
    """A problem, or what only deserves a warning."""

    severity: str = ERROR


def run(command: "Command") -> int:
    """Print a line for each finding, or all as JSON; warnings alone are no failure.

    Raises:
        Error: the document cannot be read.
    """
    form = command.options["format"] or "text"
    if form not in ("text", "json"):
        raise UsageError(f'validate: the format is text or json, not "{printable(str(form))}"')
    directory, file = str(command.options["bundle"]), str(command.options["config"])
    name = file or (f"{directory.rstrip('/')}/config.json" if directory else "config.json")
    findings = examine(bundle.read(directory, file)[1], name)
    show(as_json(findings) if form == "json" else as_text(findings, name))
    return int(any(finding.severity == ERROR for finding in findings))


def examine(text: bytes, name: str) -> list[Finding]:
    """Give what is to be said about a configuration, in the order of its lines."""
    try:
        document = codec.loads(text, name)
    except ConfigError as error:
        return [Finding(**problem.__dict__) for problem in error.problems]
    findings = refused(document)
    rules = schema.load()
    told = {finding.pointer for finding in findings}
    value = as_read(document.value)
    second = [each for each in opinion.violations(value, rules) if each[0] not in told]
    findings += placed(document, second, ERROR)
    findings += placed(document, [*leniences(document.value), *schema.unknown_members(value, rules)], WARNING)
    return sorted(findings, key=lambda finding: (finding.line, finding.column))


def refused(document: codec.Document) -> list[Finding]:
    """Give what create would refuse."""
    try:
        parse_config(document)
    except ConfigError as error:
        return [Finding(**problem.__dict__) for problem in error.problems]
    return []


def placed(document: codec.Document, found: "Iterable[tuple[str, str]]", severity: str) -> list[Finding]:
    """Make findings, which know where in the document they are."""
    listed = list(found)
    places = document.places([pointer for pointer, _ in listed])
    return [
        Finding(pointer=pointer, message=message, line=line, column=column, severity=severity)
        for (pointer, message), (line, column) in zip(listed, places, strict=True)
    ]


def as_text(findings: list[Finding], name: str) -> str:
    """Give a line for each finding, as an error shows its first."""
    lines = []
    for finding in findings:
        kind = "warning: " if finding.severity == WARNING else ""
        lines.append(f"{printable(name)}:{finding.line}:{finding.column}: {kind}{finding}\n")
    return "".join(lines)


def as_json(findings: list[Finding]) -> str:
    """Give a list of objects, with the members of Finding."""
    members = [{name: getattr(finding, name) for name in Finding._fields} for finding in findings]
    return codec.dumps(members, indent="  ") + "\n"
