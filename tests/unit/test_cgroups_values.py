"""linux.resources as values of v1 and v2 files."""

import errno
from collections.abc import Sequence

import pytest

from pyoci.cgroups import limits, v1, v2
from pyoci.cgroups.writes import Write
from pyoci.config.resources import (
    CPU,
    BlockIO,
    HugepageLimit,
    InterfacePriority,
    Memory,
    Network,
    Pids,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)
from pyoci.errors import ConfigError


def pairs(writes: Sequence[Write]) -> list[tuple[str, str]]:
    return [(one.file, one.value) for one in writes]


def v2_pairs(**resources: object) -> list[tuple[str, str]]:
    return pairs(v2.writes(Resources(**resources)))


def v1_pairs(**resources: object) -> list[tuple[str, str]]:
    return pairs(v1.writes(Resources(**resources)))


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (Memory(limit=1000), [("memory.max", "1000")]),
        (Memory(limit=-1), [("memory.swap.max", "max"), ("memory.max", "max")]),
        (Memory(limit=1000, swap=1000), [("memory.swap.max", "0"), ("memory.max", "1000")]),
        (Memory(limit=1000, swap=1500), [("memory.swap.max", "500"), ("memory.max", "1000")]),
        (Memory(limit=1000, swap=-1), [("memory.swap.max", "max"), ("memory.max", "1000")]),
        (Memory(swap=-1), [("memory.swap.max", "max")]),
        (Memory(reservation=-1), [("memory.low", "max")]),
        (Memory(reservation=7), [("memory.low", "7")]),
        (Memory(limit=0, reservation=0, swap=0, kernel=0, kernelTCP=-1), []),
        (Memory(disableOOMKiller=False, useHierarchy=True, checkBeforeUpdate=False), []),
    ],
)
def test_v2_memory(memory: Memory, expected: list[tuple[str, str]]) -> None:
    assert v2_pairs(memory=memory) == expected


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        (Resources(memory=Memory(limit=1000, swap=999)), "/memory/swap"),
        (Resources(memory=Memory(swap=999)), "/memory/swap"),
        (Resources(memory=Memory(limit=-1, swap=999)), "/memory/swap"),
        (Resources(memory=Memory(kernel=1)), "/memory/kernel"),
        (Resources(memory=Memory(kernelTCP=1)), "/memory/kernelTCP"),
        (Resources(memory=Memory(swappiness=0)), "/memory/swappiness"),
        (Resources(memory=Memory(disableOOMKiller=True)), "/memory/disableOOMKiller"),
        (Resources(memory=Memory(useHierarchy=False)), "/memory/useHierarchy"),
        (Resources(cpu=CPU(realtimeRuntime=1)), "/cpu/realtimeRuntime"),
        (Resources(cpu=CPU(realtimePeriod=1)), "/cpu/realtimePeriod"),
        (Resources(blockIO=BlockIO(leafWeight=10)), "/blockIO/leafWeight"),
        (
            Resources(blockIO=BlockIO(weightDevice=(WeightDevice(major=8, minor=0, leafWeight=10),))),
            "/blockIO/weightDevice/0/leafWeight",
        ),
        (Resources(network=Network(classID=1)), "/network/classID"),
        (
            Resources(network=Network(priorities=(InterfacePriority(name="lo", priority=1),))),
            "/network/priorities",
        ),
    ],
)
def test_what_v2_cannot_express_is_an_error(resources: Resources, pointer: str) -> None:
    """config-linux.md#unified: convert or generate an error."""
    with pytest.raises(ConfigError) as caught:
        v2.writes(resources)
    assert caught.value.problems[0].pointer == "/linux/resources" + pointer


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (1024, 100), (512, 59), (2048, 174), (262144, 10000), (300000, 10000)],
)
def test_v2_weight(shares: int, weight: int) -> None:
    assert v2_pairs(cpu=CPU(shares=shares)) == [("cpu.weight", str(weight))]


