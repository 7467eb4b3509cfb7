"""The typed record: what ``dataclasses`` would give, without its 20 ms of import; and the members of an object.

A class that derives from Record names its fields by annotations; class values are the defaults.
Instances are made from keyword arguments, compared by value and never assigned to afterwards.
Defining forty records costs about 1 ms here and about 80 ms with dataclasses (import included).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar, dataclass_transform

    RecordT = TypeVar("RecordT", bound="Record")
else:

    def dataclass_transform(**_options):
        """Stand in for typing's decorator, which only type checkers read."""
        return lambda cls: cls


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """A value made of named fields.

    Raises:
        TypeError: a field is missing, or a name is none of the fields.
    """

    __slots__ = ()
    _fields: "tuple[str, ...]" = ()
    _names: "frozenset[str]" = frozenset()
    _required: "tuple[str, ...]" = ()

    def __init_subclass__(cls) -> None:
        """Collect the annotated names, those of the bases first."""
        own = [name for name in cls.__annotations__ if not name.startswith("_")]
        cls._fields = (*cls._fields, *[name for name in own if name not in cls._fields])
        cls._names = frozenset(cls._fields)
        cls._required = tuple(name for name in cls._fields if not hasattr(cls, name))

    def __init__(self, **values: "Any") -> None:
        """Take the fields from *values*; what is not among them is the default of the class."""
        for name in self._required:
            if name not in values:
                raise TypeError(f"{type(self).__name__} needs {name}")
        if not self._names.issuperset(values):
            unknown = ", ".join(name for name in values if name not in self._names)
            raise TypeError(f"{type(self).__name__} has no field {unknown}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a record is a value."""
        raise AttributeError(f"{type(self).__name__}.{name} is read-only")

    def __eq__(self, other: object) -> bool:
        """Compare field by field."""
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show the fields that differ from their defaults."""
        cls = type(self)
        shown = [f"{n}={getattr(self, n)!r}" for n in cls._fields if n in self.__dict__]
        return f"{cls.__name__}({', '.join(shown)})"


def replace(record: "RecordT", **changes: "Any") -> "RecordT":
    """Give a copy of *record* with some fields changed."""
    return type(record)(**{**record.__dict__, **changes})


class Members(tuple["Any", ...]):
    """The members of a JSON object in their order: name, value, name, value, of which no name is twice.

    It has the methods of a mapping, but looks names up one after the other.  Whoever writes a document chooses its
    names, and the seed of the static file's hashes is known: a dict of chosen names could take a time that grows with
    the square of their number.  So what has a few names that pyoci knows is looked up here, and all else is walked.
    """

    __slots__ = ()

    def items(self) -> "Iterator[tuple[str, Any]]":
        """Return each name with its value."""
        flat = tuple.__iter__(self)
        return zip(flat, flat, strict=True)

    def __iter__(self) -> "Iterator[str]":
        """Return the names."""
        return (name for name, _ in self.items())

    def __len__(self) -> int:
        """Count the members."""
        return tuple.__len__(self) // 2

    def __contains__(self, name: object) -> bool:
        """Return whether there is a member of this name."""
        return any(name == other for other in self)

    def get(self, name: str, default: "Any" = None) -> "Any":
        """Return the value of a member, or *default*."""
        for other, value in self.items():
            if other == name:
                return value
        return default

    def __repr__(self) -> str:
        """Show it as a dict."""
        return f"{{{', '.join(f'{name!r}: {value!r}' for name, value in self.items())}}}"


def plain(value: "Any") -> "Any":
    """Return what was read from JSON with dicts in place of Members; for documents whose names are pyoci's own."""
    if isinstance(value, Members):
        made = dict(value.items())
        for name, item in made.items():
            if isinstance(item, (Members, list)):
                made[name] = plain(item)
        return made
    if isinstance(value, list):
        return [plain(item) if isinstance(item, (Members, list)) else item for item in value]
    return value
