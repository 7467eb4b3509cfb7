"""The findings of pyoci validate: those of pyoci.commands.validate, unknown members, and those of jsonschema."""

from pyoci import codec
from pyoci.config.findings import ERROR, WARNING, Finding, deviations, errors, errors_of, in_order, located
from pyoci.config.lenient import as_read
from pyoci.errors import ConfigError
from pyoci.tools import jsonschema_check, schema


def examine(text: bytes, name: str) -> list[Finding]:
    """Return the findings about a configuration, in the order of its lines."""
    try:
        document = codec.loads(text, name)
    except ConfigError as error:
        return errors_of(error)
    findings = errors(document)
    rules = schema.load()
    known = {finding.pointer for finding in findings}
    value = as_read(document.value)
    violations = [each for each in jsonschema_check.violations(value, rules) if each[0] not in known]
    findings += located(document, violations, ERROR) + deviations(document)
    return in_order(findings + located(document, schema.unknown_members(value, rules), WARNING))
