"""pyoci update: change the limits of a container."""

import posix

from pyoci import codec
from pyoci.commands.common import state_root
from pyoci.config.parse import parse_resources
from pyoci.container import Container
from pyoci.errors import UsageError, wrap
from pyoci.options import parse_size
from pyoci.state import read_all, read_given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cli import Command
    from pyoci.config.model import Resources

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
    container.update(resources(command))
    return 0


def resources(command: "Command") -> "Resources":
    """Read the resources from the file, or make them from the options.

    Raises:
        UsageError: an option's value is malformed, or there is nothing to change.
        ConfigError: the file is wrong.
    """
    file = str(command.options["resources"])
    if file:
        return parse_resources(codec.loads(read(file), "resources" if file == "-" else file))
    for name in UNSUPPORTED:
        if command.options[name]:
            raise UsageError(f"--{name} needs a container with linux.intelRdt, which is not supported yet")
    return parse_resources(codec.loads(codec.dumps(from_options(command)).encode(), "command line"))


def from_options(command: "Command") -> "dict[str, Any]":
    """Make a resources object of the options that are there."""
    made: dict[str, Any] = {}
    for name, (group, member) in MEMBERS.items():
        text = str(command.options[name])
        if text:
            made.setdefault(group, {})[member] = text if name in TEXTS else parse_number(text, name)
    if not made:
        raise UsageError("update: nothing to change; give --resources or a limit")
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
        raise wrap(f"reading {file}", error) from error
