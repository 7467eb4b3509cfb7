"""pyoci delete: remove a container and all that create has made for it."""

from pyoci.commands.common import for_each, state_root
from pyoci.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Delete the container."""

    def delete(container_id: str) -> None:
        Container.delete(state_root(command), container_id, force=bool(command.options["force"]))

    for_each(command, delete)
    return 0
