"""pyoci run: create, start, wait for the end and delete."""

from pyoci.commands.common import create_options, state_root
from pyoci.lifecycle.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Run the container; gives the exit status of its program."""
    return Container.run(state_root(command), command.words[0], create_options(command))
