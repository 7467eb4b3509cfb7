"""The plan under construction, and what the planner knows besides the configuration.

The other modules of this package take a Builder, read ``builder.config`` and append steps in order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pyoci.cgroups.layout import Layout
from pyoci.config.annotations import KEEP_GROUPS
from pyoci.config.model import Config
from pyoci.operations import Operation
from pyoci.plan.options import Options, parse_options
from pyoci.steps import Filter, Input, Plan, Step, Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The caller's wishes beyond config.json.

    bundle and rootfs are absolute paths; preserveFds is the number of descriptors behind 2 that the program inherits;
    cgroupPaths maps a v1 controller (or "" for v2) to the container's directory, for mounts of type cgroup; filter is
    the configuration's seccomp filter, compiled.
    """

    id: str
    bundle: str
    rootfs: str
    noPivot: bool = False
    noNewKeyring: bool = False
    preserveFds: int = 0
    extraEnv: list[str] = field(default_factory=list)
    cgroupPaths: Mapping[str, str] = field(default_factory=dict)
    filter: Filter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts about the host and about pyoci's own process.

    privileged: pyoci has CAP_SYS_ADMIN in its user namespace.
    euid: pyoci's effective user.
    layout: the mount points of the cgroup hierarchies.
    initial: pyoci runs in the host's user namespace; in any other the kernel lets nobody make a device node.
    foreign: those of pyoci's namespaces (network, ipc, cgroup, mount) that belong to another user namespace, so that
    pyoci cannot mount their file systems.
    """

    privileged: bool
    euid: int
    layout: Layout
    initial: bool = True
    foreign: tuple[str, ...] = ()

    def is_host_root(self) -> bool:
        """Return whether pyoci is root, and not only of a user namespace."""
        return self.euid == 0 and self.initial


class Builder:
    """A plan under construction.

    helper: a process with pyoci's credentials stays behind to open mounts, see namespaces.enter().
    new, joined: the types of namespaces that the container gets, and that it joins by a path.
    sources: the path of each source that is open, by its slot.
    given: the slots that the host side fills.
    late: by slot, the step that makes a mount read-only once nothing is mounted or created below it any more.

    Slots are named after an index of the configuration, never after a string that it chooses.
    """

    def __init__(self, config: Config, request: Request, facts: Facts) -> None:
        self.config = config
        self.request = request
        self.facts = facts
        self.clone_flags = 0
        self.helper = False
        self.inputs: list[Input] = []
        self.writes: list[Write] = []
        self.steps: list[Step] = []
        self.new: set[str] = set()
        self.joined: set[str] = set()
        self.sources: dict[str, str] = {}
        self.given: set[str] = set()
        self.late: dict[str, Step] = {}

    @cached_property
    def mount_options(self) -> list[Options]:
        """The sorted options of each mount of the configuration."""
        return [parse_options(mount.options) for mount in self.config.mounts]

    def is_foreign(self) -> bool:
        """Return whether the container has another user namespace than pyoci."""
        return "user" in self.new | self.joined

    def makes_nodes(self) -> bool:
        """Return whether processes of the container may make device nodes: they need the host's user namespace."""
        return self.facts.initial and not self.is_foreign()

    def owns(self, kind: str) -> bool:
        """Return whether the container's user namespace owns its namespace of this type, as far as can be known.

        If the container joins both, they may belong together.
        """
        if kind in self.new or (kind in self.joined and "user" not in self.new):
            return True
        return not self.is_foreign() and kind not in self.facts.foreign

    def keeps_groups(self) -> bool:
        """Return whether the process keeps the caller's additional groups, as an annotation asks.

        The groups of the host's root are not for a container; any other user only hands on what it has.
        """
        return self.config.annotations.get(KEEP_GROUPS) == "1" and not self.facts.is_host_root()

    def add(
        self,
        operation: Operation,
        what: str,
        origin: str = "",
        *,
        subject: str = "",
        hints: Mapping[int, str] | None = None,
    ) -> None:
        """Append a step."""
        self.steps.append(Step(operation=operation, what=what, origin=origin, subject=subject, hints=hints or {}))

    def give(self, wanted: Input) -> str:
        """Ask the host side for a descriptor; return the name of the slot that it fills."""
        self.inputs.append(wanted)
        self.given.add(wanted.slot)
        return wanted.slot

    def plan(self) -> Plan:
        """Return the finished plan."""
        return Plan(clone_flags=self.clone_flags, inputs=self.inputs, steps=self.steps, writes=self.writes)
