"""pyoci ps."""

import os

from pyoci import codec, programs
from pyoci.cli import Command
from pyoci.commands.common import show, state_root
from pyoci.errors import Error, UsageError, printable
from pyoci.lifecycle.container import Container

PROGRAMS = ("/usr/bin/ps", "/bin/ps", "/usr/local/bin/ps")
SECONDS = 30


def run(command: Command) -> int:
    """Print the pids as JSON, or what ps(1) prints about them."""
    form = command.options["format"]
    if form not in ("", "table", "json"):
        raise UsageError(f'ps: --format must be table or json, not "{printable(form)}"')
    pids = Container.load(state_root(command), command.words[0]).pids()
    if form == "json":
        return show(codec.dumps(pids) + "\n")
    return show(select_lines(run_ps(command.words[1:] or ["-ef"]), pids))


def run_ps(options: list[str]) -> str:
    """Run the host's ps(1) and return its output.

    Raises:
        Error: it is not installed, or failed.
    """
    path = next((path for path in PROGRAMS if os.access(path, os.X_OK)), "")
    if not path:
        raise Error("ps is not installed; use --format json")
    status, output = programs.run_program(path, ["ps", *options], [], b"", SECONDS, whole=True)
    if status != 0:
        raise Error(f"ps {' '.join(options)} failed: {' '.join(output.split())}")
    return output


def select_lines(text: str, pids: list[int]) -> str:
    """Return the header and the lines of these pids.

    Raises:
        Error: there is no PID column.
    """
    lines = text.splitlines()
    columns = lines[0].split() if lines else []
    if "PID" not in columns:
        raise Error("the output of ps has no PID column; choose other options")
    at = columns.index("PID")
    wanted = {str(pid) for pid in pids}
    kept = [line for line in lines[1:] if line.split()[at : at + 1] and line.split()[at] in wanted]
    return "\n".join([lines[0], *kept]) + "\n"
