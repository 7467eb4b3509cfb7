"""linux.resources as dataclasses (config-linux.md#control-groups); see pyoci.config.model."""

from dataclasses import dataclass

from pyoci.members import Members


@dataclass(frozen=True, kw_only=True)
class DeviceCgroup:
    """A device rule; type None means a, major and minor None or -1 match any number, access None or "" means rwm."""

    allow: bool
    type: str | None = None
    major: int | None = None
    minor: int | None = None
    access: str | None = None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory limits in bytes, -1 is unlimited; swap is the limit of memory and swap together."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernelTCP: int | None = None
    swappiness: int | None = None
    disableOOMKiller: bool | None = None
    useHierarchy: bool | None = None
    checkBeforeUpdate: bool | None = None


@dataclass(frozen=True, kw_only=True)
class CPU:
    """CPU limits; quota, burst, period and the realtime members are in microseconds."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtimeRuntime: int | None = None
    realtimePeriod: int | None = None
    cpus: str | None = None
    mems: str | None = None
    idle: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pids:
    """The maximum number of tasks; -1 is unlimited, 0 is a limit."""

    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class WeightDevice:
    """Weight of one block device."""

    major: int
    minor: int
    weight: int | None = None
    leafWeight: int | None = None


@dataclass(frozen=True, kw_only=True)
class ThrottleDevice:
    """Rate limit of one block device, in bytes or operations per second."""

    major: int
    minor: int
    rate: int


@dataclass(frozen=True, kw_only=True)
class BlockIO:
    """Weights and rate limits of block devices; some callers write a weight of 0 for unset."""

    weight: int | None = None
    leafWeight: int | None = None
    weightDevice: tuple[WeightDevice, ...] = ()
    throttleReadBpsDevice: tuple[ThrottleDevice, ...] = ()
    throttleWriteBpsDevice: tuple[ThrottleDevice, ...] = ()
    throttleReadIOPSDevice: tuple[ThrottleDevice, ...] = ()
    throttleWriteIOPSDevice: tuple[ThrottleDevice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HugepageLimit:
    """Limit in bytes for huge pages of one size, such as ``2MB``."""

    pageSize: str
    limit: int


@dataclass(frozen=True, kw_only=True)
class InterfacePriority:
    """Priority of traffic that leaves through one network interface."""

    name: str
    priority: int


@dataclass(frozen=True, kw_only=True)
class Network:
    """The v1 controllers net_cls and net_prio."""

    classID: int | None = None
    priorities: tuple[InterfacePriority, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rdma:
    """Limits of one RDMA device."""

    hcaHandles: int | None = None
    hcaObjects: int | None = None


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Resource limits and device rules of the cgroup; also the document that update --resources reads."""

    devices: tuple[DeviceCgroup, ...] = ()
    memory: Memory | None = None
    cpu: CPU | None = None
    pids: Pids | None = None
    blockIO: BlockIO | None = None
    hugepageLimits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: Members = Members()
    unified: Members = Members()
