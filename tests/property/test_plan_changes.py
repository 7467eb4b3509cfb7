"""Two configurations that make different containers have different plans."""

import copy
import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Json

from pyoci.cgroups.layout import plan_cgroup, usual
from pyoci.config import model, resources
from pyoci.config.parse import parse_config
from pyoci.errors import Error
from pyoci.members import Members
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
    "/linux/seccomp/architectures/0": "the native architecture is always in a filter",
}
# The same of one configuration.
ALSO_WITHOUT_EFFECT = {
    ("mapped", "/mounts/3/source"): "the host's /dev/mqueue is bound, whatever the source",
    ("mapped", "/mounts/4/source"): "the host's /sys is bound, whatever the source",
}


def field_names(kind: type[Any]) -> tuple[str, ...]:
    """Return the fields of a record of the model."""
    return tuple(inspect.get_annotations(kind))


RECORDS = [
    each
    for module in (model, resources)
    for each in vars(module).values()
    if inspect.isclass(each) and each.__module__ == module.__name__
]


def common() -> dict[str, Any]:
    """Return what all of them begin with: values that are not the default ones."""
    config: dict[str, Any] = json.loads((GOLDEN / "kubernetes.json").read_text())
    config["linux"]["devices"][0] |= {"fileMode": 0o600, "uid": 1, "gid": 2}
    for mount in config["mounts"][:5]:
        mount["source"] = f"source of {mount['type']}"
    return config


def full() -> dict[str, Any]:
    """Return a configuration that has as much as one can have."""
    config = common()
    linux, process = config["linux"], config["process"]
    config |= {"hostname": "h", "domainname": "d"}
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


def mapped() -> dict[str, Any]:
    """Return one with a user namespace, mounts with mappings of their own, joined namespaces and a filter."""
    config = common()
    linux, process = config["linux"], config["process"]
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    linux["namespaces"].append({"type": "user"})
    linux |= {"uidMappings": maps, "gidMappings": copy.deepcopy(maps)}
    mappings = {name: [{"containerID": 0, "hostID": 7, "size": 9}] for name in ("uidMappings", "gidMappings")}
    config["mounts"][9] |= mappings | {"options": ["rbind", "rslave", "rw", "ridmap"]}
    linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {
                "names": ["mkdir", "chmod"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 5,
                "args": [{"index": 1, "value": 5, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}],
            }
        ],
    }
    del linux["seccomp"]["defaultErrnoRet"]  # only with an action that has an errno
    process["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 4000, "period": 5000}
    hook = {"path": "/h", "args": ["h", "a"], "env": ["A=b"], "timeout": 3}
    config["hooks"] = {
        name: [dict(hook)]
        for name in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    }
    return config


def old() -> dict[str, Any]:
    """Return one with the resources that only cgroups of version 1 have."""
    config = full()
    del config["linux"]["resources"]["unified"]
    config["linux"]["resources"] |= {
        "memory": {
            "limit": 1 << 27,
            "kernel": 3000000,
            "kernelTCP": 3000000,
            "swappiness": 3,
            "disableOOMKiller": True,
            "useHierarchy": False,
        },
        "cpu": {"realtimeRuntime": 3, "realtimePeriod": 4, "idle": 1},
        "blockIO": {
            "leafWeight": 30,
            "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 30}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 30}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 30}],
        },
        "network": {"classID": 3, "priorities": [{"name": "eth0", "priority": 3}]},
    }
    config["process"]["scheduler"] = {"policy": "SCHED_FIFO", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    return config


def leaves(value: Any, pointer: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return where each scalar is."""
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*pointer, key))
    else:
        yield pointer


DOCUMENTS = {"full": (full(), ("hybrid", "v2")), "mapped": (mapped(), ("v1", "v2")), "old": (old(), ("v1",))}
CASES = [
    (name, pointer, view) for name, (document, views) in DOCUMENTS.items() for pointer in leaves(document) for view in views
]
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


def with_change(document: dict[str, Any], pointer: tuple[Any, ...], by: str) -> dict[str, Any]:
    """Return the configuration with one scalar changed, or its entry taken out."""
    document = copy.deepcopy(document)
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


def is_without_effect(name: str, pointer: tuple[Any, ...]) -> bool:
    """Return whether a pointer of a configuration is on the lists."""
    if (name, "/" + "/".join(map(str, pointer))) in ALSO_WITHOUT_EFFECT:
        return True
    return any(
        len(parts := listed.split("/")[1:]) == len(pointer)
        and all(part in ("*", str(key)) for part, key in zip(parts, pointer, strict=True))
        for listed in WITHOUT_EFFECT
    )


@settings(deadline=None, max_examples=1000)
@given(st.sampled_from(CASES), st.sampled_from(["a letter", "a part", "absence"]))
def test_what_changes_the_container_changes_the_plan(case: tuple[str, tuple[Any, ...], str], by: str) -> None:
    name, pointer, view = case
    document = DOCUMENTS[name][0]
    try:
        changed = plan_of(with_change(document, pointer, by), view)
    except Error:
        return  # no container at all
    if not is_without_effect(name, pointer):
        assert changed != plan_of(document, view), pointer


@pytest.mark.parametrize(("name", "view"), sorted({(name, view) for name, _, view in CASES}))
def test_the_configurations_can_be_planned(name: str, view: str) -> None:
    assert len(plan_of(copy.deepcopy(DOCUMENTS[name][0]), view)) > 80


# Fields of the model that none of the configurations has, and why.
LEFT_OUT = {
    ("Process", "execCPUAffinity"): "only exec uses it",
    ("ExecCPUAffinity", "initial"): "only exec uses it",
    ("ExecCPUAffinity", "final"): "only exec uses it",
    ("Linux", "netDevices"): "refused as not supported yet",
    ("NetDevice", "name"): "refused as not supported yet",
    ("Linux", "intelRdt"): "refused as not supported yet",
    ("Linux", "memoryPolicy"): "refused as not supported yet",
    **{("IntelRdt", name): "refused as not supported yet" for name in field_names(model.IntelRdt)},
    **{("MemoryPolicy", name): "refused as not supported yet" for name in field_names(model.MemoryPolicy)},
    ("Memory", "checkBeforeUpdate"): "it compares a limit with what is in use when it is set",
    ("Personality", "flags"): "the specification defines none",
    ("Seccomp", "defaultErrnoRet"): "it belongs to the action that the whole test container could not run under",
    ("Seccomp", "listenerPath"): "the host side sends the listener there",
    ("Seccomp", "listenerMetadata"): "the host side sends it with the listener",
}


def test_the_configurations_have_every_field_of_the_model() -> None:
    """So that a new field cannot be forgotten here."""
    filled = {each for document, _ in DOCUMENTS.values() for each in filled_fields(parse_config(Json(document)))}
    known = {(kind.__name__, name) for kind in RECORDS for name in field_names(kind)}
    assert known - filled == set(LEFT_OUT)


def filled_fields(value: Any) -> Iterator[tuple[str, str]]:
    """Return the fields that have a value, of a record and of what is in it."""
    if type(value) in RECORDS:
        for name in field_names(type(value)):
            if getattr(value, name) not in (None, (), "", Members()):
                yield type(value).__name__, name
                yield from filled_fields(getattr(value, name))
    elif isinstance(value, Members):
        for _, item in value.items():
            yield from filled_fields(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from filled_fields(item)
