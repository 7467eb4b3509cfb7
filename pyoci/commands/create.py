"""pyoci create: make a container whose program waits for start."""

from pyoci.commands.common import create_options, state_root
from pyoci.lifecycle.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Create the container."""
    Container.create(state_root(command), command.words[0], create_options(command))
    return 0
