"""Where settings come from: documents, whose text is only read again when a message needs a line and column."""

from collections.abc import Callable

from pyoci import codec
from pyoci.errors import Error, Spot
from pyoci.log import warning


class Source:
    """A document by its name in messages; as a context manager it locates errors that leave the block.

    top is the JSON pointer under which the rest of pyoci knows the document: that of a process file is /process.
    """

    def __init__(self, name: str, read: Callable[[], bytes], top: str = "") -> None:
        self.name = name
        self.read = read
        self.top = top

    def find(self, pointers: list[str]) -> list[Spot]:
        """Return the places of the values at JSON pointers, without line and column if the text cannot be read."""
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
        pass

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, Error):
            error.locate(self)


class Option(Source):
    """A command-line option, or another part of a command line, that is the source of a setting or of an error."""

    def __init__(self, name: str) -> None:
        super().__init__(name, bytes)

    def find(self, pointers: list[str]) -> list[Spot]:
        """Return the option's name for each pointer."""
        return [Spot(source=self.name)] * len(pointers)

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, Error) and error.spot is None:
            error.spot = Spot(source=self.name)


class Parts(Source):
    """A configuration of which some parts have a source of their own.

    parts pairs a JSON pointer with the source of everything at or below it; the first match counts.  rest is the
    source of everything else.
    """

    def __init__(self, parts: list[tuple[str, Source]], rest: Source) -> None:
        super().__init__(rest.name, rest.read)
        self.parts = parts
        self.rest = rest

    def find(self, pointers: list[str]) -> list[Spot]:
        """Return the place of each pointer in its own source."""
        return [self._source_of(pointer).find([pointer])[0] for pointer in pointers]

    def _source_of(self, pointer: str) -> Source:
        for top, source in self.parts:
            if pointer == top or pointer.startswith(f"{top}/"):
                return source
        return self.rest


def warn(problem: Error, source: Source | None, log: Callable[[str], None] = warning) -> None:
    """Log *problem* with its place in *source*; *log* is a function of pyoci.log."""
    if source is not None:
        problem.locate(source)
    log(str(problem))
