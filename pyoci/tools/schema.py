"""The schema of config.json (spec/*.schema.json), and the members of a document that are not in it."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from pyoci.config.readers import HINTS_MAX, did_you_mean, escaped

CONFIG, LINUX = "config.schema.json", "config-linux.schema.json"
# Members for other platforms than Linux (config.md, config-vm.md …).
OTHER_PLATFORMS = {
    "": ("freebsd", "solaris", "vm", "windows", "zos"),
    "/process": ("commandLine",),
    "/process/user": ("username",),
}


def load() -> dict[str, Any]:
    """Return the schema as one document, so that a validator need not find others."""
    config, linux = (json.loads(files("pyoci.tools").joinpath(name).read_bytes()) for name in (CONFIG, LINUX))
    definitions = config["$defs"] | linux.pop("$defs")
    del linux["$schema"]
    schema: dict[str, Any] = localised(config | {"$defs": definitions | {"linux": linux}})
    return schema


def localised(value: Any) -> Any:
    """Return a part of a schema with its references changed to point into this document."""
    if isinstance(value, list):
        return [localised(item) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {name: localised(item) for name, item in value.items()}
    if isinstance(reference := changed.get("$ref"), str):
        changed["$ref"] = "#/$defs/linux" if reference == LINUX else reference.removeprefix(CONFIG)
    return changed


def unknown_members(value: Any, schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the JSON pointer and a message for each unknown member, which create ignores.

    Only the first few get a hint, which takes time.
    """
    for number, (pointer, name, known) in enumerate(walk(value, schema, schema["$defs"], "")):
        yield f"{pointer}/{escaped(name)}", ignored(name, known if number < HINTS_MAX else {}, pointer)


def walk(
    value: Any, rule: dict[str, Any], definitions: dict[str, Any], pointer: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the pointer of the object, the name and the known members for each unknown member below *pointer*.

    A value of the wrong type is an error that others report.
    """
    while "$ref" in rule:
        rule = definitions[rule["$ref"].removeprefix("#/$defs/")]
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, rule.get("items", {}), definitions, f"{pointer}/{index}")
    if not isinstance(value, dict) or rule.get("type") != "object":
        return
    known = rule.get("properties", {})
    for name, item in value.items():
        below = known.get(name, rule.get("additionalProperties"))
        if below is None:
            yield pointer, name, known
        else:
            yield from walk(item, below, definitions, f"{pointer}/{escaped(name)}")


def ignored(name: str, known: dict[str, Any], pointer: str) -> str:
    """Return the message for an unknown member."""
    if name in OTHER_PLATFORMS.get(pointer, ()):
        return "is for another platform than Linux, and ignored"
    return f"is not in the specification, and ignored{did_you_mean(name, known)}"
