"""linux.resources as values for the files of cgroup v1; kernel, admin-guide/cgroup-v1/.

Pure functions.  A memory limit, share, quota, period or weight of 0 means "unset", because some callers write that; for
pids 0 is a limit.  "Unlimited" is not an error on a host that lacks the controller.
"""

import errno
from collections.abc import Container, Iterator

from pyoci.cgroups.v2 import RESOURCES, rdma
from pyoci.cgroups.writes import Write
from pyoci.config.resources import CPU, BlockIO, Resources

ABSENT = (errno.ENOENT,)
LIMIT = "memory.limit_in_bytes"
SWAP = "memory.memsw.limit_in_bytes"


def writes(
    resources: Resources, controllers: Container[str] | None = None, memory_limit: int | None = None
) -> list[Write]:
    """Return the writes for the given controllers (all by default), in order.

    memory_limit is the current memory limit in bytes, None for that of a new cgroup, which is unlimited.  The kernel
    does not accept a memory limit above that of memory and swap together, so it decides which of the two comes first.
    """
    found: list[Write] = []
    for controller, section in SECTIONS.items():
        if controllers is None or controller in controllers:
            found += _limits(resources, memory_limit) if controller == "memory" else ()
            found += section(resources)
    return found


def _limits(resources: Resources, present: int | None) -> list[Write]:
    """Return the limits of memory, and of memory and swap, in the order that the kernel accepts."""
    memory = resources.memory
    if memory is None:
        return []
    at = f"{RESOURCES}/memory"
    found = []
    if memory.limit:
        found.append(
            Write(
                controller="memory",
                file=LIMIT,
                value=str(memory.limit),
                pointer=f"{at}/limit",
                tolerated=ABSENT if memory.limit == -1 else (),
            )
        )
    swap, pointer = memory.swap, f"{at}/swap"
    if memory.limit == -1 and not swap:
        swap, pointer = -1, f"{at}/limit"  # unlimited memory needs unlimited memory and swap
    if swap:
        # Without swap accounting swap is unlimited, which is what -1 means.
        both = Write(
            controller="memory",
            file=SWAP,
            value=str(swap),
            pointer=pointer,
            tolerated=ABSENT if swap == -1 else (),
        )
        grows = swap == -1 or (present is not None and swap > present)
        found.insert(0 if grows else len(found), both)
    return found


def _memory(resources: Resources) -> Iterator[Write]:
    memory = resources.memory
    if memory is None:
        return
    values = [
        ("memory.soft_limit_in_bytes", memory.reservation or None, "reservation"),
        ("memory.kmem.limit_in_bytes", memory.kernel or None, "kernel"),
        ("memory.kmem.tcp.limit_in_bytes", memory.kernelTCP or None, "kernelTCP"),
        ("memory.swappiness", memory.swappiness, "swappiness"),
    ]
    for file, value, name in values:
        if value is not None:
            # In kernels without a limit for kernel memory it is unlimited, which is what -1 means.
            tolerated = (errno.ENOENT, errno.EOPNOTSUPP) if value == -1 else ()
            yield Write(
                controller="memory",
                file=file,
                value=str(value),
                pointer=f"{RESOURCES}/memory/{name}",
                tolerated=tolerated,
            )
    if memory.disableOOMKiller is not None:
        yield Write(
            controller="memory",
            file="memory.oom_control",
            value=str(int(memory.disableOOMKiller)),
            pointer=f"{RESOURCES}/memory/disableOOMKiller",
            tolerated=() if memory.disableOOMKiller else ABSENT,
        )
    if memory.useHierarchy is False:  # the kernel will refuse it: since 5.11 only true is possible
        yield Write(
            controller="memory",
            file="memory.use_hierarchy",
            value="0",
            pointer=f"{RESOURCES}/memory/useHierarchy",
        )


def _cpu(resources: Resources) -> Iterator[Write]:
    cpu = resources.cpu
    if cpu is None:
        return
    at = f"{RESOURCES}/cpu"
    if cpu.idle is not None:
        yield Write(
            controller="cpu",
            file="cpu.idle",
            value=str(cpu.idle),
            pointer=f"{at}/idle",
            tolerated=() if cpu.idle else ABSENT,
        )
    if cpu.shares and not cpu.idle:  # the kernel refuses to set the weight of an idle cgroup
        yield Write(controller="cpu", file="cpu.shares", value=str(cpu.shares), pointer=f"{at}/shares")
    yield from _bandwidth(cpu, at)


def _bandwidth(cpu: CPU, at: str) -> Iterator[Write]:
    """Return values that the kernel checks against each other, so that either order may be the accepted one."""
    unlimited = (cpu.quota or 0) < 0  # the period is irrelevant then
    for file, value, name in (
        ("cpu.cfs_period_us", cpu.period or None, "period"),
        ("cpu.cfs_quota_us", cpu.quota or None, "quota"),
        ("cpu.cfs_burst_us", cpu.burst, "burst"),
        ("cpu.rt_period_us", cpu.realtimePeriod or None, "realtimePeriod"),
        ("cpu.rt_runtime_us", cpu.realtimeRuntime or None, "realtimeRuntime"),
    ):
        if value is not None:
            yield Write(
                controller="cpu",
                file=file,
                value=str(value),
                pointer=f"{at}/{name}",
                postponed=True,
                tolerated=ABSENT if value <= 0 or unlimited and name == "period" else (),
            )


