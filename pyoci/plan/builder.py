"""What the parts of the plan share: what is asked for, what the host is like, and the list that grows.

The functions beside this file take a Builder, read ``builder.config`` and append steps in order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyoci.cgroups.layout import Layout
from pyoci.config.annotations import KEEP_GROUPS
from pyoci.config.model import Config
from pyoci.operations import Operation
from pyoci.plan.steps import Filter, Input, Plan, Step, Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the command line asks for, beyond config.json.

    bundle and rootfs are absolute; preserveFds counts the descriptors behind 2 that the program gets;
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
    """What the plan must know of the host.

    privileged: pyoci has CAP_SYS_ADMIN in its user namespace; euid: its user; layout: where the cgroup hierarchies are.
    initial: its user namespace is the host's, else no device node can be made; foreign: which of its own namespaces
    (network, ipc, cgroup, mount) belong to another user namespace, so that their file systems cannot be mounted.
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
    """A plan in the making."""

    def __init__(self, config: Config, request: Request, facts: Facts) -> None:
        self.config = config
        self.request = request
        self.facts = facts
        self.clone_flags = 0
        self.helper = False  # a process with the credentials from before a user namespace helps, see namespaces.enter()
        self.inputs: list[Input] = []
        self.writes: list[Write] = []
        self.steps: list[Step] = []
        self.new: set[str] = set()
        self.joined: set[str] = set()
        # By slot: its name holds the index of a setting, never a text of the configuration.
        self.sources: dict[str, str] = {}
        self.given: set[str] = set()
        # By slot: what makes a mount read-only once nothing is mounted or made below it any more.
        self.late: dict[str, Step] = {}

    def is_foreign(self) -> bool:
        """Return whether the container has another user namespace than pyoci."""
        return "user" in self.new | self.joined

    def makes_nodes(self) -> bool:
        """Return whether the container's own processes may make device nodes: only in the host's user namespace."""
        return self.facts.initial and not self.is_foreign()

    def owns(self, kind: str) -> bool:
        """Return whether the container's user namespace owns its namespace of a kind; where both are joined it may."""
        if kind in self.new or (kind in self.joined and "user" not in self.new):
            return True
        return not self.is_foreign() and kind not in self.facts.foreign

    def keeps_groups(self) -> bool:
        """Return whether the caller's groups stay: an ordinary user's, who asks for it.

        The groups of the host's root are not for a container; others cannot give more than they have.
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
        """Return what was collected."""
        return Plan(clone_flags=self.clone_flags, inputs=self.inputs, steps=self.steps, writes=self.writes)
