"""linux.resources as values for the files of cgroup v2; kernel, admin-guide/cgroup-v2.rst.

Pure functions.  The specification describes resources in the terms of v1; what v2 can express is converted,
the rest is an error (config-linux.md#unified).  A number of 0 is "unset" where some callers write it so:
memory, shares, quota, period, weights.  It is a real limit for pids.  "No limit" is what a host without the
controller gives, too: there it is no error.
"""

import errno

from pyoci.cgroups.writes import Write
from pyoci.config.readers import escaped
from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from pyoci.config.resources import CPU, BlockIO, Memory, Resources

RESOURCES = "/linux/resources"
DEFAULT_PERIOD = "100000"
# Where in cpu.max the quota stands when it is unlimited.
MAX = "max"
ABSENT = (errno.ENOENT,)


def writes(
    resources: "Resources", controllers: "Container[str] | None" = None, cpu_max: str = MAX
) -> "list[Write]":
    """Give what to write, in order, for the given controllers (all by default).

    cpu_max is the present content of the file cpu.max: a period alone must not change the quota.

    Raises:
        ConfigError: a setting that v2 cannot express.
    """
    found: list[Write] = []
    for controller, section in SECTIONS.items():
        if controllers is None or controller in controllers:
            found += section(resources, cpu_max)
    return found


def unconvertible(pointer: str, message: str) -> ConfigError:
    """Make the error for a setting below linux.resources."""
    return ConfigError("config.json", [Problem(pointer=f"{RESOURCES}{pointer}", message=message)])


def unavailable(write: Write) -> ConfigError:
    """Make the error for a line of ``unified`` whose controller the cgroup does not have."""
    message = f"the controller {write.controller!r} of cgroup v2 is not available to this container"
    return ConfigError("config.json", [Problem(pointer=write.pointer, message=message)])


def number(value: int) -> str:
    """Give a limit as v2 writes it: below 0 is unlimited."""
    return MAX if value < 0 else str(value)


def _memory(resources: "Resources", _cpu_max: str) -> "Iterator[Write]":
    memory = resources.memory
    if memory is None:
        return
    _refuse_memory(memory)
    at = f"{RESOURCES}/memory"
    swap = swap_max(memory)
    if swap is not None:
        # Without swap accounting nothing can be swapped, and nothing is limited.
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


def swap_max(memory: "Memory") -> str | None:
    """Convert memory and swap together (v1) to swap alone; None leaves it as it is.

    Raises:
        ConfigError: swap is less than the limit, or there is no limit to subtract.
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


def _refuse_memory(memory: "Memory") -> None:
    """Refuse what v2 does not have; a value that asks for what v2 does anyway is accepted."""
    for name, asked in (
        ("kernel", (memory.kernel or 0) > 0),
        ("kernelTCP", (memory.kernelTCP or 0) > 0),
        ("swappiness", memory.swappiness is not None),
        ("disableOOMKiller", bool(memory.disableOOMKiller)),
        ("useHierarchy", memory.useHierarchy is False),
    ):
        if asked:
            raise unconvertible(f"/memory/{name}", f"{name} has no equivalent in cgroup v2")


def _cpu(resources: "Resources", cpu_max: str) -> "Iterator[Write]":
    cpu = resources.cpu
    if cpu is None:
        return
    for name, value in (("realtimeRuntime", cpu.realtimeRuntime), ("realtimePeriod", cpu.realtimePeriod)):
        if value:
            raise unconvertible(f"/cpu/{name}", f"{name} has no equivalent in cgroup v2")
    at = f"{RESOURCES}/cpu"
    if cpu.idle is not None:
        # Before 5.15 there is no such file, and nothing is idle.
        absent = () if cpu.idle else ABSENT
        yield Write(
            controller="cpu", file="cpu.idle", value=str(cpu.idle), pointer=f"{at}/idle", tolerated=absent
        )
    if cpu.shares and not cpu.idle:  # an idle cgroup has the least weight, and the kernel refuses another
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


def _bandwidth(cpu: "CPU", cpu_max: str) -> str:
    """Give the content of cpu.max, "" to leave it; a value without period keeps the period."""
    present = [*cpu_max.split(), MAX][0]
    quota = number(cpu.quota) if cpu.quota else present
    if cpu.period:
        return f"{quota} {cpu.period}"
    return quota if cpu.quota else ""


def weight(shares: int) -> int:
    """Convert cpu.shares (2 to 262144, default 1024) to cpu.weight (1 to 10000, default 100).

    The curve through (2, 1), (1024, 100) and (262144, 10000) is quadratic in the logarithms, as in the other
    runtimes: 10 ** ((l² + 125·l) / 612 - 7 / 34) with l = log2(shares), rounded up.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    logarithm = log2(shares)
    exponent = (logarithm * logarithm + 125 * logarithm - 126) / 612
    power = 10.0**exponent
    whole = int(power)
    return whole if power == whole else whole + 1


