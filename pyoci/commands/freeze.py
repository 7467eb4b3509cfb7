"""pyoci pause and pyoci resume."""

from pyoci.cli import Command
from pyoci.commands.common import state_root
from pyoci.lifecycle.container import Container


def run(command: Command) -> int:
    container = Container.load(state_root(command), command.words[0])
    if command.verb == "pause":
        container.pause()
    else:
        container.resume()
    return 0
