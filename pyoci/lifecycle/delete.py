"""Removing a container: what runs in it, its cgroup, its directory; and then the poststop hooks."""

import os
from signal import SIGKILL

from pyoci import native
from pyoci.cgroups.cgroup import Cgroup
from pyoci.cgroups.files import undo as undo_cgroups
from pyoci.config.model import Config
from pyoci.config.source import warn
from pyoci.errors import Error
from pyoci.lifecycle import hooks
from pyoci.log import warning
from pyoci.process import has_ended
from pyoci.signals import Signals
from pyoci.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.lifecycle.container import Container

END_SECONDS = 10


def remove(container: "Container", signals: Signals) -> None:
    """Do what Container.destroy() promises."""
    undo, config = Undo(), poststop_config(container)
    if not container.state.cgroup:  # half made: what stands still in a frozen cgroup ends only when that is thawed
        undo.attempt("removing the container's cgroup", lambda: remove_cgroup(container))
    undo.attempt("ending the container's init process", lambda: end_process(container))
    if container.state.cgroup:
        undo.attempt("removing the container's cgroup", lambda: remove_cgroup(container))
    if not undo.failures:
        undo.attempt("removing the state directory", container.directory.remove)
    undo.finish()
    if config is not None:
        for failure in hooks.failures(config, "poststop", container.hook_state("stopped", 0), signals):
            warn(failure, container.source())


def poststop_config(container: "Container") -> Config | None:
    """Return the configuration when it has poststop hooks; that it cannot be read keeps nobody from deleting."""
    if "poststop" not in container.state.hooks:
        return None
    try:
        return container.config()
    except (Error, OSError) as error:
        warning(f"the poststop hooks are not run: {error}")
        return None


def end_process(container: "Container") -> None:
    """Kill the init process and wait until it has gone.

    Raises:
        Error: it did not end within 10 seconds.
    """
    pidfd = container.open_process()
    if pidfd < 0:
        return
    try:
        native.lib.pyoci_pidfd_send_signal(pidfd, SIGKILL)
        if container.state.cgroup:
            container.cgroup().thaw_killed()
        if not has_ended(pidfd, END_SECONDS * 1000):
            raise Error(f"process {container.state.pid} did not end within {END_SECONDS} s of SIGKILL")
    finally:
        os.close(pidfd)


def remove_cgroup(container: "Container") -> None:
    """Kill what still runs in the cgroup, and remove it; that of a create that was cut off by its journal."""
    if not container.state.cgroup:
        undo_journal([entry["cgroup"] for entry in container.directory.journal() if "cgroup" in entry])
        return
    cgroup = container.cgroup()
    if cgroup.pids():
        cgroup.kill(SIGKILL)
    cgroup.delete()


def undo_journal(paths: list[str]) -> None:
    """Remove the cgroups that a journal names, and what still runs in them."""
    undo = Undo()
    for path in paths:
        if not any(other.startswith(path + "/") for other in paths):
            leaf = Cgroup({"": path} if "/freezer/" not in path else {"freezer": path}, explicit=True)
            undo.attempt(f"killing the cgroup {path}", lambda leaf=leaf: leaf.kill(SIGKILL))  # type: ignore[misc]
    undo.attempt("removing the cgroups", lambda: undo_cgroups(paths))
    undo.finish()
