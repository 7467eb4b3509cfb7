"""pyoci start: let the program of a created container run."""

from pyoci.commands.common import state_root
from pyoci.lifecycle.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Start the container."""
    Container.load(state_root(command), command.words[0]).start()
    return 0
