"""linux.resources as values for the files of cgroup v2; kernel, admin-guide/cgroup-v2.rst.

Pure functions.  The specification describes resources in terms of v1: what v2 can express is converted, the rest is an
error (config-linux.md#unified).  A memory limit, share, quota, period or weight of 0 means "unset", because some
callers write that; for pids 0 is a limit.  "Unlimited" is not an error on a host that lacks the controller.
"""

import errno
from collections.abc import Container, Iterator

from pyoci.cgroups.writes import Write
from pyoci.config.readers import escaped
from pyoci.config.resources import CPU, BlockIO, Memory, Resources
from pyoci.errors import ConfigError, Problem

RESOURCES = "/linux/resources"
# What the files of v2 have for "unlimited".
MAX = "max"
ABSENT = (errno.ENOENT,)


def writes(
    resources: Resources, controllers: Container[str] | None = None, cpu_max: str = MAX
) -> list[Write]:
    """Return the writes for the given controllers (all by default), in order.

    cpu_max is the current content of cpu.max: if only the period is given, the quota must not change.

    Raises:
        ConfigError: v2 cannot express a setting.
    """
    found: list[Write] = []
    for controller, section in SECTIONS.items():
        if controllers is None or controller in controllers:
            found += section(resources, cpu_max)
    return found


def unconvertible(pointer: str, message: str) -> ConfigError:
    """Return the error for a setting below linux.resources."""
    return ConfigError("config.json", [Problem(pointer=f"{RESOURCES}{pointer}", message=message)])


def unavailable(write: Write) -> ConfigError:
    """Return the error for a line of ``unified`` whose controller the cgroup lacks."""
    message = f"the controller {write.controller!r} of cgroup v2 is not available to this container"
    return ConfigError("config.json", [Problem(pointer=write.pointer, message=message)])


def number(value: int) -> str:
    """Return a limit in the syntax of v2; a negative one is unlimited."""
    return MAX if value < 0 else str(value)


def _memory(resources: Resources, _cpu_max: str) -> Iterator[Write]:
    memory = resources.memory
    if memory is None:
        return
    _refuse_memory(memory)
    at = f"{RESOURCES}/memory"
    swap = swap_max(memory)
    if swap is not None:
        # Without swap accounting there is neither swap nor a limit.
        absent = ABSENT if swap in (MAX, "0") else ()
        pointer = f"{at}/swap" if memory.swap else f"{at}/limit"
        yield Write(
            controller="memory", file="memory.swap.max", value=swap, pointer=pointer, tolerated=absent
        )
    for file, value, name in (
        ("memory.max", memory.limit, "limit"),
        ("memory.low", memory.reservation, "reservation"),
    ):
        if value:
            yield Write(
                controller="memory",
                file=file,
                value=number(value),
                pointer=f"{at}/{name}",
                tolerated=ABSENT if value < 0 else (),
            )


def swap_max(memory: Memory) -> str | None:
    """Return the limit of swap alone, from that of memory and swap together (v1); None means no change.

    Raises:
        ConfigError: it is less than the memory limit, or there is no memory limit to subtract.
    """
    limit, swap = memory.limit or 0, memory.swap or 0
    if not swap:
        return MAX if limit == -1 else None
    if swap < 0:
        return MAX
    if not limit:
        raise unconvertible("/memory/swap", "swap needs a memory limit: it counts memory and swap together")
    if limit < 0 or swap < limit:
        raise unconvertible("/memory/swap", f"swap {swap} must not be less than the memory limit {limit}")
    return str(swap - limit)


def _refuse_memory(memory: Memory) -> None:
    """Refuse settings that v2 does not have, except values that are how v2 always behaves."""
    for name, is_set in (
        ("kernel", (memory.kernel or 0) > 0),
        ("kernelTCP", (memory.kernelTCP or 0) > 0),
        ("swappiness", memory.swappiness is not None),
        ("disableOOMKiller", bool(memory.disableOOMKiller)),
        ("useHierarchy", memory.useHierarchy is False),
    ):
        if is_set:
            raise unconvertible(f"/memory/{name}", f"{name} has no equivalent in cgroup v2")


