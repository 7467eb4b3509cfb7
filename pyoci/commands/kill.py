"""pyoci kill: send a signal to a container."""

from pyoci.commands.common import chosen, each, state_root
from pyoci.container import Container
from pyoci.options import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Send the signal to the container, or to those that match."""
    signal = parse_signal(command.words[1] if len(command.words) > 1 else "TERM")
    root, everyone = state_root(command), bool(command.options["all"])

    def kill(container_id: str) -> None:
        Container.load(root, container_id, lock=False).kill(signal, everyone=everyone)

    return each(chosen(command), kill)
