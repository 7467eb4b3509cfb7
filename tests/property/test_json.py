"""pyoci.codec against the standard library's json, on generated and mutated documents, and on arbitrary text."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci import codec
from pyoci._native import lib
from pyoci.errors import ConfigError

# JSON text as RFC 8259 means it, and as pyoci reads it: no NUL, no surrogates.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda items: st.lists(items, max_size=6) | st.dictionaries(texts, items, max_size=6),
    max_leaves=30,
)
# What a changed document is made of: everything that the grammar gives a meaning to, and what looks like it.
fragments = st.sampled_from(
    b"""[ ] { } : , " \\ \\u \\ud83d \\udE00 \\u0000 \\u0061 "a": 0 - . e E+ 1 00 1e999
    99999999999999999999 true nul NaN Infinity // ' \x00 \x1f \x7f \xc2\xa0 \xef\xbb\xbf \xff \xed\xa0\x80
    \xe2\x82 \xf0\x9f\x98\x80""".split()
    + [b" ", b"\n", b"\r", b"\t", b"\x0b"]
)


class Refused(Exception):
    """The oracle refuses a document."""


def oracle(text: bytes) -> Any:
    """Read with the standard library, then refuse what pyoci promises to refuse beyond it."""
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=refuse,
            parse_int=integer,
            parse_float=real,
        )
    except (ValueError, RecursionError) as error:
        raise Refused from error
    inspect(value, lib.JSON_MAX_DEPTH)
    return value


def refuse(text: str) -> None:
    raise Refused(text)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused("duplicate name")
    return dict(pairs)


def integer(text: str) -> int:
    if len(text) > lib.JSON_MAX_NUMBER or not -(2**63) <= int(text) < 2**64:
        raise Refused("range")
    return int(text)


def real(text: str) -> float:
    if len(text) > lib.JSON_MAX_NUMBER or float(text) in (float("inf"), float("-inf")):
        raise Refused("range")
    return float(text)


def inspect(value: Any, depth: int) -> None:
    if isinstance(value, str) and any(c == "\0" or 0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise Refused("character")
    if isinstance(value, (list, dict)):
        if depth == 0:
            raise Refused("depth")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            inspect(item, depth - 1)


def assert_agrees_with_oracle(text: bytes) -> None:
    """Both accept *text* and read the same, or both refuse it."""
    try:
        expected = oracle(text)
    except Refused:
        with pytest.raises(ConfigError) as caught:
            codec.loads(text, "x")
        (problem,) = caught.value.problems
        assert 1 <= problem.line <= text.count(b"\n") + 1
        assert 1 <= problem.column <= len(text) + 1
        assert problem.message
    else:
        # repr and not ==: 1, 1.0 and True differ, and so do 0.0 and -0.0, and an object's order.
        assert repr(codec.loads(text, "x").value) == repr(expected)


@given(values, st.booleans(), st.sampled_from([None, 0, 2, "\t"]))
def test_reads_what_json_writes(value: Any, ascii_only: bool, indent: "int | str | None") -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert repr(codec.loads(text.encode(), "x").value) == repr(value)


@given(values, st.data())
def test_agrees_with_json_on_changed_documents(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode()
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(begin + 2, len(text))))
        text = text[:begin] + data.draw(fragments | st.just(b"") | st.binary(max_size=2)) + text[end:]
    assert_agrees_with_oracle(text)


@given(st.lists(fragments, max_size=12).map(b"".join))
def test_agrees_with_json_on_invented_documents(text: bytes) -> None:
    assert_agrees_with_oracle(text)


@given(st.lists(fragments, max_size=5).map(b"".join))
def test_agrees_with_json_on_invented_strings(inside: bytes) -> None:
    assert_agrees_with_oracle(b'["' + inside + b'"]')


@given(st.from_regex(rb"[-+]?[0-9]{0,22}(\.[0-9]{0,40})?([eE][-+]?[0-9]{0,4})?", fullmatch=True))
def test_agrees_with_json_on_numbers(text: bytes) -> None:
    assert_agrees_with_oracle(text)
    assert_agrees_with_oracle(b"[" + text + b"]")


@given(st.binary(max_size=64))
def test_any_bytes_give_a_value_or_a_config_error(text: bytes) -> None:
    assert_agrees_with_oracle(text)


@given(st.dictionaries(texts, st.integers(0, 9), min_size=1), st.data())
def test_a_name_twice_is_refused_however_it_is_spelt(members: dict[str, int], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(members)))
    spelling = "".join(
        json.dumps(c)[1:-1] if data.draw(st.booleans()) else "".join(f"\\u{unit:04X}" for unit in utf16(c))
        for c in name
    )
    text = json.dumps(members, ensure_ascii=False)[:-1] + f',"{spelling}":0}}'
    with pytest.raises(ConfigError, match="duplicate name"):
        codec.loads(text.encode(), "x")


def utf16(character: str) -> list[int]:
    raw = character.encode("utf-16-be")
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]


class Writer:
    """Writes a document with random white space, and notes at which character each value begins."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.text = ""
        self.places: dict[str, int] = {}

    def put(self, text: str) -> None:
        self.text += text + "".join(self.chance.choices(" \t\n", k=self.chance.randrange(3)))

    def write(self, value: Any, pointer: str = "") -> None:
        self.places[pointer] = len(self.text)
        if isinstance(value, dict):
            self.put("{")
            for index, (name, item) in enumerate(value.items()):
                self.put("," if index else "")
                self.put(json.dumps(name, ensure_ascii=self.chance.random() < 0.5))
                self.put(":")
                self.write(item, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
            self.put("}")
        elif isinstance(value, list):
            self.put("[")
            for index, item in enumerate(value):
                self.put("," if index else "")
                self.write(item, f"{pointer}/{index}")
            self.put("]")
        else:
            self.put(json.dumps(value, ensure_ascii=self.chance.random() < 0.5))


@given(values, st.randoms(use_true_random=False))
def test_where_is_the_place_of_every_value(value: Any, chance: random.Random) -> None:
    writer = Writer(chance)
    writer.put("")
    writer.write(value)
    document = codec.loads(writer.text.encode(), "x")
    assert repr(document.value) == repr(value)
    for pointer, place in writer.places.items():
        before = writer.text[:place]
        line, column = before.count("\n") + 1, place - (before.rfind("\n") + 1) + 1
        assert document.where(pointer) == (line, column)
        assert document.where(f"{pointer}/no such~1thing") == (line, column)


@given(values, st.sampled_from(["", " ", "\t", "    "]))
def test_what_is_written_reads_back_the_same(value: Any, indent: str) -> None:
    text = codec.dumps(value, indent)
    assert text.isascii()
    assert repr(codec.loads(text.encode(), "x").value) == repr(value)


@given(st.text(st.characters(categories=["Cs", "L", "Cc"])))
def test_every_string_can_be_written(text: str) -> None:
    replaced = "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text)
    assert json.loads(codec.dumps(text)) == replaced