def _cpu(resources: Resources, cpu_max: str) -> Iterator[Write]:
    cpu = resources.cpu
    if cpu is None:
        return
    for name, value in (("realtimeRuntime", cpu.realtimeRuntime), ("realtimePeriod", cpu.realtimePeriod)):
        if value:
            raise unconvertible(f"/cpu/{name}", f"{name} has no equivalent in cgroup v2")
    at = f"{RESOURCES}/cpu"
    if cpu.idle is not None:
        # Kernels before 5.15 do not have this file; no cgroup is idle there.
        absent = () if cpu.idle else ABSENT
        yield Write(
            controller="cpu", file="cpu.idle", value=str(cpu.idle), pointer=f"{at}/idle", tolerated=absent
        )
    if cpu.shares and not cpu.idle:  # the kernel refuses to set the weight of an idle cgroup
        yield Write(
            controller="cpu", file="cpu.weight", value=str(weight(cpu.shares)), pointer=f"{at}/shares"
        )
    bandwidth = _bandwidth(cpu, cpu_max)
    if bandwidth:
        yield Write(
            controller="cpu",
            file="cpu.max",
            value=bandwidth,
            pointer=f"{at}/quota" if cpu.quota else f"{at}/period",
            tolerated=ABSENT if (cpu.quota or 0) < 0 else (),
            postponed=True,
        )
    if cpu.burst is not None:
        absent = () if cpu.burst else ABSENT
        yield Write(
            controller="cpu",
            file="cpu.max.burst",
            value=str(cpu.burst),
            pointer=f"{at}/burst",
            tolerated=absent,
            postponed=True,
        )


def _bandwidth(cpu: CPU, cpu_max: str) -> str:
    """Return the value for cpu.max, "" for no change; a value without a period keeps the period."""
    present = [*cpu_max.split(), MAX][0]
    quota = number(cpu.quota) if cpu.quota else present
    if cpu.period:
        return f"{quota} {cpu.period}"
    return quota if cpu.quota else ""


