"""pyoci exec."""

from pyoci.cli import Command
from pyoci.commands.common import state_root
from pyoci.lifecycle.container import Container
from pyoci.options import ExecOptions, parse_gids


def run(command: Command) -> int:
    """Run the command and return its exit status, or 0 with --detach."""
    given = command.options
    options = ExecOptions(
        process=given["process"],
        argv=command.words[1:],
        tty=given["tty"],
        detach=given["detach"],
        cwd=given["cwd"],
        env=given["env"],
        user=given["user"],
        additional_gids=parse_gids(given["additional-gids"]),
        capabilities=given["cap"],
        no_new_privs=given["no-new-privs"],
        process_label=given["process-label"],
        apparmor=given["apparmor"],
        pid_file=given["pid-file"],
        console_socket=given["console-socket"],
        pidfd_socket=given["pidfd-socket"],
        preserve_fds=given["preserve-fds"],
        cgroup=given["cgroup"],
        ignore_paused=given["ignore-paused"],
    )
    return Container.load(state_root(command), command.words[0]).execute(options)
