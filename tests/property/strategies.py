"""Strategies for configurations, made from spec/*.schema.json, and the validator to compare with."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import strategies as st
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.helpers_json import members

SPEC = Path(__file__).resolve().parents[2] / "spec"
SCHEMAS = {path.name: json.loads(path.read_text()) for path in SPEC.glob("*.schema.json")}
# With $schema in place, jsonschema would follow it back to its own, lenient validator.
DIALECTS = {schema.pop("$schema") for schema in SCHEMAS.values()}
REGISTRY: Any = Registry().with_resources(
    (name, DRAFT202012.create_resource(schema)) for name, schema in SCHEMAS.items()
)

EDGES = (
    -(2**63) - 1,
    -(2**31) - 1,
    -1001,
    -2,
    -1,
    0,
    1,
    6,
    8,
    101,
    512,
    1001,
    2**16,
    2**31,
    2**32 - 1,
    2**32,
    2**64,
)
WORDS = (
    "",
    "/",
    "relative",
    "/a\nb",
    "a\0b",
    "L3:\n",
    "NAME",
    "=x",
    "A=b",
    "SCMP_ACT_ALLOW",
    "ipc",
    "1.0.0",
    "01.0.0",
)


class Json:
    """A document like those of pyoci.codec."""

    name = "config.json"

    def __init__(self, value: Any) -> None:
        self.value = members(value)

    def places(self, pointers: list[str]) -> list[tuple[int, int]]:
        return [(1, 1 + len(pointer)) for pointer in pointers]


def ecma_pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Any:
    """Search for a pattern as JSON Schema specifies it: ``$`` matches only at the very end."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def is_integer(_checker: Any, value: Any) -> bool:
    """Refuse true and 1.0; for JSON Schema the latter is an integer."""
    return type(value) is int


STRICT = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"pattern": ecma_pattern},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer),
)


def validator(name: str, definition: str = "") -> Any:
    """Return a strict validator for one of the schemas in spec/, or for a definition in it."""
    reference = f"{name}#/$defs/{definition}" if definition else name
    return STRICT({"$ref": reference}, registry=REGISTRY)


def resolve(reference: str, document: str) -> tuple[dict[str, Any], str]:
    """Return the schema that a $ref names, and the name of its document."""
    name, _, pointer = reference.partition("#")
    document = name or document
    schema: Any = SCHEMAS[document]
    for part in pointer.split("/")[1:]:
        schema = schema[part]
    return schema, document


def values(schema: dict[str, Any], document: str) -> st.SearchStrategy[Any]:
    """Make a strategy of values that are valid by *schema*."""
    if "$ref" in schema:
        return values(*resolve(schema["$ref"], document))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            return objects(schema, document)
        case "array":
            items = values(schema["items"], document) if "items" in schema else st.nothing()
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=2 if "items" in schema else 0)
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"].replace("$", r"\Z"))
        case "string":
            return st.text()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
    return st.booleans()


def objects(schema: dict[str, Any], document: str) -> st.SearchStrategy[Any]:
    """Make a strategy of objects: with members, or a map."""
    if "additionalProperties" in schema:
        keys = values({"type": "string", **schema["propertyNames"]}, document)
        return st.dictionaries(keys, values(schema["additionalProperties"], document), max_size=2)
    members = {name: st.deferred(lambda s=s: values(s, document)) for name, s in schema["properties"].items()}
    required = {name: member for name, member in members.items() if name in schema.get("required", ())}
    optional = {name: member for name, member in members.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


def configs() -> st.SearchStrategy[Any]:
    """Make a strategy of documents that config.schema.json accepts."""
    return values(SCHEMAS["config.schema.json"], "config.schema.json")


def complete(schema: dict[str, Any], document: str, at: tuple[Any, ...], leaves: list[Any]) -> Any:
    """Return a valid value that has every member, and collect place and schema of every value in it."""
    if "$ref" in schema:
        return complete(*resolve(schema["$ref"], document), at, leaves)
    leaves.append((at, schema, document))
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            name = "boottime"
            return {name: complete(schema["additionalProperties"], document, (*at, name), leaves)}
        case "object":
            members = schema["properties"].items()
            return {name: complete(member, document, (*at, name), leaves) for name, member in members}
        case "array":
            return [complete(schema["items"], document, (*at, 0), leaves)] if "items" in schema else []
        case "string":
            samples = ("x", "/x", "A=b", "MB:0", "2MB", "1.0.0", "0-3", "rwm")
            return next(sample for sample in samples if re.search(schema.get("pattern", ""), sample))
        case "integer":
            return schema["minimum"]
    return True


def neighbours(schema: dict[str, Any]) -> list[Any]:
    """Yield values at the limits that *schema* sets, on both sides of them, and values of other types."""
    edges: list[Any] = [
        None,
        True,
        0.0,
        1.0,
        "",
        [],
        {},
        *WORDS,
        "MB:\n",
        "MB",
        "0MB",
        "2mb",
        "02MB",
        "0-3;1",
        "wx-",
    ]
    if "enum" in schema:
        edges += [*schema["enum"], f"{schema['enum'][0]} ", schema["enum"][0].swapcase()]
    if schema.get("type") == "integer":
        low, high = schema["minimum"], schema["maximum"]
        edges += [low - 1, low, high, high + 1, str(low)]
    return edges


odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(EDGES),
    st.sampled_from((0.5, 1.0)),
    st.sampled_from(WORDS),
    st.just([]),
    st.just({}),
    st.lists(st.sampled_from((1, "x", None)), min_size=1, max_size=1),
)


@st.composite
def mutations(draw: st.DrawFn, documents: st.SearchStrategy[Any]) -> Any:
    """Make a strategy of documents in which one value was changed, or one member removed or added."""
    document = copy.deepcopy(draw(documents))
    places = list(containers(document))
    holder = draw(st.sampled_from(places))
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    action = draw(st.sampled_from(("change", "remove", "add"))) if keys else "add"
    if action == "add":
        if isinstance(holder, dict):
            holder[draw(st.sampled_from(("", "unknown", "boottime", "path", "type", "class_")))] = draw(
                odd_values
            )
        else:
            holder.append(draw(odd_values))
        return document
    key = draw(st.sampled_from(keys))
    if action == "change":
        holder[key] = draw(odd_values)
    else:
        del holder[key]
    return document


def containers(value: Any) -> Any:
    """Yield every object and array of a document."""
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)
