"""The cgroup of a container, the same one in every hierarchy of the host.

Verbs after create restore it from the state, and do not look at the host's hierarchies again.  On a hybrid host the
processes are in v2, too, whose files are used to freeze and to kill.
"""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from signal import SIGKILL
from typing import Any, Self

from pyoci.cgroups import freezer, limits
from pyoci.cgroups.files import (
    Deadline,
    enable_controllers,
    inherit_cpuset,
    make_directories,
    processes,
    read_or,
    remove_tree,
    write,
)
from pyoci.cgroups.unfit import explain, unfitness
from pyoci.config.resources import Resources
from pyoci.errors import Error, KernelError, StateError, wrap
from pyoci.kernel import is_host_root
from pyoci.native import check, lib
from pyoci.process import open_pidfd
from pyoci.undo import Undo

FREEZE_SECONDS = 10.0
KILL_FREEZE_SECONDS = 1.0
DELETE_SECONDS = 10.0
# The kernel refuses to move a process that has just been cloned for a moment (EINVAL).
MOVE_SECONDS = 0.5
DELEGATED_FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Cgroup:
    """A container's cgroup; without any path the container has none, and the methods do nothing.

    paths maps each v1 controller to the cgroup's directory, and "" to that of v2.  roots maps the same keys to mount
    points, explicit is whether the configuration names the cgroup; only create() needs them.  made lists the
    directories that create() has created for the container: only these are removed again.
    """

    manager = "cgroupfs"

    def __init__(
        self,
        paths: Mapping[str, str],
        *,
        roots: Mapping[str, str] | None = None,
        explicit: bool = False,
        made: list[str] | None = None,
    ) -> None:
        self._paths = dict(paths)
        self._roots = dict(roots or {})
        self._explicit = explicit
        self._made = list(made or ())
        self._fresh = False

    def paths(self) -> dict[str, str]:
        """Return the absolute directory for each v1 controller, and for "", which is v2."""
        return dict(self._paths)

    def saved(self) -> dict[str, Any]:
        """Return the argument of from_state(), as JSON can hold it."""
        return {"manager": self.manager, "paths": self.paths(), "made": list(self._made)}

    @property
    def main(self) -> str:
        """The directory that is used to find, freeze and kill the processes; "" without a cgroup."""
        for key in ("", "freezer", "pids", *self._paths):
            if key in self._paths:
                return self._paths[key]
        return ""

    @property
    def is_own(self) -> bool:
        """Whether create() has created the cgroup, so that no other process was in it."""
        return not self._paths or self.main in self._made

    def _directories(self) -> dict[str, str]:
        """Return each directory once, with one of its controllers: joined controllers share a directory."""
        return {path: key for key, path in self._paths.items()}

    # ---- create ----

    def create(self, journal: Callable[[str], None], resources: Resources | None = None) -> None:
        """Create the directories; journal is called with each one before it is created.

        If the caller is not privileged, names no cgroup and wants no limits, the container does without a cgroup in
        the hierarchies in which the caller may not create one.

        Raises:
            KernelError: a directory cannot be created.
            StateError: the cgroup exists and has processes, or is frozen (config-linux.md#control-groups).
        """
        try:
            for directory, key in self._directories().items():
                self._create_or_do_without(key, directory, journal, resources)
            self.require_thawed()
        except BaseException:
            # Other processes may be in it, which the undo of this create must not kill.
            self._paths = {}
            raise

    def _create_or_do_without(
        self, key: str, directory: str, journal: Callable[[str], None], resources: Resources | None
    ) -> None:
        try:
            self._create_in(key, directory, journal)
        except KernelError as error:
            if not self._can_do_without(error, resources):
                raise
            self._paths = {other: path for other, path in self._paths.items() if path != directory}

    def _create_in(self, key: str, directory: str, journal: Callable[[str], None]) -> None:
        root = self._roots[key]
        try:
            made = make_directories(directory, root, journal)
            if directory in made:
                self._made.append(directory)
                self._fresh = True
            elif pids := processes(directory):
                raise StateError(f"the cgroup {directory} is not empty: processes {' '.join(map(str, pids))}")
            elif not key and (reason := unfitness(directory)):
                raise StateError(f"no container can be in this cgroup: {reason}")
            if not key:
                enable_controllers(root, directory)
            elif self._paths.get("cpuset") == directory:
                inherit_cpuset(root, directory)
        except OSError as error:
            raise wrap(f"making the cgroup {directory}", error) from error

    def _can_do_without(self, error: KernelError, resources: Resources | None) -> bool:
        if self._explicit or error.number not in NOT_PERMITTED or is_host_root():
            return False
        return not limits.has_limits(resources)

    def require_thawed(self) -> None:
        """Refuse a frozen cgroup, in which a new process would hang.

        Raises:
            StateError: the cgroup, or one above it, is frozen.
        """
        if directory := freezer.holding(self._paths):
            raise StateError(f"container's cgroup unexpectedly frozen: {directory}, or one above it")

    def apply(self, resources: Resources | None, update: bool = False) -> None:
        """Write the limits and the device rules; an update writes only the given limits, and no device rules.

        Raises:
            ConfigError: a setting has no equivalent in the hierarchies of this host.
            KernelError: the kernel refuses a value or lacks the controller; the origin is that of the setting.
            StateError: there are limits, but no cgroup.
        """
        if resources is None and not update and not self._paths:
            return
        if not self._paths:  # the caller wanted none, or create() has done without
            if limits.has_limits(resources):
                raise StateError("the container has no cgroup, so it cannot have limits", "/linux/resources")
            return
        limits.apply(self._paths, resources, update, fresh=self._fresh)
        self._fresh = False

    def delegate(self, uid: int) -> None:
        """Change the owner of the cgroup to *uid* (of the host), so that the container can create cgroups; v2 only.

        Only the directory and the files that the kernel lists as safe change their owner, if the cgroup has them
        (config-linux.md#cgroup-ownership).
        """
        if set(self._paths) != {""}:
            return
        directory = self._paths[""]
        names = read_or("/sys/kernel/cgroup/delegate", "\n".join(DELEGATED_FILES)).split()
        try:
            os.chown(directory, uid, -1)
            for name in names:
                try:
                    os.chown(f"{directory}/{name}", uid, -1)
                except FileNotFoundError:
                    continue
        except OSError as error:
            raise wrap(f"changing the owner of the cgroup {directory} to {uid}", error) from error

    # ---- membership ----

    def descriptor(self) -> int | None:
        """Return a descriptor of the v2 directory for CLONE_INTO_CGROUP, which the caller closes.

        Return None without v2, and for a directory that create() has not created; see pyoci.cgroups.entry.
        """
        if self._paths.get("") not in self._made:
            return None
        try:
            return os.open(self._paths[""], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise wrap(f"opening the cgroup {self._paths['']}", error) from error

    def add(self, pid: int, entered: bool = False) -> None:
        """Move a process into the cgroup; with *entered* it was cloned into that of v2.

        Raises:
            KernelError: the kernel refuses, or the process does not exist.
        """
        for directory, key in self._directories().items():
            if not (entered and not key):
                _move(pid, directory)

    def sub(self, path: str, controllers: Sequence[str] = ()) -> Self:
        """Return an existing cgroup below this one, for ``exec --cgroup``.

        With *controllers* it is below this one in the hierarchies of these v1 controllers only.

        Raises:
            Error: the path leads out of this cgroup, or the container has no cgroup of such a controller.
        """
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Error(f"the cgroup {path!r} is not below the container's")
        unknown = [name for name in controllers if not name or name not in self._paths]
        if unknown:
            raise Error(f"the container is in no cgroup v1 hierarchy of the controller {unknown[0]!r}")
        bases = {self._paths[name] for name in controllers} or {*self._paths.values()}
        below = {key: "/".join((base, *parts)) for key, base in self._paths.items() if base in bases}
        return type(self)({**self._paths, **below}, explicit=True)

    def existing(self) -> Self:
        """Return the same cgroup as one that pyoci has not created: processes are moved to it, not cloned into it."""
        return type(self)(self._paths)

    def pids(self) -> list[int]:
        """Return the pids of all processes in the cgroup and below it, in ascending order."""
        return processes(self.main) if self.main else []

    # ---- freeze and kill ----

    def frozen(self) -> bool:
        """Return whether this cgroup itself was frozen (not one above it); False if it does not exist."""
        return freezer.frozen(self._paths)

    def freeze(self, seconds: float = FREEZE_SECONDS) -> None:
        """Freeze all processes of the cgroup and wait until they have stopped; after a failure they continue.

        Raises:
            KernelError: there is no freezer, or a process has not stopped after *seconds* (ETIMEDOUT).
        """
        freezer.freeze(self._paths, seconds)

    def thaw(self) -> None:
        """Let the processes continue; nothing happens if the cgroup is not frozen or does not exist."""
        freezer.thaw(self._paths)

    def thaw_killed(self) -> None:
        """Thaw killed processes so that they exit, also in cgroups below that the container has frozen itself."""
        freezer.thaw_killed(self._paths)

    def kill(self, signal: int) -> None:
        """Send a signal to every process in the cgroup and below it; none escapes by forking.

        SIGKILL kills frozen processes, too; other signals are delivered when the cgroup is thawed.  This does not wait
        until the processes have exited; delete() does.
        """
        if signal == SIGKILL and "" in self._paths and _kill_v2(self._paths[""]):
            self.thaw_killed()
            return
        if not self.main:
            return
        was_frozen = self.frozen()
        try:
            if not was_frozen:
                self._try_to_freeze()
            self._signal_all(signal)
        finally:
            if not was_frozen or signal == SIGKILL:
                self.thaw()
            if signal == SIGKILL:
                self.thaw_killed()

    def _try_to_freeze(self) -> None:
        """Freeze if possible; the others get the signal even if one process does not stop."""
        try:
            self.freeze(KILL_FREEZE_SECONDS)
        except KernelError:
            return

    def _signal_all(self, signal: int) -> None:
        """Send the signal to every process once, until there are no new ones."""
        seen: set[int] = set()
        while new := [pid for pid in self.pids() if pid not in seen]:
            seen.update(new)
            self._signal(new, signal)

    def _signal(self, pids: list[int], signal: int) -> None:
        """Send the signal to those of *pids* that are in the cgroup after their pidfds were opened.

        If a pid was reused in between, the new process is not in the cgroup, or the pidfd is that of the old one.
        """
        pidfds = {}
        try:
            for pid in pids:
                if (pidfd := open_pidfd(pid)) >= 0:
                    pidfds[pid] = pidfd
            members = set(self.pids())
            for pid, pidfd in pidfds.items():
                result = lib.pyoci_pidfd_send_signal(pidfd, signal) if pid in members else 0
                if result != -errno.ESRCH:
                    check(result, f"sending signal {signal} to process {pid}")
        except OSError as error:
            raise wrap("opening the processes of the container", error) from error
        finally:
            for pidfd in pidfds.values():
                os.close(pidfd)

    # ---- delete ----

    def delete(self, seconds: float = DELETE_SECONDS) -> None:
        """Remove the directories that create() has created, and those that the container has created below them.

        This does not kill processes, but waits until they have exited.

        Raises:
            KernelError: there was still a process in the cgroup after *seconds* (EBUSY).
        """
        deadline, undo = Deadline(seconds), Undo()
        for path in self._made:
            undo.attempt(f"removing the cgroup {path}", lambda path=path: remove_tree(path, deadline))  # type: ignore[misc]
        undo.finish()


def from_state(saved: Mapping[str, Any]) -> Cgroup:
    """Return the cgroup that saved() was called on; an empty mapping means a container without a cgroup."""
    return Cgroup(saved.get("paths", {}), made=saved.get("made", []))


def _move(pid: int, directory: str) -> None:
    deadline = Deadline(MOVE_SECONDS)
    while True:
        try:
            write(f"{directory}/cgroup.procs", str(pid))
        except OSError as error:
            if error.errno == errno.EINVAL and deadline.wait():
                continue
            refusal = wrap(f"moving process {pid} into the cgroup {directory}", error)
            explain(refusal, directory)
            raise refusal from error
        return


def _kill_v2(directory: str) -> bool:
    """Kill the processes by cgroup.kill; return False if the kernel does not have that file."""
    try:
        write(f"{directory}/cgroup.kill", "1")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise wrap(f"killing the cgroup {directory}", error) from error
    return True
