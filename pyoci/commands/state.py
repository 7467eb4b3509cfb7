"""pyoci state: print the state object of runtime.md#query-state."""

from pyoci import codec
from pyoci.cli import Command
from pyoci.commands.common import show, state_root
from pyoci.lifecycle.container import Container


def run(command: Command) -> int:
    container = Container.load(state_root(command), command.words[0])
    return show(codec.dumps(container.describe(), indent="  ") + "\n")