@pytest.mark.parametrize(
    ("cpu", "present", "expected"),
    [
        (CPU(quota=5000, period=10000), "max", [("cpu.max", "5000 10000")]),
        (CPU(quota=5000), "max", [("cpu.max", "5000")]),
        (CPU(quota=-1), "5000 10000", [("cpu.max", "max")]),
        (CPU(period=20000), "max", [("cpu.max", "max 20000")]),
        (CPU(period=20000), "5000 10000\n", [("cpu.max", "5000 20000")]),
        (CPU(quota=0, period=0, shares=0, cpus="", mems=""), "max", []),
        (CPU(quota=5000, burst=100), "max", [("cpu.max", "5000"), ("cpu.max.burst", "100")]),
        (CPU(idle=1, shares=1024), "max", [("cpu.idle", "1")]),
        (CPU(idle=0, shares=1024), "max", [("cpu.idle", "0"), ("cpu.weight", "100")]),
        (CPU(cpus="0-1", mems="0"), "max", [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
        (CPU(realtimeRuntime=0, realtimePeriod=0), "max", []),
    ],
)
def test_v2_cpu(cpu: CPU, present: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(v2.writes(Resources(cpu=cpu), cpu_max=present)) == expected


@pytest.mark.parametrize(("limit", "value"), [(-1, "max"), (0, "0"), (7, "7")])
def test_pids_limit_0_is_a_limit(limit: int, value: str) -> None:
    """config-linux.md#pids."""
    assert v2_pairs(pids=Pids(limit=limit)) == v1_pairs(pids=Pids(limit=limit)) == [("pids.max", value)]


def test_v2_block_io() -> None:
    device = ThrottleDevice(major=8, minor=16, rate=300)
    block = BlockIO(
        weight=1000,
        weightDevice=(WeightDevice(major=8, minor=0, weight=10),),
        throttleReadBpsDevice=(device,),
        throttleWriteBpsDevice=(device,),
        throttleReadIOPSDevice=(device,),
        throttleWriteIOPSDevice=(ThrottleDevice(major=8, minor=16, rate=0),),
    )
    writes = v2.writes(Resources(blockIO=block))
    assert pairs(writes) == [
        ("io.bfq.weight", "1000"),
        ("io.bfq.weight", "8:0 10"),
        ("io.max", "8:16 rbps=300"),
        ("io.max", "8:16 wbps=300"),
        ("io.max", "8:16 riops=300"),
        ("io.max", "8:16 wiops=max"),
    ]
    assert pairs([one.instead for one in writes if one.instead]) == [
        ("io.weight", "default 10000"),
        ("io.weight", "8:0 1"),
    ]


def test_huge_pages_are_limited_at_reservation_where_the_kernel_can() -> None:
    """config-linux.md#huge-page-limits: the rsvd file is preferred, and may be missing."""
    limit = (HugepageLimit(pageSize="2MB", limit=5),)
    for writes, files in (
        (v2.writes(Resources(hugepageLimits=limit)), ["hugetlb.2MB.rsvd.max", "hugetlb.2MB.max"]),
        (
            v1.writes(Resources(hugepageLimits=limit)),
            ["hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.limit_in_bytes"],
        ),
    ):
        assert [one.file for one in writes] == files
        assert [one.tolerated for one in writes] == [(errno.ENOENT,), ()]


def test_rdma() -> None:
    rdma = {"mlx5_1": Rdma(hcaHandles=3, hcaObjects=4), "rxe3": Rdma(hcaObjects=0)}
    expected = [("rdma.max", "mlx5_1 hca_handle=3 hca_object=4"), ("rdma.max", "rxe3 hca_object=0")]
    assert v2_pairs(rdma=rdma) == v1_pairs(rdma=rdma) == expected


def test_unified_writes_line_by_line_and_keeps_unknown_files() -> None:
    """config-linux.md#unified: configuration unknown to the runtime is still written."""
    writes = v2.unified(Resources(unified={"io.max": "8:0 rbps=1\n8:16 wbps=2", "misc.new~file": "x"}))
    assert pairs(writes) == [("io.max", "8:0 rbps=1"), ("io.max", "8:16 wbps=2"), ("misc.new~file", "x")]
    assert [one.controller for one in writes] == ["io", "io", "misc"]
    assert writes[2].pointer == "/linux/resources/unified/misc.new~0file"


@pytest.mark.parametrize("key", ["", ".", "..", "../other/memory.max", "sub/memory.max", "/x"])
def test_unified_keys_are_file_names(key: str) -> None:
    with pytest.raises(ConfigError, match="name of a file"):
        v2.unified(Resources(unified={key: "1"}))


@pytest.mark.parametrize(
    ("memory", "present", "order"),
    [
        (Memory(limit=1000, swap=2000), None, [v1.LIMIT, v1.SWAP]),
        (Memory(limit=1000, swap=2000), 500, [v1.SWAP, v1.LIMIT]),
        (Memory(limit=1000, swap=2000), 3000, [v1.LIMIT, v1.SWAP]),
        (Memory(limit=1000, swap=-1), 3000, [v1.SWAP, v1.LIMIT]),
        (Memory(limit=-1), 3000, [v1.SWAP, v1.LIMIT]),
        (Memory(swap=2000), 3000, [v1.SWAP]),
        (Memory(limit=1000), 3000, [v1.LIMIT]),
    ],
)
def test_v1_memory_order(memory: Memory, present: int | None, order: list[str]) -> None:
    """The kernel refuses a limit above that of memory and swap, at every moment."""
    assert [one.file for one in v1.writes(Resources(memory=memory), memory_limit=present)] == order


def test_v1_everything() -> None:
    device = ThrottleDevice(major=8, minor=16, rate=300)
    assert v1_pairs(
        memory=Memory(
            reservation=1, kernel=-1, kernelTCP=2, swappiness=0, disableOOMKiller=True, useHierarchy=False
        ),
        cpu=CPU(
            shares=5, quota=-1, period=9, burst=0, realtimeRuntime=1, realtimePeriod=2, cpus="0", mems="0"
        ),
        blockIO=BlockIO(
            weight=10,
            leafWeight=11,
            weightDevice=(WeightDevice(major=8, minor=0, weight=10, leafWeight=12),),
            throttleReadBpsDevice=(device,),
            throttleWriteIOPSDevice=(device,),
        ),
        network=Network(classID=9, priorities=(InterfacePriority(name="lo", priority=1),)),
    ) == [
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("cpu.shares", "5"),
        ("cpu.cfs_period_us", "9"),
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.cfs_burst_us", "0"),
        ("cpu.rt_period_us", "2"),
        ("cpu.rt_runtime_us", "1"),
        ("blkio.bfq.weight", "10"),
        ("blkio.leaf_weight", "11"),
        ("blkio.bfq.weight_device", "8:0 10"),
        ("blkio.leaf_weight_device", "8:0 12"),
        ("blkio.throttle.read_bps_device", "8:16 300"),
        ("blkio.throttle.write_iops_device", "8:16 300"),
        ("memory.soft_limit_in_bytes", "1"),
        ("memory.kmem.limit_in_bytes", "-1"),
        ("memory.kmem.tcp.limit_in_bytes", "2"),
        ("memory.swappiness", "0"),
        ("memory.oom_control", "1"),
        ("memory.use_hierarchy", "0"),
        ("net_cls.classid", "9"),
        ("net_prio.ifpriomap", "lo 1"),
    ]


@pytest.mark.parametrize("module", [v1, v2])
def test_nothing_asked_for_is_nothing_written(module: object) -> None:
    assert module.writes(Resources()) == []  # type: ignore[attr-defined]
    assert module.writes(Resources(memory=Memory(), cpu=CPU(), pids=Pids(), blockIO=BlockIO())) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("resources", "limited"),
    [
        (None, False),
        (Resources(), False),
        (Resources(memory=Memory(limit=0, swap=-1), cpu=CPU(cpus="")), False),
        (Resources(pids=Pids(limit=-1)), False),
        (Resources(pids=Pids(limit=0)), True),
        (Resources(memory=Memory(limit=1)), True),
        (Resources(cpu=CPU(cpus="0")), True),
        (Resources(unified={"memory.max": "1"}), True),
        (Resources(rdma={"x": Rdma(hcaObjects=1)}), True),
    ],
)
def test_whether_a_limit_is_asked_for(resources: Resources | None, limited: bool) -> None:
    assert limits.has_limits(resources) is limited
