"""pyoci.codec: the errors of the strict JSON parser with their places, and the output of dumps()."""

import json

import pytest

from pyoci import codec
from pyoci._native import ffi, lib
from pyoci.errors import ConfigError

REFUSED = [
    # text, line, column, message
    (b"", 1, 1, "expected a value, found the end"),
    (b" \n ", 2, 2, "expected a value, found the end"),
    (b"[1,]", 1, 4, "expected a value, found ']'"),
    (b"[,1]", 1, 2, "expected a value, found ','"),
    (b"[1 2]", 1, 4, "expected ',' or ']', found '2'"),
    (b"[1}", 1, 3, "expected ',' or ']', found '}'"),
    (b"[1", 1, 3, "expected ',' or ']', found the end"),
    (b'{"a":1,}', 1, 8, "expected a name in double quotes, found '}'"),
    (b"{'a':1}", 1, 2, 'expected a name in double quotes, found "\'"'),
    (b"{a:1}", 1, 2, "expected a name in double quotes, found 'a'"),
    (b'{"a" 1}', 1, 6, "expected ':' after a name, found '1'"),
    (b'{"a":1 "b":2}', 1, 8, "expected ',' or '}', found '\"'"),
    (b'{"a":1]', 1, 7, "expected ',' or '}', found ']'"),
    (b"{} {}", 1, 4, "expected the end of the document, found '{'"),
    (b"{}\x00", 1, 3, "expected the end of the document, found '\\x00'"),
    (b"// x\n{}", 1, 1, "expected a value, found '/'"),
    (b"[NaN]", 1, 2, "expected true, false or null, found 'NaN'"),
    (b"[Infinity]", 1, 2, "expected true, false or null, found 'Infinity'"),
    (b"[-Infinity]", 1, 2, "malformed number"),
    (b'{"a":\n  True}', 2, 3, "expected true, false or null, found 'True'"),
    (b"nul", 1, 1, "expected true, false or null, found 'nul'"),
    (b"nullx", 1, 1, "expected true, false or null, found 'nullx'"),
    (b"01", 1, 1, "malformed number"),
    (b"-01", 1, 1, "malformed number"),
    (b"-", 1, 1, "malformed number"),
    (b"1.", 1, 1, "malformed number"),
    (b"1e", 1, 1, "malformed number"),
    (b"1e+", 1, 1, "malformed number"),
    (b"+1", 1, 1, "expected a value, found '+'"),
    (b".5", 1, 1, "expected a value, found '.'"),
    (b"0x10", 1, 2, "expected the end of the document, found 'x'"),
    (b"18446744073709551616", 1, 1, "number out of range"),
    (b"28446744073709551615", 1, 1, "number out of range"),
    (b"-9223372036854775809", 1, 1, "number out of range"),
    (b"[0, 1e400]", 1, 5, "number out of range"),
    (b"-1e400", 1, 1, "number out of range"),
    (b"0." + b"1" * 63, 1, 1, "number out of range"),
    (b'["\xc3\xa9\xff"]', 1, 4, "invalid UTF-8"),
    (b'["\xc0\xaf"]', 1, 3, "invalid UTF-8"),
    (b'["\xe0\x9f\xbf"]', 1, 3, "invalid UTF-8"),
    (b'["\xed\xa0\x80"]', 1, 3, "invalid UTF-8"),
    (b'["\xf0\x8f\xbf\xbf"]', 1, 3, "invalid UTF-8"),
    (b'["\xf4\x90\x80\x80"]', 1, 3, "invalid UTF-8"),
    (b'["\xf5\x80\x80\x80"]', 1, 3, "invalid UTF-8"),
    (b'["\xe2\x82"]', 1, 3, "invalid UTF-8"),
    (b'["\xe2\x82\xc3"]', 1, 3, "invalid UTF-8"),
    (b'"\xe2\x82', 1, 2, "invalid UTF-8"),
    (b"\xff", 1, 1, "expected a value, found '\ufffd'"),
    (b"\xef\xbb\xbf{}", 1, 1, "the document begins with a byte order mark"),
    (b"\xff\xfe{\x00}\x00", 1, 1, "expected a value, found '\ufffd'"),
    (b'["a\nb"]', 1, 4, "control character in a string; it must be escaped"),
    (b'["a\x1f"]', 1, 4, "control character in a string; it must be escaped"),
    (b'["a\x00"]', 1, 4, "NUL in a string"),
    (b'["a\\u0000"]', 1, 4, "NUL in a string"),
    (b'{"\\u0000":1}', 1, 3, "NUL in a string"),
    (b'["\\x41"]', 1, 3, "invalid escape in a string"),
    (b'["\\\x00"]', 1, 3, "invalid escape in a string"),
    (b'["\\U0041"]', 1, 3, "invalid escape in a string"),
    (b'["\\u12g4"]', 1, 3, "invalid escape in a string"),
    (b'"\\u12', 1, 2, "invalid escape in a string"),
    (b'"\\', 1, 2, "invalid escape in a string"),
    (b'["\\ud800"]', 1, 3, "lone surrogate in a string"),
    (b'["\\ud800\\u0041"]', 1, 3, "lone surrogate in a string"),
    (b'["\\ud800\\ud800"]', 1, 3, "lone surrogate in a string"),
    (b'["\\ud800\\ue000"]', 1, 3, "lone surrogate in a string"),
    (b'["\\ud800xudc00"]', 1, 3, "lone surrogate in a string"),
    (b'["\\udc80"]', 1, 3, "lone surrogate in a string"),
    (b'["\\udc80\\udc80"]', 1, 3, "lone surrogate in a string"),
    (b'"\\ud83d\\u', 1, 2, "lone surrogate in a string"),
    (b'["abc', 1, 2, "string without an end"),
    (b'"\\"', 1, 1, "string without an end"),
    (b'{"a":1,"a":1}', 1, 8, 'duplicate name "a"'),
    (b'{"a":1,\n"\\u0061":2}', 2, 1, 'duplicate name "a"'),
    (b'{"":1,"b":{"c":[{"d":0,"e":1,"d":2}]}}', 1, 30, 'duplicate name "d"'),
    (b'{"\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":1}', 1, 19, 'duplicate name "\\ud83d\\ude00"'),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), REFUSED)
