"""Two configurations that make different containers have different plans."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Json

from pyoci.cgroups.layout import plan_cgroup, usual
from pyoci.config.parse import parse_config
from pyoci.errors import Error
from pyoci.plan import host
from pyoci.plan.builder import Facts, Request
from pyoci.plan.describe import as_json
from pyoci.stage.seccomp import filter_of
from tests.golden.plans import GOLDEN

# What changes nothing that is done: the pointer, with * for an index or a name, and why.
WITHOUT_EFFECT = {
    "/ociVersion": "it only decides what another member means",
    "/annotations/*": "annotations are for others, but for those that spec/coverage.md names",
    "/process/capabilities/*/*": "an unknown capability is left out with a warning",
    "/mounts/5/source": "a mount of type cgroup shows the container's cgroups, whatever its source",
    "/mounts/5/options/*": "with v1 the mounts of its hierarchies are nosuid, nodev, noexec and read-only or not",
    "/mounts/6/type": "the options say that it is a bind mount",
    "/mounts/7/type": "the options say that it is a bind mount",
    "/mounts/8/type": "the options say that it is a bind mount",
    "/mounts/9/type": "the options say that it is a bind mount",
    "/linux/resources/devices/0/access": "a rule may deny what is denied without it",
    "/linux/resources/cpu/shares": "several numbers of v1 are one weight of v2",
}


def full() -> dict[str, Any]:
    """Return a configuration that has as much as one can have."""
    config: dict[str, Any] = json.loads((GOLDEN / "kubernetes.json").read_text())
    linux, process = config["linux"], config["process"]
    config |= {"hostname": "h", "domainname": "d"}
    linux["devices"][0] |= {"fileMode": 0o600, "uid": 1, "gid": 2}
    for mount in config["mounts"][:5]:
        mount["source"] = f"source of {mount['type']}"
    linux["namespaces"] = [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup", "time")]
    linux |= {
        "sysctl": {"net.core.somaxconn": "256", "kernel.msgmax": "8192"},
        "timeOffsets": {"monotonic": {"secs": 3, "nanosecs": 4}, "boottime": {"secs": 5}},
        "rootfsPropagation": "slave",
        "mountLabel": "system_u:object_r:container_file_t:s0",
        "personality": {"domain": "LINUX32"},
    }
    del linux["seccomp"]
    linux["resources"] |= {
        "memory": {"limit": 1 << 27, "swap": 1 << 28, "reservation": 1 << 26},
        "cpu": {"shares": 256, "quota": 50000, "period": 100000, "burst": 100, "cpus": "0", "mems": "0"},
        "blockIO": {
            "weight": 100,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 200}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 300}],
        },
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
        "unified": {"memory.high": "1000000", "io.latency": "8:0 target=1"},
    }
    process |= {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "selinuxLabel": "system_u:system_r:container_t:s0",
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "scheduler": {"policy": "SCHED_OTHER", "nice": 4},
    }
    process["user"]["umask"] = 18
    return config


def leaves(value: Any, pointer: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return where each scalar is."""
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*pointer, key))
    else:
        yield pointer


FULL = full()
LEAVES = sorted(leaves(FULL), key=str)
RELATED = {
    "RLIMIT_NOFILE": "RLIMIT_CORE",
    "IOPRIO_CLASS_BE": "IOPRIO_CLASS_RT",
    "SCHED_OTHER": "SCHED_BATCH",
    "LINUX32": "LINUX",
    "slave": "private",
    "2MB": "1GB",
    "c": "b",
    "rw": "r",
    "rwm": "rw",
}


def plan_of(document: dict[str, Any], view: str) -> list[Any]:
    """Return the plan as JSON."""
    config = parse_config(Json(document))
    layout = usual(view)
    cgroup = plan_cgroup(config.linux.cgroupsPath, "ID", layout, "cgroupfs")
    request = Request(
        id="ID",
        bundle="/b",
        rootfs=f"/b/{config.root.path}",
        cgroupPaths=cgroup.paths(),
        filter=filter_of(config),
    )
    facts = Facts(privileged=True, euid=0, layout=layout)
    return [as_json(entry) for entry in host.create(config, request, facts, root="/run")]


def with_change(pointer: tuple[Any, ...], by: str) -> dict[str, Any]:
    """Return the configuration with one scalar changed, or its entry taken out."""
    document = copy.deepcopy(FULL)
    holder: Any = document
    for key in pointer[:-1]:
        holder = holder[key]
    old = holder[pointer[-1]]
    if by == "absence":
        del holder[pointer[-1]]
    elif isinstance(old, bool):
        holder[pointer[-1]] = not old
    elif isinstance(old, int):
        holder[pointer[-1]] = old + 1
    else:
        holder[pointer[-1]] = RELATED.get(old, f"{old}x" if by == "a letter" else f"{old}/x")
    return document


def is_without_effect(pointer: tuple[Any, ...]) -> bool:
    """Return whether a pointer is on the list."""
    for listed in WITHOUT_EFFECT:
        parts = listed.split("/")[1:]
        if len(parts) == len(pointer) and all(part in ("*", str(key)) for part, key in zip(parts, pointer, strict=True)):
            return True
    return False


@settings(deadline=None, max_examples=600)
@given(st.sampled_from(LEAVES), st.sampled_from(["a letter", "a part", "absence"]), st.sampled_from(["hybrid", "v2"]))
def test_what_changes_the_container_changes_the_plan(pointer: tuple[Any, ...], by: str, view: str) -> None:
    try:
        changed = plan_of(with_change(pointer, by), view)
    except Error:
        return  # no container at all
    if not is_without_effect(pointer):
        assert changed != plan_of(FULL, view), pointer


@pytest.mark.parametrize("view", ["hybrid", "v2"])
def test_the_full_configuration_can_be_planned(view: str) -> None:
    document = copy.deepcopy(FULL)
    assert len(plan_of(document, view)) > 100
