"""The cgroup of a container, the same one in every hierarchy of the host.

Verbs after create rebuild it from the state and look for nothing.  On a hybrid host the processes are in v2, too:
freezing and killing use its files.
"""

import errno
import posix

from pyoci.cgroups import freezer
from pyoci.cgroups.entry import explain, unfitness
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
from pyoci.errors import Error, KernelError, StateError, wrap
from pyoci.kernel import is_host_root
from pyoci.process import open_pidfd
from pyoci.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pyoci.config.resources import Resources

SIGKILL = 9
FREEZE_SECONDS = 10.0
KILL_FREEZE_SECONDS = 1.0
DELETE_SECONDS = 10.0
# A process that has just been cloned cannot be moved for an instant (EINVAL).
MOVE_SECONDS = 0.5
DELEGATED_FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Cgroup:
    """A container's cgroup, made in the file systems; without any path it is "no cgroup", and does nothing.

    paths maps a v1 controller to the cgroup's directory, and "" to that of v2.  roots maps the same keys to
    mount points, explicit tells whether the configuration names the cgroup; both are needed for create only.
    made lists the directories that create has made for the container itself: only these are removed again.
    """

    manager = "cgroupfs"

    def __init__(
        self,
        paths: "Mapping[str, str]",
        *,
        roots: "Mapping[str, str] | None" = None,
        explicit: bool = False,
        made: "list[str] | None" = None,
    ) -> None:
        """Describe the cgroup; no system call is made."""
        self._paths = dict(paths)
        self._roots = dict(roots or {})
        self._explicit = explicit
        self._made = list(made or ())
        self._fresh = False

    def paths(self) -> "dict[str, str]":
        """Give the absolute directory for each controller, "" is v2."""
        return dict(self._paths)

    def saved(self) -> "dict[str, Any]":
        """Give what from_state needs, ready for JSON."""
        return {"manager": self.manager, "paths": self.paths(), "made": list(self._made)}

    @property
    def main(self) -> str:
        """The directory by which the processes are found, frozen and killed; "" when there is no cgroup."""
        for key in ("", "freezer", "pids", *self._paths):
            if key in self._paths:
                return self._paths[key]
        return ""

    @property
    def is_own(self) -> bool:
        """Whether create has made it, so that nobody was in it before."""
        return not self._paths or self.main in self._made

    def _directories(self) -> "dict[str, str]":
        """Map each directory, once, to one of its controllers: joined controllers share a directory."""
        return {path: key for key, path in self._paths.items()}

    # ---- create ----

    def create(self, journal: "Callable[[str], None]", resources: "Resources | None" = None) -> None:
        """Make the directories; journal is told of each one before it is made.

        An unprivileged caller who names no cgroup and asks for no limit goes without those hierarchies where
        it may not make one.  With a limit that is an error.

        Raises:
            KernelError: a directory or a controller cannot be had.
            StateError: the cgroup exists and has processes, or is frozen (config-linux.md#control-groups).
        """
        try:
            for directory, key in self._directories().items():
                self._create_or_dispense(key, directory, journal, resources)
            self.require_thawed()
        except BaseException:
            # What is in it is not ours: the clean-up after this failure must find nothing to kill here.
            self._paths = {}
            raise

    def _create_or_dispense(
        self, key: str, directory: str, journal: "Callable[[str], None]", resources: "Resources | None"
    ) -> None:
        """Make the cgroup in one hierarchy, or do without that hierarchy."""
        try:
            self._create_in(key, directory, journal)
        except KernelError as error:
            if not self._dispensable(error, resources):
                raise
            self._paths = {other: path for other, path in self._paths.items() if path != directory}

    def _create_in(self, key: str, directory: str, journal: "Callable[[str], None]") -> None:
        """Make the cgroup in one hierarchy."""
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

    def _dispensable(self, error: KernelError, resources: "Resources | None") -> bool:
        if self._explicit or error.number not in NOT_PERMITTED or is_host_root():
            return False
        from pyoci.cgroups import limits

        return not limits.asked(resources)

    def require_thawed(self) -> None:
        """Refuse what would stand still for ever in this cgroup.

        Raises:
            StateError: it, or one above it, is frozen.
        """
        if directory := freezer.holding(self._paths):
            raise StateError(f"container's cgroup unexpectedly frozen: {directory}, or one above it")

    def apply(self, resources: "Resources | None", update: bool = False) -> None:
        """Write the limits and the device rules; an update changes what is given, and no device rule.

        Raises:
            ConfigError: a setting has no equivalent in the hierarchies of this host.
            KernelError: the kernel refused a value or has no such controller; its origin is the JSON pointer.
            StateError: the container has no cgroup to limit.
        """
        if resources is None and not update and not self._paths:
            return
        from pyoci.cgroups import limits

        if not self._paths:  # none was wanted, or create has found that none is needed
            if limits.asked(resources):
                raise StateError("the container has no cgroup, so it cannot have limits", "/linux/resources")
            return
        limits.apply(self, resources, update, fresh=self._fresh)
        self._fresh = False

    def hand_over(self, uid: int) -> None:
        """Give the cgroup to *uid* (host), so that the container can have cgroups of its own; v2 only.

        Only the directory and the files that the kernel says are safe change their owner; a file that this
        cgroup does not have is passed over: config-linux.md#cgroup-ownership.
        """
        if set(self._paths) != {""}:
            return
        directory = self._paths[""]
        names = read_or("/sys/kernel/cgroup/delegate", "\n".join(DELEGATED_FILES)).split()
        try:
            posix.chown(directory, uid, -1)
            for name in names:
                try:
                    posix.chown(f"{directory}/{name}", uid, -1)
                except FileNotFoundError:
                    continue
        except OSError as error:
            raise wrap(f"giving the cgroup {directory} to user {uid}", error) from error

    # ---- membership ----

    def descriptor(self) -> int | None:
        """Open the v2 directory for CLONE_INTO_CGROUP; the caller closes it.

        None without v2, and for what create has not made; see pyoci.cgroups.entry.
        """
        if self._paths.get("") not in self._made:
            return None
        try:
            return posix.open(self._paths[""], posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        except OSError as error:
            raise wrap(f"opening the cgroup {self._paths['']}", error) from error

    def add(self, pid: int, entered: bool = False) -> None:
        """Move a process into the cgroup; entered says that it was cloned into that of v2.

        Raises:
            KernelError: the kernel refused, or the process is gone.
        """
        for directory, key in self._directories().items():
            if not (entered and not key):
                _move(pid, directory)

    def sub(self, path: str, controllers: "Sequence[str]" = ()) -> "Cgroup":
        """Give a cgroup below this one, for processes that ``exec --cgroup`` puts there; it must exist.

        With controllers only in their hierarchies of v1, and in the others this one.

        Raises:
            Error: the path leads out of this cgroup, or it is not in a hierarchy of such a controller.
        """
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Error(f"the cgroup {path!r} is not below the container's")
        unknown = [name for name in controllers if not name or name not in self._paths]
        if unknown:
            raise Error(f"the container is in no cgroup v1 hierarchy of the controller {unknown[0]!r}")
        bases = {self._paths[name] for name in controllers} or {*self._paths.values()}
        below = {key: "/".join((base, *parts)) for key, base in self._paths.items() if base in bases}
        return Cgroup({**self._paths, **below}, explicit=True)

    def existing(self) -> "Cgroup":
        """Give the same cgroup as one that was there before: nobody is born in it, processes are moved to it."""
        return Cgroup(self._paths)

    def pids(self) -> "list[int]":
        """List all processes in the cgroup and below it, in ascending order."""
        return processes(self.main) if self.main else []

    # ---- freeze and kill ----

    def frozen(self) -> bool:
        """Tell whether this cgroup was frozen (not one above it); False when it is gone."""
        return freezer.frozen(self._paths)

    def freeze(self, seconds: float = FREEZE_SECONDS) -> None:
        """Stop all processes of the cgroup and wait until they stand still; on failure they run on.

        Raises:
            KernelError: there is no freezer, or some process did not stop within *seconds* (ETIMEDOUT).
        """
        freezer.freeze(self._paths, seconds)

    def thaw(self) -> None:
        """Let the processes run on; nothing happens when the cgroup is gone or not frozen."""
        freezer.thaw(self._paths)

    def thaw_killed(self) -> None:
        """Let end what was killed while it was frozen, also in cgroups below that the container has frozen itself."""
        freezer.thaw_killed(self._paths)

    def kill(self, signal: int) -> None:
        """Send a signal to every process in the cgroup and below it, so that none escapes by forking.

        SIGKILL ends frozen processes, too.  Other signals reach them when somebody thaws the cgroup.
        It is not waited for the end of the processes: delete does.
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
        """Freeze where possible; a process that will not stop must not save the others from the signal."""
        try:
            self.freeze(KILL_FREEZE_SECONDS)
        except KernelError:
            return

    def _signal_all(self, signal: int) -> None:
        """Signal every process once; look again until there are no new ones."""
        seen: set[int] = set()
        while new := [pid for pid in self.pids() if pid not in seen]:
            seen.update(new)
            self._signal(new, signal)

    def _signal(self, pids: "list[int]", signal: int) -> None:
        """Signal those of *pids* that are in the cgroup after their pidfds were opened.

        A number that was reused in between names a process that is not in the cgroup, or whose pidfd is dead.
        """
        from pyoci.native import check, lib

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
                posix.close(pidfd)

    # ---- delete ----

    def delete(self, seconds: float = DELETE_SECONDS) -> None:
        """Remove what create has made, with what the container made below it; missing is fine.

        Nobody is killed here: processes that are ending are waited for.

        Raises:
            KernelError: somebody was still in the cgroup after *seconds* (EBUSY).
        """
        deadline, undo = Deadline(seconds), Undo()
        for path in self._made:
            undo.attempt(f"removing the cgroup {path}", lambda path=path: remove_tree(path, deadline))  # type: ignore[misc]
        undo.finish()


def from_state(saved: "Mapping[str, Any]") -> Cgroup:
    """Rebuild the cgroup from what its saved() gave; an empty mapping is a container without cgroups."""
    return Cgroup(saved.get("paths", {}), made=saved.get("made", []))


def _move(pid: int, directory: str) -> None:
    """Write a pid to cgroup.procs."""
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
    """Kill by cgroup.kill; False when there is no such file."""
    try:
        write(f"{directory}/cgroup.kill", "1")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise wrap(f"killing the cgroup {directory}", error) from error
    return True
