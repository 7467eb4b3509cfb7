"""run: create and start a container; in the foreground wait for its end and delete it."""

from pyoci.errors import NoContainerError
from pyoci.lifecycle import recovery
from pyoci.lifecycle.create import Create, checked_bundle
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.pidfile import remove_pid_file
from pyoci.lifecycle.start import start
from pyoci.lifecycle.state import State
from pyoci.lifecycle.terminal import Foreground
from pyoci.options import CreateOptions
from pyoci.signals import Signals
from pyoci.stage.conversation import Stage
from pyoci.undo import Undo


def run(root: str, container_id: str, options: CreateOptions) -> int:
    """Create and start a container; in the foreground wait for its end and delete it.

    Return the exit status of the program, 128 + n when signal n killed it; 0 when detached.

    Raises:
        Error: it did not start; nothing is left behind.
    """
    bundle = checked_bundle(container_id, options, detach=options.detach)
    with Signals(f"run {container_id}", everything=not options.detach) as signals:
        directory = Directory.claim(root, container_id)
        with bundle.source():
            state, stage = Create(directory, bundle, options, container_id, signals).run()
        try:
            return _start_and_wait(directory, state, stage, options, signals)
        finally:
            stage.close()
            directory.close()


def _start_and_wait(
    directory: Directory, state: State, stage: Stage, options: CreateOptions, signals: Signals
) -> int:
    """Start a container that has just been created, and wait for its end; its lock is held when this begins."""
    foreground: Foreground | None = None
    try:
        if not options.detach:
            foreground = Foreground()
            foreground.begin(stage.console)
        start(directory, state, signals)
        directory.unlock()
        if foreground is None:
            return 0
        status = foreground.wait(stage.pidfd, stage.console)
    except BaseException as error:
        if foreground is not None:
            foreground.end()
        _delete(directory, state, signals).tell(error)
        if options.pid_file:
            remove_pid_file(options.pid_file, state.pid)
        raise
    if not options.keep:
        _delete(directory, state, signals).finish()
    return status


def _delete(directory: Directory, state: State, signals: Signals) -> Undo:
    """Delete the container after its end, unless another process was quicker."""
    try:
        with directory:
            return recovery.undo(directory, state, signals) if directory.is_current() else Undo()
    except NoContainerError:
        return Undo()
