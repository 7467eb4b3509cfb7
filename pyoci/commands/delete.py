"""pyoci delete: remove a container and all that create has made for it."""

from pyoci.commands.common import state_root
from pyoci.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Delete the container."""
    Container.delete(state_root(command), command.words[0], force=bool(command.options["force"]))
    return 0
