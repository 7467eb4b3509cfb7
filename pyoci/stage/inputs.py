"""The inputs of a plan: descriptors that the host side opens, in order, and that become slots 0 and up."""

import errno
import os
import stat
from dataclasses import dataclass

from pyoci import native
from pyoci import operations as ops
from pyoci.config.model import IDMapping
from pyoci.config.tables import NAMESPACE_FILES, NAMESPACES
from pyoci.errors import ConfigError, Error, KernelError, Problem, wrap
from pyoci.linux import BARRIER_MAPS, CLONE_NEWUSER, MOUNT_ATTR_NODEV, MS_PRIVATE
from pyoci.stage import idmap
from pyoci.stage.encode import encode, encode_with_slots
from pyoci.stage.idmap import map_text
from pyoci.stage.protocol import StageProcess, spawn
from pyoci.steps import Input, Opener, Plan, Step

CLOEXEC = os.O_CLOEXEC


class Inputs(Opener):
    """The open descriptors of a plan's inputs, by slot.

    directory is the container's, with its FIFOs; given holds, by slot, descriptors that somebody else has opened.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.fds: dict[str, int] = {}
        self.given: dict[str, int] = {}

    def open(self, plan: Plan) -> list[int]:
        """Open every input of *plan*; return the descriptors in the order of the slots.

        Raises:
            Error: one cannot be opened, or is not what it must be.
        """
        for wanted in plan.inputs:
            try:
                self.fds[wanted.slot] = wanted.open(self)
            except OSError as error:
                raise wrap(wanted.describe(), error, wanted.origin) from error
        return [self.fds[wanted.slot] for wanted in plan.inputs]

    def close(self) -> None:
        """Close all of them."""
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fifo(Input):
    """A FIFO of the container's directory, open for reading and writing."""

    slot: str
    name: str
    origin: str = ""

    def describe(self) -> str:
        return f"opening the FIFO {self.name}"

    def open(self, opener: Opener) -> int:
        return os.open(f"{opener.directory}/{self.name}", os.O_RDWR | CLOEXEC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memfd(Input):
    """An empty memfd, which is filled at a barrier."""

    slot: str
    origin: str = ""

    def describe(self) -> str:
        return f"making a memfd for the {self.slot}"

    def open(self, opener: Opener) -> int:
        return native.memfd(self.slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given(Input):
    """A descriptor that is open already."""

    slot: str
    origin: str = ""

    def describe(self) -> str:
        return f"opening the {self.slot}"

    def open(self, opener: Opener) -> int:
        return os.dup(opener.given[self.slot])


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceFile(Input):
    """A namespace by path, of the kind that the configuration says.

    changes names a setting that changes the namespace, which therefore must not be the host's; "" for none.
    """

    slot: str
    path: str
    kind: str
    changes: str = ""
    origin: str = ""

    def describe(self) -> str:
        return f"opening {self.path}"

    def content(self) -> str:
        """Return the type, and whether the host's would be refused."""
        limit = f"; not the host's, because of {self.changes}" if self.changes else ""
        return f"a namespace of type {self.kind}{limit}"

    def open(self, opener: Opener) -> int:
        fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | CLOEXEC)
        found = native.lib.pyoci_ns_type(fd)
        wrong = ""
        if found != NAMESPACES[self.kind]:
            kinds = {flag: kind for kind, flag in NAMESPACES.items()}
            what = f"a {kinds[found]} namespace" if found in kinds else "no namespace"
            wrong = f"{self.path} is {what}, not one of type {self.kind}"
        elif self.changes and is_of_the_host(fd, NAMESPACE_FILES[self.kind]):
            wrong = f"{self.path} is the host's {self.kind} namespace, whose {self.changes} would be changed"
        if wrong:
            os.close(fd)
            raise ConfigError("config.json", [Problem(pointer=self.origin, message=wrong)])
        return fd


def is_of_the_host(fd: int, name: str) -> bool:
    """Return whether a namespace, of the kind with that name in /proc, is our own or that of process 1."""
    found = os.fstat(fd)
    for pid in ("self", "1"):
        try:
            known = os.stat(f"/proc/{pid}/ns/{name}")
        except OSError:  # what an ordinary user may not look at he may not join either
            continue
        if (known.st_dev, known.st_ino) == (found.st_dev, found.st_ino):
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree(Input):
    """A detached clone of a host path that must stay a peer of the host's mount: the stage's would not."""

    slot: str
    path: str
    recursive: bool = False
    nofollow: bool = False
    origin: str = ""

    def describe(self) -> str:
        return f"opening {self.path}"

    def content(self) -> str:
        """Return the flags of the clone."""
        return " ".join(name for name in ("recursive", "nofollow") if getattr(self, name))

    def open(self, opener: Opener) -> int:
        clone = ops.OpenTree(tree=self.slot, path=self.path, recursive=self.recursive, nofollow=self.nofollow)
        return run_here([Step(operation=clone, what=self.describe(), origin=self.origin)])


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode(Input):
    """A detached mount of a device node that the host side makes.

    type is S_IFCHR or S_IFBLK, mode its permissions, number its device number; uid and gid are numbers of the host.
    """

    slot: str
    path: str
    type: int
    mode: int
    number: int
    uid: int
    gid: int
    origin: str = ""

    def describe(self) -> str:
        return f"making the device {self.path}"

    def content(self) -> str:
        """Return type, number, mode and owner."""
        kind = "block" if self.type == stat.S_IFBLK else "character"
        number = f"{os.major(self.number)}:{os.minor(self.number)}"
        return f"{kind} device {number}, mode {self.mode:04o}, owner {self.uid}:{self.gid}"

    def open(self, opener: Opener) -> int:
        """Make the node in the container's directory, and return a mount of it.

        The name stays there until the directory is removed: a mount of a node without a name cannot be attached, here
        or by a runtime in the container.
        Where pyoci may make none, as inside another container, the host's own node is taken, if it is the same device.
        """
        path, cleared = f"{opener.directory}/{self.slot}", MOUNT_ATTR_NODEV
        try:
            os.mknod(path, self.type | self.mode, self.number)
        except PermissionError:
            found = os.stat(self.path)
            if (stat.S_IFMT(found.st_mode), found.st_rdev) != (self.type, self.number):
                raise
            path, cleared = self.path, 0
        else:
            os.chown(path, self.uid, self.gid)
            os.chmod(path, self.mode)
        # The mount is one where devices work, even if the state directory is on one where they do not, and nothing
        # that is mounted over it in the container shows here.
        operations = (
            ops.OpenTree(tree=self.slot, path=path, nofollow=True),
            ops.SetAttributes(mount=self.slot, clear=cleared, propagation=MS_PRIVATE),
        )
        return run_here([Step(operation=each, what=self.describe(), origin=self.origin) for each in operations])


@dataclass(frozen=True, slots=True, kw_only=True)
class UserNamespace(Input):
    """A user namespace for the id mappings of a mount.

    A stage enters it, hidden, and ends once it is open.  It must not be executed there: who owns a user namespace may
    look into all that is executed in it.
    """

    slot: str
    uids: tuple[IDMapping, ...]
    gids: tuple[IDMapping, ...]
    origin: str = ""

    def describe(self) -> str:
        return "making the user namespace of a mount's id mappings"

    def content(self) -> str:
        """Return both mappings."""
        uids, gids = (map_text(maps).strip().replace("\n", ", ") for maps in (self.uids, self.gids))
        return f"uids {uids}; gids {gids}"

    def open(self, opener: Opener) -> int:
        what, origin = self.describe(), self.origin
        operations = (
            *([ops.Undumpable()] if os.geteuid() == 0 else []),
            ops.Unshare(namespaces=CLONE_NEWUSER),
            ops.SendUserNamespace(),
            ops.Barrier(point=BARRIER_MAPS),
        )
        plan = Plan(steps=[Step(operation=each, what=what, origin=origin) for each in operations])
        stage = StageProcess(*spawn(0, None, 0))
        try:
            stage.send_block(encode(plan), [])
            report = stage.receive()
            if report is None or report.kind != native.lib.REPORT_FD:
                raise KernelError(what, report.err if report else errno.EPIPE, origin)
            try:
                idmap.write_maps(stage.pid, self.uids, self.gids)
            except BaseException:
                os.close(report.fd)
                raise
            return report.fd
        finally:
            stage.kill()


def run_here(steps: list[Step]) -> int:
    """Run steps in this process, and return the descriptor in the first slot that they fill.

    Raises:
        KernelError: one of them fails.
    """
    block, count = encode_with_slots(Plan(steps=steps))
    slots, failed, err = native.run_steps(block, count)
    if err:
        for fd in slots:
            if fd >= 0:
                os.close(fd)
        step = steps[failed]
        raise KernelError(step.what, err, step.origin, step.hints.get(err, ""))
    return slots[0]


def differing_namespaces(pid: int) -> frozenset[str]:
    """Return in which namespaces a process differs from this one.

    Raises:
        Error: the process has gone.
    """
    kinds = set()
    for kind, name in NAMESPACE_FILES.items():
        try:
            ours = os.stat(f"/proc/self/ns/{name}")
        except FileNotFoundError:
            continue  # this kernel has no such namespaces
        try:
            theirs = os.stat(f"/proc/{pid}/ns/{name}")
        except FileNotFoundError:
            raise Error("container not running") from None
        if theirs.st_ino != ours.st_ino:
            kinds.add(kind)
    return frozenset(kinds)
