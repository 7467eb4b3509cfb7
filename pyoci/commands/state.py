"""pyoci state: print the state of a container, runtime.md#query-state."""

from pyoci import codec
from pyoci.commands.common import show, state_root
from pyoci.lifecycle.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Print the state object."""
    container = Container.load(state_root(command), command.words[0])
    return show(codec.dumps(container.describe(), indent="  ") + "\n")
