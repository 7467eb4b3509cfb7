"""Strict JSON: documents that know the place of every value, and the output of JSON.

The parser is written in C (native/ext/json.h).  The standard library's does not know where a value stands, and accepts
documents that two parsers may understand differently.  This module imports the extension itself, so that neither it nor
pyoci.native needs the other.

RFC 8259 (JSON), RFC 7493 (unique names), RFC 6901 (JSON pointers).
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NoReturn

from pyoci._native import ffi, lib
from pyoci.errors import ConfigError, Problem
from pyoci.members import Members

INTEGER, REAL, ARRAY, OBJECT = lib.JSON_INTEGER, lib.JSON_REAL, lib.JSON_ARRAY, lib.JSON_OBJECT
CONSTANTS = {lib.JSON_FALSE: False, lib.JSON_TRUE: True, lib.JSON_NULL: None}
INFINITY = float("inf")

# Those that begin with "expected" are followed by what was found.
MESSAGES = {
    "JSON_BAD_SIZE": "the document is larger than 16 MiB",
    "JSON_BAD_MARK": "the document begins with a byte order mark",
    "JSON_BAD_DEPTH": "more than 64 arrays and objects inside each other",
    "JSON_BAD_VALUE": "expected a value",
    "JSON_BAD_LITERAL": "expected true, false or null",
    "JSON_BAD_NUMBER": "malformed number",
    "JSON_BAD_RANGE": "number out of range",
    "JSON_BAD_NAME": "expected a name in double quotes",
    "JSON_BAD_COLON": "expected ':' after a name",
    "JSON_BAD_ITEM": "expected ',' or ']'",
    "JSON_BAD_MEMBER": "expected ',' or '}'",
    "JSON_BAD_END": "expected the end of the document",
    "JSON_BAD_UTF8": "invalid UTF-8",
    "JSON_BAD_CONTROL": "control character in a string; it must be escaped",
    "JSON_BAD_ESCAPE": "invalid escape in a string",
    "JSON_BAD_SURROGATE": "lone surrogate in a string",
    "JSON_BAD_NUL": "NUL in a string",
    "JSON_BAD_STRING": "string without an end",
    "JSON_BAD_DUPLICATE": "duplicate name",
}

# The parser fills the arrays, so they need not be cleared.
allocate = ffi.new_allocator(should_clear_after_alloc=False)


class Document:
    """A JSON document that has been parsed.

    value consists of Members, list, str, int, float, bool and None.  Strings contain neither NUL nor surrogates,
    integers fit into 64 bits (signed or unsigned), floats are finite.

    The parser assigns a slot to every value and every member name; the document is the last one.  _items has the value
    of each slot, _places its offset in the text.  _patches describes the slots that are not strings, with four numbers
    each: kind, slot, and for a container the first slot of its items and the one behind the last.
    """

    __slots__ = ("_containers", "_items", "_names", "_patches", "_places", "_text", "name", "value")

    def __init__(self, text: bytes, name: str) -> None:
        self.name = name
        self._text = text
        # Filled when a place is looked up: the index in _patches of each container's slot, and sorted member names.
        self._containers: dict[int, int] = {}
        self._names: dict[int, list[tuple[str, int]]] = {}
        self._read()
        self.value: Any = self._items[-1]

    def _read(self) -> None:
        text = self._text
        size = min(len(text), lib.JSON_MAX_BYTES)
        slots = size // 2 + 1
        decoded = allocate("char[]", size + 1)
        patches = allocate("struct json_patch[]", slots)
        stack = allocate("struct json_item[]", slots)
        self._places = allocate("uint32_t[]", slots)
        tape = ffi.new("struct json_tape *", (decoded, self._places, patches, stack))
        error = lib.json_read(text, len(text), tape)
        if error:
            name = ffi.typeof("enum json_error").elements[error]
            self._refuse(MESSAGES[name], tape.error_at)
        # Without the last slot's NUL, behind which split would see another slot.
        self._items: list[Any] = str(ffi.buffer(decoded, tape.ntext - 1), "utf-8").split("\0")
        used = ffi.buffer(patches, tape.npatches * ffi.sizeof("struct json_patch"))
        self._patches = memoryview(used).cast("I").tolist()
        self._build()

    def _build(self) -> None:
        """Convert the slots that are not strings; items come before their containers."""
        items = self._items
        numbers = iter(self._patches)
        for kind, slot, first, end in zip(numbers, numbers, numbers, numbers, strict=True):
            if kind == OBJECT:
                items[slot] = Members(items[first:end])
            elif kind == ARRAY:
                items[slot] = items[first:end]
            elif kind == INTEGER:
                items[slot] = int(items[slot])
            elif kind == REAL:
                items[slot] = number = float(items[slot])
                if number in (INFINITY, -INFINITY):
                    self._refuse(MESSAGES["JSON_BAD_RANGE"], self._places[slot])
            else:
                items[slot] = CONSTANTS[kind]

    def _refuse(self, message: str, offset: int) -> NoReturn:
        """Raise ConfigError for a mistake at an offset in the text."""
        if message.startswith("expected"):
            message = f"{message}, found {_found(self._text, offset)}"
        elif message == MESSAGES["JSON_BAD_DUPLICATE"]:
            message = f"{message} {dumps(_string_at(self._text, offset)[:80])}"
        ((line, column),) = _positions(self._text, [offset])
        message += f": line {line} column {column}"
        raise ConfigError(self.name, [Problem(pointer="", message=message, line=line, column=column)])

    def where(self, pointer: str) -> tuple[int, int]:
        """Return line and column of the value at a JSON pointer.

        Both start at 1, and columns count characters.  If there is no such value, the place is that of the last value
        on the way to it.
        """
        return self.places([pointer])[0]

    def places(self, pointers: Sequence[str]) -> list[tuple[int, int]]:
        """Return line and column for each of *pointers*, as where() does, in one pass over the text."""
        return _positions(self._text, [self._places[self._slot(pointer)] for pointer in pointers])

    def _slot(self, pointer: str) -> int:
        """Return the slot of the value at a pointer, or of the last value on the way to it."""
        patches = self._patches
        if not self._containers:
            self._containers = {patches[i + 1]: i for i in range(0, len(patches), 4) if patches[i] in (ARRAY, OBJECT)}
        slot = len(self._items) - 1
        for token in pointer.split("/")[1:]:
            if slot not in self._containers:
                break
            at = self._containers[slot]
            kind, _, first, end = patches[at : at + 4]
            if kind == OBJECT:
                found = self._member(slot, range(first, end, 2), token.replace("~1", "/").replace("~0", "~"))
            else:
                # The comparison with str() excludes leading zeros and non-ASCII digits, which RFC 6901 does not allow.
                index = int(token) if token.isdecimal() and len(token) < 9 else -1
                found = first + index if 0 <= index < end - first and str(index) == token else -1
            if found < 0:
                break
            slot = found
        return slot

    def _member(self, container: int, slots: range, name: str) -> int:
        """Return the slot of the member *name* of a container, or -1; *slots* are those of the names of its members.

        A binary search keeps many pointers into one large object fast; a dict would not, see Members.
        """
        names = self._names.get(container)
        if names is None:
            names = self._names[container] = sorted([(self._items[slot], slot + 1) for slot in slots])
        at = bisect_left(names, (name, -1))
        return names[at][1] if at < len(names) and names[at][0] == name else -1


def loads(text: bytes, document: str) -> Document:
    """Parse a JSON text; *document* is its name in errors.

    Raises:
        ConfigError: the text is not JSON, or it has a duplicate name, a NUL, a lone surrogate or a number that is out
            of range, or it is too deep or too large.
    """
    return Document(text, document)


def _positions(text: bytes, offsets: list[int]) -> list[tuple[int, int]]:
    """Return line and column of each offset; the text up to it must be valid UTF-8."""
    found = [(1, 1)] * len(offsets)
    at, line, column = 0, 1, 1
    for offset, index in sorted(zip(offsets, range(len(offsets)), strict=True)):
        newlines = text.count(b"\n", at, offset)
        if newlines:
            line, column, at = line + newlines, 1, text.rfind(b"\n", at, offset) + 1
        column += len(str(text[at:offset], "utf-8", "replace"))
        at = offset
        found[index] = line, column
    return found


def _found(text: bytes, offset: int) -> str:
    """Return the word or character at an offset for a message, or "the end"."""
    end = offset
    while text[end : end + 1].isalpha() and end < offset + 20:
        end += 1
    if end == offset:
        return repr(str(text[offset : offset + 4], "utf-8", "replace")[0]) if text[offset:] else "the end"
    return repr(str(text[offset:end], "ascii"))


def _string_at(text: bytes, offset: int) -> str:
    """Return the string that begins at an offset; the parser has accepted it before."""
    end = offset + 1
    while text[end] != ord('"'):
        end += 2 if text[end] == ord("\\") else 1
    value: str = Document(text[offset : end + 1], "").value
    return value


class _Escapes(dict[int, str]):
    """A table for str.translate() that escapes characters of a JSON string."""

    def __missing__(self, code: int) -> str:
        """Escape a character outside of printable ASCII as UTF-16; surrogates represent bytes that are not UTF-8."""
        if 0x20 <= code < 0x7F:
            return chr(code)
        if 0xD800 <= code <= 0xDFFF:
            code = 0xFFFD
        if code < 0x10000:
            return f"\\u{code:04x}"
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


ESCAPES = _Escapes(
    {0x22: '\\"', 0x5C: "\\\\", 0x08: "\\b", 0x0C: "\\f", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}
)


def dumps(value: Any, indent: str = "") -> str:
    """Return *value* as JSON in ASCII, without a newline at the end; with *indent* every item is on a line of its own.

    Bytes that surrogateescape has put into a string become U+FFFD.

    Raises:
        TypeError: it contains other values than dicts with str keys, Members, list, tuple, str, int, float, bool, None.
        ValueError: a float is not finite.
    """
    return _encode(value, indent, "\n" if indent else "")


def _encode(value: Any, indent: str, newline: str) -> str:
    """Return one value; *newline* is a newline and the indentation of the current line, or ""."""
    if isinstance(value, str):
        return _quote(value)
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    inner = newline + indent
    if isinstance(value, (dict, Members)):
        colon = ": " if indent else ":"
        members = [_name(name) + colon + _encode(item, indent, inner) for name, item in value.items()]
        return _enclose("{", members, "}", newline, inner)
    if isinstance(value, (list, tuple)):
        return _enclose("[", [_encode(item, indent, inner) for item in value], "]", newline, inner)
    if isinstance(value, float):
        return _real(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


def _enclose(opening: str, parts: list[str], closing: str, newline: str, inner: str) -> str:
    """Join the parts of a container; an empty container is on one line."""
    return f"{opening}{inner}{f',{inner}'.join(parts)}{newline}{closing}" if parts else opening + closing


def _quote(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{text.translate(ESCAPES)}"'


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a name in JSON is a str, not {type(name).__name__}")
    return _quote(name)


def _real(value: float) -> str:
    if value - value != 0:
        raise ValueError(f"{value} has no JSON")
    return float.__repr__(value)
