"""pyoci update: change the resource limits of a container."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from pyoci import codec
from pyoci.cgroups.v2 import RESOURCES
from pyoci.cli import Command
from pyoci.commands.common import state_root
from pyoci.config.parse import parse_resources
from pyoci.config.source import Option, Parts, Source
from pyoci.config.versions import zero_tasks_is_no_limit
from pyoci.errors import UsageError, wrap
from pyoci.files import read_all, read_given
from pyoci.lifecycle.container import Container
from pyoci.log import warning
from pyoci.options import parse_size

UNSUPPORTED = ("l3-cache-schema", "mem-bw-schema")


def as_text(text: str, what: str) -> str:  # noqa: ARG001
    return text


def parse_integer(text: str, what: str) -> int:
    """Return a number that is signed or unsigned with 64 bits.

    Raises:
        UsageError: anything else.
    """
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20 or not -(2**63) <= int(text) < 2**64:
        raise UsageError(f"{what} must be a number, not {ascii(text)}")
    return int(text)


# For each option the member of the resources object that it sets, and the parser of its value.
MEMBERS: dict[str, tuple[str, str, Callable[[str, str], int | str]]] = {
    "blkio-weight": ("blockIO", "weight", parse_integer),
    "cpu-period": ("cpu", "period", parse_integer),
    "cpu-quota": ("cpu", "quota", parse_integer),
    "cpu-burst": ("cpu", "burst", parse_integer),
    "cpu-share": ("cpu", "shares", parse_integer),
    "cpu-idle": ("cpu", "idle", parse_integer),
    "cpu-rt-period": ("cpu", "realtimePeriod", parse_integer),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", parse_integer),
    "cpuset-cpus": ("cpu", "cpus", as_text),
    "cpuset-mems": ("cpu", "mems", as_text),
    "kernel-memory": ("memory", "kernel", parse_size),
    "kernel-memory-tcp": ("memory", "kernelTCP", parse_size),
    "memory": ("memory", "limit", parse_size),
    "memory-reservation": ("memory", "reservation", parse_size),
    "memory-swap": ("memory", "swap", parse_size),
    "pids-limit": ("pids", "limit", parse_integer),
}


def run(command: Command) -> int:
    """Apply the resources object of a file, or that of the options."""
    container = Container.load(state_root(command), command.words[0])
    file: str = command.options["resources"]
    document, source = from_file(file) if file else from_command(command)
    with source:
        resources = parse_resources(document)
        container.update(resources)
    if not file and resources.pids and resources.pids.limit == 0:
        warning(explain_no_tasks(container.state.ociVersion))
    return 0


def explain_no_tasks(version: str) -> str:
    """Return what ``--pids-limit 0`` has done: it depends on the version of the specification."""
    if zero_tasks_is_no_limit(version):
        return f"a limit of 0 tasks is no limit to a container of version {version}: pids.max is max now"
    return "pids.max is 0 now: the container cannot start any more processes; use -1 for no limit"


def from_file(file: str) -> tuple[codec.Document, Source]:
    """Return the resources object of a file, and the source that locates errors in it.

    Raises:
        Error: the file cannot be read.
        ConfigError: it is not JSON.
    """
    text, name = read(file), "standard input" if file == "-" else file
    return codec.loads(text, name), Source(name, lambda: text, RESOURCES)


def from_command(command: Command) -> tuple[codec.Document, Source]:
    """Return the resources object that the options stand for, and the source that names the option of an error.

    Raises:
        UsageError: the value of an option is malformed.
    """
    for name in UNSUPPORTED:
        if command.options[name]:
            raise UsageError(f"--{name} needs a container with linux.intelRdt, which is not supported yet")
    given: list[tuple[str, Source]] = [
        (f"{top}/{group}/{member}", Option(f"--{name}"))
        for top in ("", RESOURCES)
        for name, (group, member, _) in MEMBERS.items()
        if command.options[name]
    ]
    document = Given(codec.dumps(from_options(command)).encode(), "the options")
    return document, Parts(given, Option("the options"))


class Given(codec.Document):
    """A document that was made from options and has no lines."""

    def places(self, pointers: Sequence[str]) -> list[tuple[int, int]]:
        """Return no place, so that errors are located by their option."""
        return [(0, 0)] * len(pointers)


def from_options(command: Command) -> dict[str, Any]:
    """Return a resources object with the options that were given."""
    made: dict[str, Any] = {}
    for name, (group, member, parse) in MEMBERS.items():
        text: str = command.options[name]
        if text:
            made.setdefault(group, {})[member] = parse(text, f"--{name}")
    return made


def read(file: str) -> bytes:
    """Return the content of the file, or of standard input for ``-``."""
    try:
        return read_given(file) if file != "-" else read_all(os.dup(0))
    except OSError as error:
        with Option("--resources"):
            raise wrap(f"reading {file}", error) from error
