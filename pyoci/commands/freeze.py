"""pyoci pause and pyoci resume: stop all processes of a container, and let them run on."""

from pyoci.commands.common import state_root
from pyoci.lifecycle.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Pause or resume the container."""
    container = Container.load(state_root(command), command.words[0])
    if command.verb == "pause":
        container.pause()
    else:
        container.resume()
    return 0
