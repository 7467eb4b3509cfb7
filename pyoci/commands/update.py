"""pyoci update: change the limits of a container."""

import posix

from pyoci import codec
from pyoci.cgroups.v2 import RESOURCES
from pyoci.commands.common import state_root
from pyoci.config.parse import parse_resources
from pyoci.config.source import Option, Parts, Source
from pyoci.config.versions import zero_tasks_is_no_limit
from pyoci.errors import UsageError, wrap
from pyoci.files import read_all, read_given
from pyoci.lifecycle.container import Container
from pyoci.log import warning
from pyoci.options import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyoci.cli import Command

# Option -> where its value belongs in the resources object, and whether it is a number of bytes or a text.
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


def run(command: "Command") -> int:
    """Apply a resources object, or the options."""
    container = Container.load(state_root(command), command.words[0])
    file = str(command.options["resources"])
    document, source = from_file(file) if file else from_command(command)
    with source:
        resources = parse_resources(document)
        container.update(resources)
    if not file and resources.pids and resources.pids.limit == 0:
        warning(words_about_no_tasks(container.state.ociVersion))
    return 0


def words_about_no_tasks(version: str) -> str:
    """Say what ``--pids-limit 0`` has done: it has meant two things."""
    if zero_tasks_is_no_limit(version):
        return f"a limit of 0 tasks is no limit to a container of version {version}: pids.max is max now"
    return "pids.max is 0 now: the container can start no process any more; -1 is no limit"


def from_file(file: str) -> "tuple[codec.Document, Source]":
    """Read the resources from a file; gives also what knows the places in it.

    Raises:
        Error: it cannot be read.
        ConfigError: it is not JSON.
    """
    text, name = read(file), "standard input" if file == "-" else file
    return codec.loads(text, name), Source(name, lambda: text, RESOURCES)


def from_command(command: "Command") -> "tuple[codec.Document, Source]":
    """Make the resources from the options; gives also what knows which of them made what.

    Raises:
        UsageError: an option's value is malformed.
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
    """What options stand for: it has no lines."""

    def places(self, pointers: "Sequence[str]") -> "list[tuple[int, int]]":
        """Return no place, so that it is looked for among the options."""
        return [(0, 0)] * len(pointers)


def from_options(command: "Command") -> "dict[str, Any]":
    """Make a resources object of the options that are there."""
    made: dict[str, Any] = {}
    for name, (group, member) in MEMBERS.items():
        text = str(command.options[name])
        if text:
            made.setdefault(group, {})[member] = text if name in TEXTS else parse_number(text, name)
    return made


def parse_number(text: str, name: str) -> int:
    """Read a limit: bytes with a suffix for memory, else a plain number, which may be negative."""
    if "memory" in name:
        return parse_size(text, f"--{name}")
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20 or not -(2**63) <= int(text) < 2**64:
        raise UsageError(f"--{name} needs a number, not {ascii(text)}")
    return int(text)


def read(file: str) -> bytes:
    """Read the file, or standard input for ``-``."""
    try:
        return read_given(file) if file != "-" else read_all(posix.dup(0))
    except OSError as error:
        with Option("--resources"):
            raise wrap(f"reading {file}", error) from error
