"""pyoci run."""

from pyoci.cli import Command
from pyoci.commands.common import create_options, state_root
from pyoci.lifecycle.container import Container


def run(command: Command) -> int:
    """Run the container and return the exit status of its init process, or 0 with --detach."""
    return Container.run(state_root(command), command.words[0], create_options(command))
