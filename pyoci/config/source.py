"""Where settings come from: documents whose text is read again when a message has to tell a place in it."""

from pyoci import codec
from pyoci.errors import Error, Spot
from pyoci.log import warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Source:
    """A document by its name in messages; as a context it locates the errors that leave it.

    top is the pointer under which the rest of pyoci knows the document's value: a process file is /process.
    """

    def __init__(self, name: str, read: "Callable[[], bytes]", top: str = "") -> None:
        """Take what gives the text; it is asked for it only when a message needs that."""
        self.name = name
        self.read = read
        self.top = top

    def find(self, pointers: "list[str]") -> "list[Spot]":
        """Return where the values at JSON pointers stand; without line and column if the text cannot be read again."""
        shown = [pointer.removeprefix(self.top) for pointer in pointers]
        try:
            places = codec.loads(self.read(), self.name).places(shown)
        except (Error, OSError):
            places = [(0, 0)] * len(shown)
        return [
            Spot(source=self.name, line=line, column=column, pointer=pointer)
            for pointer, (line, column) in zip(shown, places, strict=True)
        ]

    def __enter__(self) -> None:
        """Begin to locate errors."""

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        """Locate the error that leaves, if one does."""
        if isinstance(error, Error):
            error.locate(self)


class Option(Source):
    """An option, or another part of a command line, that stands for a setting, or is all that an error is about."""

    def __init__(self, name: str) -> None:
        """Take what messages call it."""
        super().__init__(name, bytes)

    def find(self, pointers: "list[str]") -> "list[Spot]":
        """Name the option, whatever the pointers."""
        return [Spot(source=self.name)] * len(pointers)

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        """Tell the error that leaves whose it is."""
        if isinstance(error, Error) and error.spot is None:
            error.spot = Spot(source=self.name)


class Parts(Source):
    """Settings of which some have a source of their own."""

    def __init__(self, parts: "list[tuple[str, Source]]", rest: Source) -> None:
        """Take pointers with the source of all that is below each, the first that fits counts; and that of the rest."""
        super().__init__(rest.name, rest.read)
        self.parts = parts
        self.rest = rest

    def find(self, pointers: "list[str]") -> "list[Spot]":
        """Ask the source of each pointer."""
        return [self._part(pointer).find([pointer])[0] for pointer in pointers]

    def _part(self, pointer: str) -> Source:
        for top, source in self.parts:
            if pointer == top or pointer.startswith(f"{top}/"):
                return source
        return self.rest


def warn(problem: Error, source: "Source | None", note: "Callable[[str], None]" = warning) -> None:
    """Note what does not alter the flow, with the place of the setting that it is about; *note* is of pyoci.log."""
    if source is not None:
        problem.locate(source)
    note(str(problem))
