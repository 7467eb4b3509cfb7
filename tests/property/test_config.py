"""The readers of pyoci.config and the JSON Schema in spec/ agree on every document."""

import copy
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import (
    DIALECTS,
    REGISTRY,
    SCHEMAS,
    STRICT,
    Json,
    complete,
    configs,
    mutations,
    neighbours,
    odd_values,
    validator,
    values,
)

from pyoci.config import check, forms, lenient, parse
from pyoci.config.readers import escaped
from pyoci.errors import ConfigError
from pyoci.members import Members

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
CONFIG = validator("config.schema.json")


def problems(document: Any) -> list[str]:
    """Return the pointers of values that the readers refuse, without the rules across fields."""
    try:
        parse.parse(Json(document), parse.CONFIG, lambda _: [])
    except ConfigError as error:
        return [problem.pointer for problem in error.problems]
    return []


def pointer(error: Any) -> str:
    """Return the JSON pointer of an error of jsonschema; for a wrong name or a missing member that of the member."""
    parts = list(error.absolute_path)
    if "propertyNames" in error.absolute_schema_path:
        parts.append(error.instance)
    if error.validator == "required":
        parts += [name for name in error.validator_value if error.message.startswith(f"{name!r} ")]
    return "".join("/" + escaped(str(part)) for part in parts)


def test_the_schemas_are_schemas() -> None:
    assert {"https://json-schema.org/draft/2020-12/schema"} == DIALECTS
    for schema in SCHEMAS.values():
        STRICT.check_schema(schema)


@relaxed
@given(configs())
def test_every_valid_document_is_read(document: Any) -> None:
    assert CONFIG.is_valid(document)
    assert problems(document) == []


@relaxed
@given(mutations(configs()) | mutations(mutations(configs())))
def test_readers_and_schema_refuse_the_same_places(document: Any) -> None:
    assert set(problems(document)) == {pointer(error) for error in CONFIG.iter_errors(lenient.as_read(document))}


LEAVES: list[Any] = []
COMPLETE = complete(SCHEMAS["config.schema.json"], "config.schema.json", (), LEAVES)


def test_the_complete_document_fills_every_field() -> None:
    assert problems(COMPLETE) == []
    unfilled = list(missing(parse.parse(Json(COMPLETE), parse.CONFIG, lambda _: []), ""))
    assert unfilled == []


def test_the_order_of_members_has_no_meaning() -> None:
    """glossary.md#json."""
    plain, turned = (parse.parse(Json(document), parse.CONFIG, lambda _: []) for document in (COMPLETE, backwards(COMPLETE)))
    assert in_order(plain) == in_order(turned)


def in_order(value: Any) -> Any:
    """Return a dataclass as plain values, with the members of maps sorted."""
    if is_dataclass(value):
        return {name: in_order(item) for name, item in value.__dict__.items()}
    if isinstance(value, Members):
        return sorted((name, in_order(item)) for name, item in value.items())
    return [in_order(item) for item in value] if isinstance(value, tuple) else value


