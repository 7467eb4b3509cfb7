"""Taking back what was made: every step is tried, whatever fails, and the first error is the one that is told."""

from collections.abc import Callable

from pyoci.errors import Error, wrap

SHOWN = 3


class Undo:
    """Steps that take something back; failures are those that did not succeed, in their order."""

    def __init__(self) -> None:
        """Begin with no failure."""
        self.failures: list[Error] = []

    def attempt(self, what: str, step: Callable[[], object]) -> None:
        """Do one step, and keep its failure; *what* says what it does where the system gives only an errno."""
        try:
            step()
        except Error as error:
            self.failures.append(error)
        except OSError as error:
            self.failures.append(wrap(what, error))
        except MemoryError:
            self.failures.append(Error(f"{what}: out of memory"))

    def finish(self) -> None:
        """Raise the first failure, if there is one, with a note of the others."""
        if self.failures:
            first, others = self.failures[0], self.failures[1:]
            self.failures = others
            self.tell(first)
            raise first

    def tell(self, error: BaseException) -> None:
        """Note with an error that came before what could not be undone after it."""
        if self.failures:
            shown = [str(failure) for failure in self.failures[:SHOWN]]
            more = len(self.failures) - len(shown)
            if more:
                shown.append(f"and {more} more")
            error.add_note(f"could not be undone: {'; '.join(shown)}")


def notes(error: BaseException) -> str:
    """Return what was noted with an error, as it is put behind its message."""
    return "".join(f"; {note}" for note in getattr(error, "__notes__", ()))

