"""The pyoci command: parse the command line, run the verb, report an error in one line."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from pyoci import cli
from pyoci.commands import (
    completion,
    create,
    delete,
    features,
    freeze,
    kill,
    plan,
    ps,
    run,
    spec,
    start,
    state,
    update,
    validate,
    version,
)
from pyoci.commands import (
    exec as exec_,
)
from pyoci.commands import (
    help as help_,
)
from pyoci.commands import (
    list as list_,
)
from pyoci.errors import Error, Interrupted, errno_text
from pyoci.log import debug, error, log
from pyoci.undo import notes

# As runc: a caller can tell a program that could not be executed from one that exited with status 1.
EXEC_FAILURE = 255
INTERRUPTED = 130

RUN: dict[str, Callable[[cli.Command], int]] = {
    "completion": completion.run,
    "create": create.run,
    "delete": delete.run,
    "exec": exec_.run,
    "features": features.run,
    "help": help_.run,
    "kill": kill.run,
    "list": list_.run,
    "pause": freeze.run,
    "plan": plan.run,
    "ps": ps.run,
    "resume": freeze.run,
    "run": run.run,
    "spec": spec.run,
    "start": start.run,
    "state": state.run,
    "update": update.run,
    "validate": validate.run,
    "version": version.run,
}


def main(argv: list[str]) -> int:
    """Run one command and return the exit status."""
    verb = ""
    try:
        general, rest = read_globals(argv)
        verb = rest[0] if rest else ""
        command = cli.parse_verb(general, rest)
        return RUN[command.verb](command)
    except Interrupted as failure:
        error(f"{failure}{notes(failure)}")
        return failure.exit_status
    except Error as failure:
        error(f"{failure}{notes(failure)}")
        return EXEC_FAILURE if verb == "exec" else failure.exit_status
    except KeyboardInterrupt as failure:
        # Python's handler for SIGINT runs once the undo has finished, which may be with an error about this signal.
        # conmon waits for a message in every case.
        first = failure.__context__
        if isinstance(first, Interrupted):
            error(f"{first}{notes(first)}")
            return first.exit_status
        error("interrupted")
        return INTERRUPTED
    except (OSError, MemoryError) as failure:  # no caller knew better what was being done
        error(f"{f'{verb}: ' if verb else ''}{reason(failure)}{notes(failure)}")
        debug(traceback_text(failure))
        return EXEC_FAILURE if verb == "exec" else 1
    except BaseException as failure:  # a defect of pyoci: still one line for the caller, the traceback for the log
        error(f"internal error: {type(failure).__name__}: {' '.join(str(failure).split())}")
        debug(traceback_text(failure))
        return EXEC_FAILURE if verb == "exec" else 1


def read_globals(argv: list[str]) -> tuple[cli.Values, list[str]]:
    """Parse the options before the verb and open the log; return the options and the rest of the arguments.

    The log is opened even when a later option is wrong, because its reader wants to know about that, too.
    """
    general: cli.Values = {}
    try:
        rest = cli.parse_globals(argv, general)
    finally:
        log.open(general["log"], general["log-format"], general["log-level"], debug=general["debug"])
    return general, rest


def reason(failure: OSError | MemoryError) -> str:
    """Return the text of the errno, after the file name if there is one."""
    if not isinstance(failure, OSError):
        return "out of memory"
    text = errno_text(failure.errno or 0)
    return f"{failure.filename}: {text}" if isinstance(failure.filename, str) else text


def traceback_text(failure: BaseException) -> str:
    """Return the traceback as one line; the traceback module would open the source files."""
    places = []
    step = failure.__traceback__
    while step is not None:
        places.append(f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}")
        step = step.tb_next
    return f"{type(failure).__name__}: {failure} at {' > '.join(places)}"


def entry() -> NoReturn:
    """Run the command and exit without the interpreter's shutdown, which takes time and may print."""
    os._exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
