"""pyoci create."""

from pyoci.cli import Command
from pyoci.commands.common import create_options, state_root
from pyoci.lifecycle.container import Container


def run(command: Command) -> int:
    Container.create(state_root(command), command.words[0], create_options(command))
    return 0
