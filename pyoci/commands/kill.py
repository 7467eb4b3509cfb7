"""pyoci kill: send a signal to a container."""

from pyoci.commands.common import state_root
from pyoci.container import Container
from pyoci.options import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Send the signal."""
    signal = parse_signal(command.words[1] if len(command.words) > 1 else "TERM")
    container = Container.load(state_root(command), command.words[0], lock=False)
    container.kill(signal, everyone=bool(command.options["all"]))
    return 0