def backwards(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


def missing(value: Any, at: str) -> Any:
    if is_dataclass(value):
        yield from (f"{at}/{each.name}" for each in fields(value) if each.name not in value.__dict__)
        value = value.__dict__
    for name, item in value.items() if isinstance(value, (dict, Members)) else ():
        yield from missing(item, f"{at}/{name}")
    for item in value if isinstance(value, tuple) and not isinstance(value, Members) else ():
        yield from missing(item, f"{at}/-")


@pytest.mark.parametrize(
    ("at", "schema"), [leaf[:2] for leaf in LEAVES[1:]], ids=["/".join(map(str, at)) for at, *_ in LEAVES[1:]]
)
def test_each_value_has_the_edges_of_the_schema(at: tuple[Any, ...], schema: Any) -> None:
    for value in neighbours(schema):
        changed = copy.deepcopy(COMPLETE)
        holder = changed
        for part in at[:-1]:
            holder = holder[part]
        holder[at[-1]] = value
        assert (not problems(changed)) == CONFIG.is_valid(lenient.as_read(changed)), value


def test_each_map_has_the_names_of_the_schema() -> None:
    maps = [(at, schema, document) for at, schema, document in LEAVES if "propertyNames" in schema]
    assert len(maps) >= 6
    for at, schema, document in maps:
        rule = STRICT({}, registry=REGISTRY).evolve(schema=rooted(schema["propertyNames"], document))
        for name in ("", "a\0b", "boottime", "monotonic", "realtime"):
            changed = copy.deepcopy(COMPLETE)
            holder = changed
            for part in at:
                holder = holder[part]
            holder[name] = holder.pop("boottime")
            assert (not problems(changed)) == rule.is_valid(name), (at, name)


def rooted(schema: Any, document: str) -> Any:
    """Return *schema* with the document's name in its references."""
    if isinstance(schema, dict):
        return {
            name: document + item if name == "$ref" and item.startswith("#") else rooted(item, document)
            for name, item in schema.items()
        }
    return [rooted(item, document) for item in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize(
    ("at", "schema"),
    [(at, schema) for at, schema, _ in LEAVES if "properties" in schema],
    ids=lambda value: "/".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_only_required_members_are_required(at: tuple[Any, ...], schema: Any) -> None:
    for name in schema["properties"]:
        changed = copy.deepcopy(COMPLETE)
        holder = changed
        for part in at:
            holder = holder[part]
        del holder[name]
        required = name in schema.get("required", ()) and (*at, name) != ("process", "user", "gid")
        assert bool(problems(changed)) == required, name


@relaxed
@given(odd_values | st.recursive(odd_values, st.lists) | st.dictionaries(st.text(), odd_values))
def test_any_value_is_read_or_refused_with_a_place(document: Any) -> None:
    assert bool(problems(document)) != CONFIG.is_valid(lenient.as_read(document))


@relaxed
@given(configs())
def test_the_rules_across_fields_never_fail_otherwise(document: Any) -> None:
    config = parse.parse(Json(document), parse.CONFIG, lambda _: [])
    for place, message in check.check_config(config):
        assert place.startswith("/")
        assert message and "\n" not in message


@relaxed
@given(configs())
def test_a_record_holds_what_the_document_says(document: Any) -> None:
    config = parse.parse(Json(document), parse.CONFIG, lambda _: [])
    assert_same(document, config)


def assert_same(value: Any, read: Any) -> None:
    if is_dataclass(read):
        for name, item in value.items():
            field = "class_" if name == "class" else name
            masked = item & 0o7777 if name == "fileMode" else item
            assert_same(masked, getattr(read, field))
    elif isinstance(read, Members):
        assert list(read) == list(value)
        for name, item in read.items():
            assert_same(value[name], item)
    elif isinstance(read, tuple):
        assert len(read) == len(value)
        for item, other in zip(value, read, strict=True):
            assert_same(item, other)
    else:
        assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "definition", "reader"),
    [
        ("config.schema.json", "process", parse.PROCESS),
        ("config-linux.schema.json", "resources", parse.RESOURCES),
    ],
)
@relaxed
@given(data=st.data())
def test_the_parts_that_are_documents(name: str, definition: str, reader: Any, data: Any) -> None:
    strategy = values(SCHEMAS[name]["$defs"][definition], name)
    document = data.draw(strategy | mutations(strategy))
    try:
        parse.parse(Json(document), reader, lambda _: [])
        read = True
    except ConfigError:
        read = False
    process = isinstance(document, dict) and definition == "process"
    meant = lenient.as_read({"process": document})["process"] if process else lenient.without_nulls(document)
    assert read == validator(name, definition).is_valid(meant)


@given(
    st.text(alphabet="019.-+a ~", max_size=12)
    | st.from_regex(SCHEMAS["config.schema.json"]["$defs"]["version"]["pattern"])
)
def test_versions(text: str) -> None:
    valid = validator("config.schema.json", "version").is_valid(text)
    assert (forms.SEMVER.fullmatch(text) is not None and text.startswith("1.")) == valid
