"""Opening the inputs of a plan on the host side, in order; what becomes slots 0 and up."""

import errno
import posix

from pyoci import native
from pyoci.config.model import IDMapping
from pyoci.config.tables import NAMESPACE_FILES, NAMESPACES, PROPAGATION
from pyoci.errors import ConfigError, Error, KernelError, Problem, wrap
from pyoci.host import idmap
from pyoci.plan.steps import Input, Plan, Step

CLOEXEC = posix.O_CLOEXEC
S_IFMT = 0o170000
NODEV = 4


class Inputs:
    """The open descriptors of a plan's inputs, by slot."""

    def __init__(self, directory: str) -> None:
        """FIFOs are found in the container's *directory*."""
        self.directory = directory
        self.fds: dict[str, int] = {}
        self.given: dict[str, int] = {}

    def open(self, plan: Plan) -> "list[int]":
        """Open every input of *plan*; gives the descriptors in the order of the slots.

        Raises:
            Error: one cannot be opened, or is not what it must be.
        """
        for wanted in plan.inputs:
            self.fds[wanted.slot] = self._open(wanted)
        return [self.fds[wanted.slot] for wanted in plan.inputs]

    def _open(self, wanted: "Input") -> int:
        kind, path = wanted.kind, wanted.path
        try:
            if kind == "fifo":
                return posix.open(f"{self.directory}/{path}", posix.O_RDWR | CLOEXEC)
            if kind == "memfd":
                return native.memfd(wanted.slot)
            if kind == "pidfd":
                return posix.dup(self.given[wanted.slot])
            if kind == "namespace":
                return open_namespace(wanted)
            if kind == "tree":
                return clone_tree(wanted)
            if kind == "node":
                return make_node(wanted, f"{self.directory}/device{len(self.fds)}")
            return user_namespace(wanted)
        except OSError as error:
            raise wrap(f"opening {path or wanted.slot}", error, wanted.origin) from error

    def close(self) -> None:
        """Let go of all of them."""
        for fd in self.fds.values():
            posix.close(fd)
        self.fds = {}


def open_namespace(wanted: "Input") -> int:
    """Open a namespace by path, and check that it is of the type that the configuration says."""
    fd = posix.open(wanted.path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | CLOEXEC)
    found = native.lib.pyoci_ns_type(fd)
    wrong = ""
    if found != NAMESPACES[wanted.detail]:
        kinds = {flag: kind for kind, flag in NAMESPACES.items()}
        what = f"a {kinds[found]} namespace" if found in kinds else "no namespace"
        wrong = f"{wanted.path} is {what}, not one of type {wanted.detail}"
    elif wanted.changes and is_of_the_host(fd, NAMESPACE_FILES[wanted.detail]):
        wrong = f"{wanted.path} is the host's {wanted.detail} namespace, whose {wanted.changes} would be changed"
    if wrong:
        posix.close(fd)
        raise ConfigError("config.json", [Problem(pointer=wanted.origin, message=wrong)])
    return fd


def is_of_the_host(fd: int, name: str) -> bool:
    """Tell whether a namespace, of the kind with that name in /proc, is our own or that of process 1."""
    found = posix.fstat(fd)
    for pid in ("self", "1"):
        try:
            known = posix.stat(f"/proc/{pid}/ns/{name}")
        except OSError:  # what an ordinary user may not look at he may not join either
            continue
        if (known.st_dev, known.st_ino) == (found.st_dev, found.st_ino):
            return True
    return False


def clone_tree(wanted: "Input") -> int:
    """Make the detached clone of a host path here, where the stage could not."""
    flags = ("recursive" in wanted.detail) | ("nofollow" in wanted.detail) << 1
    step = Step(
        op="OP_OPEN_TREE",
        what=f"opening {wanted.path}",
        origin=wanted.origin,
        slot="tree",
        flags=flags,
        strings={"a": wanted.path},
    )
    return native.run_steps(Plan(clone_flags=0, inputs=[], steps=[step]), [])[0]


def make_node(wanted: "Input", path: str) -> int:
    """Make a device node at *path* and give a detached mount of it.

    The name stays, in the container's directory, until that is removed: a mount of a node without a name cannot be
    attached, here or by a runtime in the container.
    Where pyoci may make none, as inside another container, the host's own node is taken, if it is the same device.
    """
    mode, number, uid, gid = map(int, wanted.detail.split())
    try:
        posix.mknod(path, mode, number)
    except PermissionError:
        found = posix.stat(wanted.path)
        if (found.st_mode & S_IFMT, found.st_rdev) != (mode & S_IFMT, number):
            raise
        path, cleared = wanted.path, 0
    else:
        posix.chown(path, uid, gid)
        posix.chmod(path, mode & 0o7777)
        cleared = NODEV
    # The mount is one where devices work, even if the state directory is on one where they do not, and nothing that is
    # mounted over it in the container shows here.
    what = f"making the device {wanted.path}"
    attributes = {"m": cleared, "a": PROPAGATION["private"]}
    steps = [
        Step(op="OP_OPEN_TREE", what=what, origin=wanted.origin, slot="tree", flags=2, strings={"a": path}),
        Step(op="OP_SETATTR", what=what, origin=wanted.origin, slot="tree", numbers=attributes),
    ]
    return native.run_steps(Plan(clone_flags=0, inputs=[], steps=steps), [])[0]


def user_namespace(wanted: "Input") -> int:
    """Make a user namespace for the id mappings of a mount: a stage enters it, hidden, and ends once it is open.

    It must not be executed there: who owns a user namespace may look into all that is executed in it.
    """
    uids, gids = ([parse_mapping(text) for text in line.split()] for line in wanted.maps.split("\n"))
    what = "making the user namespace of a mount's id mappings"
    steps = [
        *([Step(op="OP_DUMPABLE", what=what, numbers={"n": 0})] if posix.geteuid() == 0 else []),
        Step(op="OP_UNSHARE", what=what, origin=wanted.origin, numbers={"n": NAMESPACES["user"]}),
        Step(op="OP_SEND_USER", what=what, origin=wanted.origin),
        Step(op="OP_BARRIER", what=what, numbers={"a": native.lib.BARRIER_MAPS}),
    ]
    stage = native.Stage.spawn(0, None, 0)
    try:
        stage.send(native.encode(Plan(clone_flags=0, inputs=[], steps=steps)), [])
        report = stage.receive()
        if report is None or report.kind != native.lib.REPORT_FD:
            raise KernelError(what, report.err if report else errno.EPIPE, wanted.origin)
        try:
            idmap.write_maps(stage.pid, uids, gids)
        except BaseException:
            posix.close(report.fd)
            raise
        return report.fd
    finally:
        stage.kill()


def parse_mapping(text: str) -> IDMapping:
    """Read ``containerID:hostID:size``."""
    container, host, size = (int(part) for part in text.split(":"))
    return IDMapping(containerID=container, hostID=host, size=size)


def differing_namespaces(pid: int) -> "frozenset[str]":
    """Tell in which namespaces a process differs from this one.

    Raises:
        Error: the process has gone.
    """
    kinds = set()
    for kind, name in NAMESPACE_FILES.items():
        try:
            ours = posix.stat(f"/proc/self/ns/{name}")
        except FileNotFoundError:
            continue  # this kernel has no such namespaces
        try:
            theirs = posix.stat(f"/proc/{pid}/ns/{name}")
        except FileNotFoundError:
            raise Error("container not running") from None
        if theirs.st_ino != ours.st_ino:
            kinds.add(kind)
    return frozenset(kinds)
