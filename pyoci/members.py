"""The members of a JSON object, for objects whose member names somebody else chooses."""

from collections.abc import Iterator
from typing import Any


class Members(tuple[Any, ...]):
    """The members of a JSON object in document order, stored flat: name, value, name, value.  Names are unique.

    It has the methods of a mapping, but looks names up one after the other.  The author of a document chooses its
    names, and the seed of the static file's string hashes is known, so that a dict of such names could be made to take
    quadratic time.  Code looks up the few names that pyoci knows, and iterates over everything else.
    """

    __slots__ = ()

    def items(self) -> Iterator[tuple[str, Any]]:
        """Return each name with its value."""
        flat = tuple.__iter__(self)
        return zip(flat, flat, strict=True)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items())

    def __len__(self) -> int:
        return tuple.__len__(self) // 2

    def __contains__(self, name: object) -> bool:
        return any(name == other for other in self)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a member, or *default*."""
        for other, value in self.items():
            if other == name:
                return value
        return default

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name!r}: {value!r}' for name, value in self.items())}}}"


def plain(value: Any) -> Any:
    """Return a JSON value with dicts in place of Members; only for documents whose member names pyoci has chosen."""
    if isinstance(value, Members):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
