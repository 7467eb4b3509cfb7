"""pyoci help, pyoci --help and pyoci VERB --help."""

from pyoci.cli import Command, usage
from pyoci.commands.common import show


def run(command: Command) -> int:
    return show(usage(command.words[0] if command.words else ""))
