"""pyoci delete: remove a container and all that create has made for it."""

from pyoci.commands.common import chosen, each, state_root
from pyoci.lifecycle.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Delete the container, or those that match."""
    root, force = state_root(command), bool(command.options["force"])
    return each(chosen(command), lambda container_id: Container.delete(root, container_id, force=force))
