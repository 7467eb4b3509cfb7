"""pyoci update: change the resource limits of a container."""

import os
from collections.abc import Sequence
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

# The member of the resources object that an option sets.
MEMBERS = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-idle": ("cpu", "idle"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "kernel-memory": ("memory", "kernel"),
    "kernel-memory-tcp": ("memory", "kernelTCP"),
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "pids-limit": ("pids", "limit"),
}
TEXTS = ("cpuset-cpus", "cpuset-mems")
UNSUPPORTED = ("l3-cache-schema", "mem-bw-schema")


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
        for name, (group, member) in MEMBERS.items()
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
    for name, (group, member) in MEMBERS.items():
        text: str = command.options[name]
        if text:
            made.setdefault(group, {})[member] = text if name in TEXTS else parse_number(text, name)
    return made


def parse_number(text: str, name: str) -> int:
    """Return a limit: bytes, with a suffix, for memory; else an integer."""
    if "memory" in name:
        return parse_size(text, f"--{name}")
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20 or not -(2**63) <= int(text) < 2**64:
        raise UsageError(f"--{name} needs a number, not {ascii(text)}")
    return int(text)


def read(file: str) -> bytes:
    """Return the content of the file, or of standard input for ``-``."""
    try:
        return read_given(file) if file != "-" else read_all(os.dup(0))
    except OSError as error:
        with Option("--resources"):
            raise wrap(f"reading {file}", error) from error
