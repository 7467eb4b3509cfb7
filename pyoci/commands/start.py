"""pyoci start."""

from pyoci.cli import Command
from pyoci.commands.common import state_root
from pyoci.lifecycle.container import Container


def run(command: Command) -> int:
    Container.load(state_root(command), command.words[0]).start()
    return 0