def log2(value: int) -> float:
    """Give the logarithm of a positive number; the runtime does without the math module."""
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


def _cpuset(resources: "Resources", _cpu_max: str) -> "Iterator[Write]":
    cpu = resources.cpu
    if cpu is None:
        return
    for name, value in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        if value:
            yield Write(
                controller="cpuset", file=f"cpuset.{name}", value=value, pointer=f"{RESOURCES}/cpu/{name}"
            )


def _io(resources: "Resources", _cpu_max: str) -> "Iterator[Write]":
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
    """Write the weight to bfq, which takes it as it is (1 to 1000), or else to io.weight (1 to 10000)."""
    converted = 1 + max(value - 10, 0) * 9999 // 990
    instead = Write(
        controller="io", file="io.weight", value=f"{device or 'default '}{converted}", pointer=pointer
    )
    return Write(
        controller="io", file="io.bfq.weight", value=f"{device}{value}", pointer=pointer, instead=instead
    )


def _throttles(block: "BlockIO") -> "Iterator[Write]":
    for name, key, devices in (
        ("throttleReadBpsDevice", "rbps", block.throttleReadBpsDevice),
        ("throttleWriteBpsDevice", "wbps", block.throttleWriteBpsDevice),
        ("throttleReadIOPSDevice", "riops", block.throttleReadIOPSDevice),
        ("throttleWriteIOPSDevice", "wiops", block.throttleWriteIOPSDevice),
    ):
        for index, device in enumerate(devices):
            rate = str(device.rate) if device.rate else MAX  # 0 lifts the limit in v1
            yield Write(
                controller="io",
                file="io.max",
                value=f"{device.major}:{device.minor} {key}={rate}",
                pointer=f"{RESOURCES}/blockIO/{name}/{index}",
                tolerated=() if device.rate else ABSENT,
            )


def _pids(resources: "Resources", _cpu_max: str) -> "Iterator[Write]":
    if resources.pids is not None and resources.pids.limit is not None:
        yield Write(
            controller="pids",
            file="pids.max",
            value=number(resources.pids.limit),
            pointer=f"{RESOURCES}/pids/limit",
            tolerated=ABSENT if resources.pids.limit < 0 else (),
        )


def _hugetlb(resources: "Resources", _cpu_max: str) -> "Iterator[Write]":
    """Limit reservations where the kernel can (rsvd), and page faults."""
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


def _rdma(resources: "Resources", _cpu_max: str) -> "Iterator[Write]":
    yield from rdma(resources)


def rdma(resources: "Resources") -> "Iterator[Write]":
    """Give the lines of rdma.max, which v1 and v2 share."""
    for device, limit in resources.rdma.items():
        words = [
            f"{key}={value}"
            for key, value in (("hca_handle", limit.hcaHandles), ("hca_object", limit.hcaObjects))
            if value is not None
        ]
        pointer = f"{RESOURCES}/rdma/{escaped(device)}"
        yield Write(controller="rdma", file="rdma.max", value=" ".join((device, *words)), pointer=pointer)


def _network(resources: "Resources", _cpu_max: str) -> "Iterator[Write]":
    network = resources.network
    if network is not None and network.classID:
        raise unconvertible("/network/classID", "classID needs the v1 controller net_cls")
    if network is not None and network.priorities:
        raise unconvertible("/network/priorities", "priorities need the v1 controller net_prio")
    return iter(())


def unified(resources: "Resources") -> "list[Write]":
    """Give the writes of ``unified``: one for each line of a value, as several files take one line at a time.

    Raises:
        ConfigError: a key that is not a plain file name.
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


# pids comes last: a limit of 0 or 1 leaves no room for what still has to be forked.
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
