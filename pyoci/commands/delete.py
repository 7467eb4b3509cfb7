"""pyoci delete."""

from pyoci.cli import Command
from pyoci.commands.common import for_each, selected_ids, state_root
from pyoci.lifecycle.container import Container


def run(command: Command) -> int:
    root, force = state_root(command), command.options["force"]
    return for_each(
        selected_ids(command), lambda container_id: Container.delete(root, container_id, force=force)
    )