def weight(shares: int) -> int:
    """Convert cpu.shares (2 to 262144, default 1024) to cpu.weight (1 to 10000, default 100).

    As in runc and crun the curve through (2, 1), (1024, 100) and (262144, 10000) is quadratic in the logarithms:
    10 ** ((l² + 125·l) / 612 - 7 / 34) with l = log2(shares), rounded up.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    logarithm = log2(shares)
    power: float = 10.0 ** ((logarithm**2 + 125 * logarithm - 126) / 612)
    return int(power) + (power > int(power))


def log2(value: int) -> float:
    """Return the binary logarithm of a positive number; the module math would add 250 KiB to the static file."""
    whole = value.bit_length() - 1
    rest = value / (1 << whole)
    result, bit = float(whole), 0.5
    for _ in range(52):
        rest *= rest
        if rest >= 2:
            rest /= 2
            result += bit
        bit /= 2
    return result


def _cpuset(resources: Resources, _cpu_max: str) -> Iterator[Write]:
    cpu = resources.cpu
    if cpu is None:
        return
    for name, value in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        if value:
            yield Write(
                controller="cpuset", file=f"cpuset.{name}", value=value, pointer=f"{RESOURCES}/cpu/{name}"
            )


def _io(resources: Resources, _cpu_max: str) -> Iterator[Write]:
    block = resources.blockIO
    if block is None:
        return
    if block.leafWeight:
        raise unconvertible("/blockIO/leafWeight", "leafWeight has no equivalent in cgroup v2")
    at = f"{RESOURCES}/blockIO"
    if block.weight:
        yield _io_weight("", block.weight, f"{at}/weight")
    for index, device in enumerate(block.weightDevice):
        if device.leafWeight:
            raise unconvertible(
                f"/blockIO/weightDevice/{index}/leafWeight", "leafWeight has no equivalent in cgroup v2"
            )
        if device.weight:
            yield _io_weight(
                f"{device.major}:{device.minor} ", device.weight, f"{at}/weightDevice/{index}/weight"
            )
    yield from _throttles(block)


def _io_weight(device: str, value: int, pointer: str) -> Write:
    """Return the weight for the scheduler bfq (1 to 1000), or else converted for io.weight (1 to 10000)."""
    converted = 1 + max(value - 10, 0) * 9999 // 990
    instead = Write(
        controller="io", file="io.weight", value=f"{device or 'default '}{converted}", pointer=pointer
    )
    return Write(
        controller="io", file="io.bfq.weight", value=f"{device}{value}", pointer=pointer, instead=instead
    )


def _throttles(block: BlockIO) -> Iterator[Write]:
    for name, key, devices in (
        ("throttleReadBpsDevice", "rbps", block.throttleReadBpsDevice),
        ("throttleWriteBpsDevice", "wbps", block.throttleWriteBpsDevice),
        ("throttleReadIOPSDevice", "riops", block.throttleReadIOPSDevice),
        ("throttleWriteIOPSDevice", "wiops", block.throttleWriteIOPSDevice),
    ):
        for index, device in enumerate(devices):
            rate = str(device.rate) if device.rate else MAX  # 0 removes the limit in v1
            yield Write(
                controller="io",
                file="io.max",
                value=f"{device.major}:{device.minor} {key}={rate}",
                pointer=f"{RESOURCES}/blockIO/{name}/{index}",
                tolerated=() if device.rate else ABSENT,
            )


def _pids(resources: Resources, _cpu_max: str) -> Iterator[Write]:
    if resources.pids is not None and resources.pids.limit is not None:
        yield Write(
            controller="pids",
            file="pids.max",
            value=number(resources.pids.limit),
            pointer=f"{RESOURCES}/pids/limit",
            tolerated=ABSENT if resources.pids.limit < 0 else (),
        )


def _hugetlb(resources: Resources, _cpu_max: str) -> Iterator[Write]:
    """Return limits of reservations, if the kernel has them (rsvd), and of page faults."""
    for index, limit in enumerate(resources.hugepageLimits):
        pointer = f"{RESOURCES}/hugepageLimits/{index}/limit"
        value = str(limit.limit)
        yield Write(
            controller="hugetlb",
            file=f"hugetlb.{limit.pageSize}.rsvd.max",
            value=value,
            pointer=pointer,
            tolerated=ABSENT,
        )
        yield Write(controller="hugetlb", file=f"hugetlb.{limit.pageSize}.max", value=value, pointer=pointer)


def _rdma(resources: Resources, _cpu_max: str) -> Iterator[Write]:
    yield from rdma(resources)


def rdma(resources: Resources) -> Iterator[Write]:
    """Return the lines of rdma.max, which are the same in v1 and v2."""
    for device, limit in resources.rdma.items():
        words = [
            f"{key}={value}"
            for key, value in (("hca_handle", limit.hcaHandles), ("hca_object", limit.hcaObjects))
            if value is not None
        ]
        pointer = f"{RESOURCES}/rdma/{escaped(device)}"
        yield Write(controller="rdma", file="rdma.max", value=" ".join((device, *words)), pointer=pointer)


def _network(resources: Resources, _cpu_max: str) -> Iterator[Write]:
    network = resources.network
    if network is not None and network.classID:
        raise unconvertible("/network/classID", "classID needs the v1 controller net_cls")
    if network is not None and network.priorities:
        raise unconvertible("/network/priorities", "priorities need the v1 controller net_prio")
    return iter(())


def unified(resources: Resources) -> list[Write]:
    """Return the writes of ``unified``, one for each line of a value: some files accept only one line per write(2).

    Raises:
        ConfigError: a key is not the name of a controller's file.
    """
    found = []
    for file, value in resources.unified.items():
        if not file or "/" in file or file in (".", ".."):
            raise unconvertible(
                f"/unified/{escaped(file)}", "the key must be the name of a file in the cgroup"
            )
        if "." not in file.strip("."):
            raise unconvertible(
                f"/unified/{escaped(file)}", "the key must begin with a controller and a dot, as memory.high does"
            )
        found += [
            Write(
                controller=file.partition(".")[0],
                file=file,
                value=line,
                pointer=f"{RESOURCES}/unified/{escaped(file)}",
            )
            for line in value.strip("\n").split("\n")
        ]
    return found


# pids comes last: with a limit of 0 or 1 pyoci could not fork any more.
SECTIONS = {
    "cpuset": _cpuset,
    "cpu": _cpu,
    "io": _io,
    "memory": _memory,
    "hugetlb": _hugetlb,
    "rdma": _rdma,
    "net_cls": _network,
    "pids": _pids,
}
