"""Opening the inputs of a plan on the host side, in order; what becomes slots 0 and up."""

import posix

from pyoci import native
from pyoci.config.model import IDMapping
from pyoci.config.tables import NAMESPACE_FILES, NAMESPACES
from pyoci.errors import ConfigError, Error, Problem, wrap
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
    elif wanted.detail == "mount" and is_of_the_host(fd):
        wrong = f"{wanted.path} is the host's mount namespace, whose root would be changed"
    if wrong:
        posix.close(fd)
        raise ConfigError("config.json", [Problem(pointer=wanted.origin, message=wrong)])
    return fd


def is_of_the_host(fd: int) -> bool:
    """Tell whether a mount namespace is our own or that of process 1."""
    found = posix.fstat(fd)
    for pid in ("self", "1"):
        try:
            known = posix.stat(f"/proc/{pid}/ns/mnt")
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
    tree = native.run_steps(Plan(clone_flags=0, inputs=[], steps=[step]), [])[0]
    if wanted.maps:
        try:
            map_tree(wanted, tree)
        except BaseException:
            posix.close(tree)
            raise
    return tree


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
        return clone_tree(wanted)
    posix.chown(path, uid, gid)
    posix.chmod(path, mode & 0o7777)
    # The mount is one where devices work, even if the state directory is on one where they do not.
    what = f"making the device {wanted.path}"
    steps = [
        Step(op="OP_OPEN_TREE", what=what, origin=wanted.origin, slot="tree", flags=2, strings={"a": path}),
        Step(op="OP_SETATTR", what=what, origin=wanted.origin, slot="tree", numbers={"m": NODEV}),
    ]
    return native.run_steps(Plan(clone_flags=0, inputs=[], steps=steps), [])[0]


def map_tree(wanted: "Input", tree: int) -> None:
    """Give a detached mount its id mappings; a stage in a user namespace has not the right to."""
    namespace = user_namespace(wanted)
    step = Step(
        op="OP_SETATTR",
        what=f"mapping the ids of {wanted.path}",
        origin=wanted.origin,
        slot="tree",
        flags="ridmap" in wanted.detail,
        slots={"b": "ids"},
        hints={22: "the file system does not support id-mapped mounts"},
    )
    inputs = [Input(slot=slot, kind="descriptor") for slot in ("tree", "ids")]
    try:
        native.run_steps(Plan(clone_flags=0, inputs=inputs, steps=[step]), [tree, namespace])
    finally:
        posix.close(namespace)


def user_namespace(wanted: "Input") -> int:
    """Make a user namespace for the id mappings of a mount: a stage is born in it, and ends once it is open."""
    uids, gids = ([parse_mapping(text) for text in line.split()] for line in wanted.maps.split("\n"))
    stage = native.Stage.spawn(NAMESPACES["user"], None, 0)
    try:
        idmap.write_maps(stage.pid, uids, gids)
        return posix.open(f"/proc/{stage.pid}/ns/user", posix.O_RDONLY | CLOEXEC)
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
