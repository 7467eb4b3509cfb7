"""pyoci kill: send a signal to a container."""

from pyoci.commands.common import for_each, state_root
from pyoci.container import Container
from pyoci.options import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Send the signal."""
    signal = parse_signal(command.words[1] if len(command.words) > 1 else "TERM")

    def kill(container_id: str) -> None:
        container = Container.load(state_root(command), container_id, lock=False)
        container.kill(signal, everyone=bool(command.options["all"]))

    for_each(command, kill)
    return 0