def test_refuses_in_clear_words_and_at_the_place(text: bytes, line: int, column: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        codec.loads(text, "config.json")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (line, column)
    assert problem.message == f"{message}: line {line} column {column}"
    assert str(caught.value) == f"config.json:{line}:{column}: {problem.message}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b" null ", None),
        (b"\t[true,\r\nfalse]", [True, False]),
        (b"{}", {}),
        (b"[]", []),
        (b'""', ""),
        (b'["","",[""]]', ["", "", [""]]),
        (b"-0", 0),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b'"' + "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff".encode() + b'"',
         "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"),
        (rb'"\"\\\/\b\f\n\r\t\u0001\u00e9\u20AC\uD83D\uDE00\uffff"', '"\\/\b\f\n\r\t\x01é€😀\uffff'),
        (rb'"\u007f\u0080\u07ff\u0800\ud800\udc00\udbff\udfff"', "\x7f\x80\u07ff\u0800\U00010000\U0010ffff"),
        (b'{"a":{"b":[1,{"c":null}],"d":"e"},"f":[[],{}]}',
         {"a": {"b": [1, {"c": None}], "d": "e"}, "f": [[], {}]}),
    ],
)  # fmt: skip
def test_reads(text: bytes, value: object) -> None:
    assert repr(codec.loads(text, "").value) == repr(value)


@pytest.mark.parametrize(
    "text", [b"1.0", b"1e3", b"-0.0", b"1E-7", b"0.1", b"1.7976931348623157e308", b"5e-324"]
)
def test_real_numbers_are_floats(text: bytes) -> None:
    value = codec.loads(text, "").value
    assert isinstance(value, float)
    assert repr(value) == repr(float(text))


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_limit(opening: bytes, closing: bytes) -> None:
    limit = lib.JSON_MAX_DEPTH
    codec.loads(opening * limit + b"0" + closing * limit, "")
    with pytest.raises(ConfigError, match=f"more than {limit} arrays and objects") as caught:
        codec.loads(opening * (limit + 1) + b"0" + closing * (limit + 1), "")
    assert caught.value.problems[0].column == len(opening) * limit + 1


def test_depth_counts_open_containers_only() -> None:
    assert codec.loads(b"[" + b"[[]]," * 100 + b"0]", "").value == [[[]]] * 100 + [0]


def test_size_limit() -> None:
    limit = lib.JSON_MAX_BYTES
    assert len(codec.loads(b'"' + b"x" * (limit - 2) + b'"', "").value) == limit - 2
    with pytest.raises(ConfigError, match=f"larger than {limit >> 20} MiB"):
        codec.loads(b'"' + b"x" * (limit - 1) + b'"', "")


def test_only_openings_as_many_as_the_size_limit() -> None:
    with pytest.raises(ConfigError, match="inside each other"):
        codec.loads(b"[" * lib.JSON_MAX_BYTES, "")


