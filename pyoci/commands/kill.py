"""pyoci kill: send a signal to a container."""

from pyoci.commands.common import chosen, each, state_root
from pyoci.config.annotations import STOP_SIGNAL
from pyoci.errors import UsageError
from pyoci.lifecycle.container import Container
from pyoci.log import warning
from pyoci.options import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command
    from pyoci.record import Members

SIGTERM = 15


def run(command: "Command") -> int:
    """Send the signal to the container, or to those that match.

    When none is given it is the one that the image names, by the annotation that the specification reserves for it.
    """
    given = parse_signal(command.words[1]) if command.words[1:] else None
    root, everyone = state_root(command), bool(command.options["all"])

    def kill(container_id: str) -> None:
        container = Container.load(root, container_id)
        signal = stop_signal(container.state.annotations) if given is None else given
        container.kill(signal, everyone=everyone)

    return each(chosen(command), kill)


def stop_signal(annotations: "Members") -> int:
    """Return the signal that the image names, TERM where that is none: its words must not keep a container alive."""
    word = annotations.get(STOP_SIGNAL, "TERM")
    try:
        number = parse_signal(word)
    except UsageError:
        number = 0
    if not number:
        warning(f"{STOP_SIGNAL} is {ascii(word)}, which is no signal: sending TERM")
    return number or SIGTERM
