"""pyoci list."""

import errno
import os
from typing import Any

from pyoci import codec
from pyoci.cli import Command
from pyoci.commands.common import names_below, show, state_root
from pyoci.errors import Error, KernelError, UsageError, printable, wrap
from pyoci.kernel import require_procfs
from pyoci.lifecycle.container import Container

COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def run(command: Command) -> int:
    """Print a table, the states as JSON, or only the IDs."""
    form = command.options["format"]
    if form not in ("", "table", "json"):
        raise UsageError(f'list: --format must be table or json, not "{printable(form)}"')
    root = state_root(command)
    if command.globals["root"] and not exists(root):
        raise Error(f"the state root {root} does not exist [--root]")
    found = listing(root)
    if command.options["quiet"]:
        return show("".join(f"{each['id']}\n" for each in found))
    if form == "json":
        return show(codec.dumps(found) + "\n")
    return show(table([COLUMNS, *[row(each) for each in found]]))


def row(state: dict[str, Any]) -> tuple[str, ...]:
    return tuple(printable(str(state[name.lower()])) for name in COLUMNS)


def exists(path: str) -> bool:
    """Return whether *path* exists; os.path.exists would say no to every error."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise wrap(f"looking for the state root {path}", error) from error
    return True


def table(rows: list[tuple[str, ...]]) -> str:
    """Align the columns."""
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    lines = [
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in rows
    ]
    return "\n".join(lines) + "\n"


def listing(root: str) -> list[dict[str, Any]]:
    """Return the state of every container; what this user cannot read is left out."""
    names = names_below(root)
    if names:
        require_procfs()
    found = []
    for name in names:
        try:
            container = Container.load(root, name)
            state = container.describe()
            # An empty directory need not be a container.
            if state["status"] != "stopped" or os.listdir(container.directory.fd):
                found.append(state)
        except KernelError as error:
            if error.number not in (errno.EACCES, errno.EPERM):
                raise
        except (Error, FileNotFoundError, PermissionError):
            continue
    return found
