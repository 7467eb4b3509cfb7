"""The edge: read the command line, do what it says, print one line when it fails, end with the exit status."""

import posix
import sys

from pyoci import cli
from pyoci.errors import Error, Interrupted, UsageError, errno_text
from pyoci.log import debug, error, log
from pyoci.undo import notes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# As runc: a caller can tell a program that could not be run from one that ended with 1.
EXEC_FAILURE = 255
INTERRUPTED = 130


def main(argv: "list[str]") -> int:
    """Run one command; gives the exit status of the process."""
    verb = ""
    try:
        general, rest = read_globals(argv)
        verb = rest[0] if rest else ""
        command = cli.parse_verb(general, rest)
        return find(command.verb)(command)
    except UsageError as failure:
        error(str(failure))
        return EXEC_FAILURE if verb == "exec" else failure.exit_status
    except Interrupted as failure:
        error(f"{failure}{notes(failure)}")
        return failure.exit_status
    except Error as failure:
        error(f"{failure}{notes(failure)}")
        return EXEC_FAILURE if verb == "exec" else failure.exit_status
    except KeyboardInterrupt as failure:  # conmon waits for a word of whoever fails
        first = failure.__context__
        if isinstance(first, Interrupted):  # by the same signal, which its handler gets when all is taken back
            error(f"{first}{notes(first)}")
            return first.exit_status
        error("interrupted")
        return INTERRUPTED
    except (OSError, MemoryError) as failure:  # where nobody knew better what was being done
        error(f"{f'{verb}: ' if verb else ''}{refusal(failure)}{notes(failure)}")
        debug(traceback_text(failure))
        return EXEC_FAILURE if verb == "exec" else 1
    except (
        BaseException
    ) as failure:  # a defect of pyoci: still one line for the caller, the rest into the log
        error(f"internal error: {type(failure).__name__}: {' '.join(str(failure).split())}")
        debug(traceback_text(failure))
        return EXEC_FAILURE if verb == "exec" else 1


def read_globals(argv: "list[str]") -> "tuple[dict[str, cli.Value], list[str]]":
    """Read the options in front of the verb and open the log; gives them and the rest.

    The log is opened even when a later option is wrong, so that its reader learns of that.
    """
    general: dict[str, cli.Value] = {}
    try:
        rest = cli.parse_globals(argv, general)
    finally:
        log.open(
            str(general["log"]),
            str(general["log-format"]),
            str(general["log-level"]),
            debug=bool(general["debug"]),
        )
    return general, rest


def find(verb: str) -> "Callable[[cli.Command], int]":
    """Import the module of a verb, and no other."""
    match verb:
        case "create":
            from pyoci.commands.create import run
        case "start":
            from pyoci.commands.start import run
        case "run":
            from pyoci.commands.run import run
        case "state":
            from pyoci.commands.state import run
        case "kill":
            from pyoci.commands.kill import run
        case "delete":
            from pyoci.commands.delete import run
        case "exec":
            from pyoci.commands.exec import run
        case "list":
            from pyoci.commands.list import run
        case "pause" | "resume":
            from pyoci.commands.freeze import run
        case "ps":
            from pyoci.commands.ps import run
        case "update":
            from pyoci.commands.update import run
        case "spec":
            from pyoci.commands.spec import run
        case "plan":
            from pyoci.commands.plan import run
        case "features":
            from pyoci.commands.features import run
        case "version":
            from pyoci.commands.version import run
        case "validate":
            from pyoci.commands.validate import run
        case "completion":
            from pyoci.commands.completion import run
        case _:
            from pyoci.commands.help import run
    return run


def refusal(failure: "OSError | MemoryError") -> str:
    """Say what the kernel refused, and for which file."""
    if not isinstance(failure, OSError):
        return "out of memory"
    text = errno_text(failure.errno or 0)
    return f"{failure.filename}: {text}" if isinstance(failure.filename, str) else text


def traceback_text(failure: BaseException) -> str:
    """Name the places of a traceback in one line, without opening a source file."""
    places = []
    step = failure.__traceback__
    while step is not None:
        places.append(f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}")
        step = step.tb_next
    return f"{type(failure).__name__}: {failure} at {' > '.join(places)}"


def entry() -> None:
    """Be the program: no interpreter shutdown, which costs time and may print."""
    posix._exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