def test_duplicates_are_found_in_an_object_of_many_names() -> None:
    """A comparison of all pairs would take hours here."""
    names = [f'"n{number}":0' for number in range(500_000)]
    assert len(codec.loads(f"{{{','.join(names)}}}".encode(), "").value) == 500_000
    with pytest.raises(ConfigError, match='duplicate name "n77"'):
        codec.loads(f'{{{",".join(names)},"n77":1}}'.encode(), "")


def test_every_error_of_the_reader_has_a_message() -> None:
    errors = set(ffi.typeof("enum json_error").relements)
    assert set(codec.MESSAGES) == errors - {"JSON_OK"}


DOCUMENT = b"""{
  "mounts": [
    {"destination": "/proc", "options": ["nosuid", "rslavae"]},
    {"de/st": "\xc3\xa9\xe2\x82\xac", "t~1": null}
  ], "": {"0": 7}
}"""


@pytest.mark.parametrize(
    ("pointer", "line", "column"),
    [
        ("", 1, 1),
        ("/mounts", 2, 13),
        ("/mounts/0", 3, 5),
        ("/mounts/0/options/1", 3, 52),
        ("/mounts/1/de~1st", 4, 15),
        ("/mounts/1/t~01", 4, 28),
        ("/", 5, 10),
        ("//0", 5, 16),
    ],
)
def test_where(pointer: str, line: int, column: int) -> None:
    assert codec.loads(DOCUMENT, "").where(pointer) == (line, column)


@pytest.mark.parametrize(
    ("pointer", "ancestor"),
    [
        ("/nothing/here", ""),
        ("/mounts/2", "/mounts"),
        ("/mounts/-", "/mounts"),
        ("/mounts/-1", "/mounts"),
        ("/mounts/00", "/mounts"),
        ("/mounts/\u0661", "/mounts"),
        ("/mounts/\u00b2", "/mounts"),
        ("/mounts/" + "9" * 5000, "/mounts"),
        ("/mounts/0/options/1/x/y", "/mounts/0/options/1"),
        ("/mounts/0/type", "/mounts/0"),
        ("/mounts/0/nosuid", "/mounts/0"),
    ],
)
def test_where_of_nothing_is_the_nearest_ancestor(pointer: str, ancestor: str) -> None:
    document = codec.loads(DOCUMENT, "")
    assert document.where(pointer) == document.where(ancestor)


def test_where_counts_characters_before_the_value() -> None:
    assert codec.loads('["é€😀", 1]'.encode(), "").where("/1") == (1, 9)


def test_dumps_compact() -> None:
    value = {"a": [1, -2, True, False, None], "b": {}, "c": [], "d": ("x", [[]]), "e": 1.5}
    assert codec.dumps(value) == '{"a":[1,-2,true,false,null],"b":{},"c":[],"d":["x",[[]]],"e":1.5}'


def test_dumps_indented_like_json() -> None:
    value = {"a": [1, {"b": None, "c": "é"}], "d": {}, "e": [], "f": [[1]]}
    assert codec.dumps(value, "\t") == json.dumps(value, indent="\t")
    assert codec.dumps(value, "    ") == json.dumps(value, indent=4)


def test_dumps_escapes() -> None:
    text = '"\\/\n\x00\x1f\x7fé\uffff😀'
    assert codec.dumps(text) == r'"\"\\/\n\u0000\u001f\u007f\u00e9\uffff\ud83d\ude00"'


@pytest.mark.parametrize("character", ['"', "\\", "\n", "\x1f", "\x7f", "é"])
def test_dumps_escapes_each_alone(character: str) -> None:
    assert json.loads(codec.dumps(f"a{character}b")) == f"a{character}b"


def test_dumps_replaces_what_was_no_utf8() -> None:
    smuggled = b"a\xffb".decode("utf-8", "surrogateescape")
    assert codec.dumps({smuggled: [smuggled, "\ud83d", "\ude00\ud83d"]}) == (
        r'{"a\ufffdb":["a\ufffdb","\ufffd","\ufffd\ufffd"]}'
    )


def test_dumps_subclasses_as_their_base() -> None:
    class Number(int):
        def __repr__(self) -> str:
            return "a number"

    assert codec.dumps([Number(3)]) == "[3]"


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, {None: 1}, {1, 2}, [object()], {"a": b""}])
def test_dumps_refuses_what_is_not_json(value: object) -> None:
    with pytest.raises(TypeError):
        codec.dumps(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_dumps_refuses_what_is_not_finite(value: object) -> None:
    with pytest.raises(ValueError, match="has no JSON"):
        codec.dumps(value)
