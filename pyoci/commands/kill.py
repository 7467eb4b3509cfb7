"""pyoci kill: send a signal to a container."""

from pyoci.commands.common import chosen, each, state_root
from pyoci.container import Container
from pyoci.options import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


STOP_SIGNAL = "org.opencontainers.image.stopSignal"


def run(command: "Command") -> int:
    """Send the signal to the container, or to those that match.

    When none is given it is the one that the image names, by the annotation that the specification reserves for it.
    """
    given = [parse_signal(word) for word in command.words[1:]]
    root, everyone = state_root(command), bool(command.options["all"])

    def kill(container_id: str) -> None:
        container = Container.load(root, container_id)
        signal = given[0] if given else parse_signal(container.state.annotations.get(STOP_SIGNAL, "TERM"))
        container.kill(signal, everyone=everyone)

    return each(chosen(command), kill)
