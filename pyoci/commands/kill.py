"""pyoci kill."""

import signal

from pyoci.cli import Command
from pyoci.commands.common import for_each, selected_ids, state_root
from pyoci.config.annotations import STOP_SIGNAL
from pyoci.errors import UsageError
from pyoci.lifecycle.container import Container
from pyoci.log import warning
from pyoci.members import Members
from pyoci.options import parse_signal


def run(command: Command) -> int:
    """Send the signal, by default the stop signal of each container's image."""
    number = parse_signal(command.words[1]) if command.words[1:] else None
    root, everyone = state_root(command), command.options["all"]

    def kill(container_id: str) -> None:
        container = Container.load(root, container_id)
        container.kill(
            stop_signal(container.state.annotations) if number is None else number, everyone=everyone
        )

    return for_each(selected_ids(command), kill)


def stop_signal(annotations: Members) -> int:
    """Return the stop signal of the image, or SIGTERM if it has none.

    An unknown one does not stop the verb: an image must not be able to keep its container alive.
    """
    word = annotations.get(STOP_SIGNAL, "TERM")
    try:
        number = parse_signal(word)
    except UsageError:
        number = 0
    if number == 0:
        warning(f"{STOP_SIGNAL} is {ascii(word)}, which is not a signal: sending TERM")
        return signal.SIGTERM
    return number
