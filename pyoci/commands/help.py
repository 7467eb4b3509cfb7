"""pyoci --help, and pyoci VERB --help."""

from pyoci.cli import usage
from pyoci.commands.common import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Print the help of a verb, or of pyoci."""
    return show(usage(command.words[0] if command.words else ""))
