"""All of pyoci validate: what the file itself says of a configuration, its unknown members, and a second opinion."""

from pyoci import codec
from pyoci.config.findings import ERROR, WARNING, Finding, deviations, errors, errors_of, in_order, located
from pyoci.config.lenient import as_read
from pyoci.errors import ConfigError
from pyoci.tools import opinion, schema


def examine(text: bytes, name: str) -> list[Finding]:
    """Give what is to be said about a configuration, in the order of its lines."""
    try:
        document = codec.loads(text, name)
    except ConfigError as error:
        return errors_of(error)
    findings = errors(document)
    rules = schema.load()
    known = {finding.pointer for finding in findings}
    value = as_read(document.value)
    second = [each for each in opinion.violations(value, rules) if each[0] not in known]
    findings += located(document, second, ERROR) + deviations(document)
    return in_order(findings + located(document, schema.unknown_members(value, rules), WARNING))