def _cpuset(resources: Resources) -> Iterator[Write]:
    cpu = resources.cpu
    if cpu is None:
        return
    for name, value in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        if value:
            yield Write(
                controller="cpuset", file=f"cpuset.{name}", value=value, pointer=f"{RESOURCES}/cpu/{name}"
            )


def _blkio(resources: Resources) -> Iterator[Write]:
    block = resources.blockIO
    if block is None:
        return
    at = f"{RESOURCES}/blockIO"
    if block.weight:
        yield _weight("weight", str(block.weight), f"{at}/weight")
    if block.leafWeight:
        yield Write(
            controller="blkio",
            file="blkio.leaf_weight",
            value=str(block.leafWeight),
            pointer=f"{at}/leafWeight",
        )
    for index, device in enumerate(block.weightDevice):
        numbers, pointer = f"{device.major}:{device.minor}", f"{at}/weightDevice/{index}"
        if device.weight:
            yield _weight("weight_device", f"{numbers} {device.weight}", f"{pointer}/weight")
        if device.leafWeight:
            yield Write(
                controller="blkio",
                file="blkio.leaf_weight_device",
                value=f"{numbers} {device.leafWeight}",
                pointer=f"{pointer}/leafWeight",
            )
    yield from _throttles(block)


def _weight(file: str, value: str, pointer: str) -> Write:
    """Return a weight for the scheduler bfq, or for cfq of older kernels."""
    older = Write(controller="blkio", file=f"blkio.{file}", value=value, pointer=pointer)
    return Write(controller="blkio", file=f"blkio.bfq.{file}", value=value, pointer=pointer, instead=older)


def _throttles(block: BlockIO) -> Iterator[Write]:
    for name, file, devices in (
        ("throttleReadBpsDevice", "read_bps_device", block.throttleReadBpsDevice),
        ("throttleWriteBpsDevice", "write_bps_device", block.throttleWriteBpsDevice),
        ("throttleReadIOPSDevice", "read_iops_device", block.throttleReadIOPSDevice),
        ("throttleWriteIOPSDevice", "write_iops_device", block.throttleWriteIOPSDevice),
    ):
        for index, device in enumerate(devices):
            yield Write(
                controller="blkio",
                file=f"blkio.throttle.{file}",
                value=f"{device.major}:{device.minor} {device.rate}",
                pointer=f"{RESOURCES}/blockIO/{name}/{index}",
                tolerated=() if device.rate else ABSENT,
            )


def _pids(resources: Resources) -> Iterator[Write]:
    if resources.pids is not None and resources.pids.limit is not None:
        limit = resources.pids.limit
        yield Write(
            controller="pids",
            file="pids.max",
            value="max" if limit < 0 else str(limit),
            pointer=f"{RESOURCES}/pids/limit",
            tolerated=ABSENT if limit < 0 else (),
        )


def _hugetlb(resources: Resources) -> Iterator[Write]:
    """Return limits of reservations, if the kernel has them (rsvd), and of page faults."""
    for index, limit in enumerate(resources.hugepageLimits):
        pointer = f"{RESOURCES}/hugepageLimits/{index}/limit"
        value = str(limit.limit)
        yield Write(
            controller="hugetlb",
            file=f"hugetlb.{limit.pageSize}.rsvd.limit_in_bytes",
            value=value,
            pointer=pointer,
            tolerated=ABSENT,
        )
        yield Write(
            controller="hugetlb",
            file=f"hugetlb.{limit.pageSize}.limit_in_bytes",
            value=value,
            pointer=pointer,
        )


def _net_cls(resources: Resources) -> Iterator[Write]:
    if resources.network is not None and resources.network.classID:
        yield Write(
            controller="net_cls",
            file="net_cls.classid",
            value=str(resources.network.classID),
            pointer=f"{RESOURCES}/network/classID",
        )


def _net_prio(resources: Resources) -> Iterator[Write]:
    if resources.network is None:
        return
    for index, interface in enumerate(resources.network.priorities):
        yield Write(
            controller="net_prio",
            file="net_prio.ifpriomap",
            value=f"{interface.name} {interface.priority}",
            pointer=f"{RESOURCES}/network/priorities/{index}",
        )


# pids comes last: with a limit of 0 or 1 pyoci could not fork any more.
SECTIONS = {
    "cpuset": _cpuset,
    "cpu": _cpu,
    "blkio": _blkio,
    "memory": _memory,
    "hugetlb": _hugetlb,
    "net_cls": _net_cls,
    "net_prio": _net_prio,
    "rdma": rdma,
    "pids": _pids,
}
