"""Parse a JSON document into the dataclasses of pyoci.config.model.

The tables below name the members of each object and their readers (pyoci.config.readers), which check types, ranges,
words and patterns.  All findings of a document are collected.  The rules across fields (pyoci.config.check) are
applied once every value is right by itself.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Any, Protocol

from pyoci.config import model, resources, tables
from pyoci.config.check import check_config
from pyoci.config.check_parts import check_process, check_resources
from pyoci.config.forms import BANDWIDTH, PAGE_SIZE, file_mode, no_entries, version
from pyoci.config.readers import (
    Findings,
    Place,
    Reader,
    Strict,
    boolean,
    integer,
    list_of,
    map_of,
    pointer_of,
    record,
    string,
    text,
    word,
)
from pyoci.errors import ConfigError, Problem


class Document(Protocol):
    """What parsing needs of a pyoci.codec.Document."""

    name: str
    value: Any

    def places(self, pointers: Sequence[str]) -> list[tuple[int, int]]:
        """Return line and column of the values at *pointers*, from 1."""


def io_priority(value: Any, at: Place, findings: Findings) -> Any:
    """Read ioPriority; the field for its member ``class`` is class_, because class is a keyword of Python."""
    built = IO_PRIORITY(value, at, findings)
    if built is not None:
        built.__dict__["class_"] = built.__dict__.pop("class", None)
    return built


# ---- the tables ----

INT32 = integer(-(2**31), 2**31 - 1)
INT64 = integer(-(2**63), 2**63 - 1)
UINT16 = integer(0, 2**16 - 1)
UINT32 = integer(0, 2**32 - 1)
UINT64 = integer(0, 2**64 - 1)
ID = integer(0, 2**32 - 2)  # 2**32 - 1 means "leave as it is" to chown(2) and setresuid(2)
DEVICE_NUMBER = integer(0, 2**32 - 1)
DEVICE_MATCH = integer(-1, 2**32 - 1)
LIMIT = integer(-1, 2**63 - 1)

some_text = text(bool, "must not be empty")
absolute = text(lambda value: value[:1] == "/", "is not an absolute path")
one_line = text(lambda value: "\n" not in value, "holds a newline")
cpu_list = text(re.compile(r"[0-9,\- ]*").fullmatch, 'is not a list such as "0-3,7"')
STRINGS = list_of(string)
ENVIRONMENT = list_of(text(lambda value: value.find("=") > 0, "is not of the form NAME=value"))
STRING_MAP = map_of(string, some_text)

MAPPINGS_MAX = 340  # user_namespaces(7)
GROUPS_MAX = 65536  # NGROUPS_MAX, setgroups(2)
MAPPINGS = list_of(
    record(model.IDMapping, {"containerID": UINT32, "hostID": UINT32, "size": UINT32}), most=MAPPINGS_MAX
)

RLIMIT = record(model.Rlimit, {"type": word("rlimit", tables.RLIMITS), "soft": UINT64, "hard": UINT64})

SCHEDULER = record(
    model.Scheduler,
    {
        "policy": word("scheduling policy", tables.SCHEDULER_POLICIES),
        "nice": INT32,
        "priority": INT32,
        "flags": list_of(word("scheduling flag", tables.SCHEDULER_FLAGS)),
        "runtime": UINT64,
        "deadline": UINT64,
        "period": UINT64,
    },
)

IO_PRIORITY = record(
    model.IOPriority,
    {"class": word("I/O priority class", tables.IO_PRIORITY_CLASSES), "priority": integer(0, 7)},
)

PROCESS = record(
    model.Process,
    {
        "args": list_of(string, least=1),
        "cwd": absolute,
        "terminal": boolean,
        "consoleSize": record(model.ConsoleSize, {"height": UINT64, "width": UINT64}),
        "env": ENVIRONMENT,
        "user": record(
            model.User,
            {"uid": ID, "gid": ID, "umask": integer(0, 0o777), "additionalGids": list_of(ID, most=GROUPS_MAX)},
        ),
        "capabilities": record(model.Capabilities, {each.name: STRINGS for each in fields(model.Capabilities)}),
        "rlimits": list_of(RLIMIT),
        "noNewPrivileges": boolean,
        "apparmorProfile": string,
        "selinuxLabel": string,
        "oomScoreAdj": integer(-1000, 1000),
        "scheduler": SCHEDULER,
        "ioPriority": io_priority,
        "execCPUAffinity": record(model.ExecCPUAffinity, {"initial": cpu_list, "final": cpu_list}),
    },
)

MOUNT = record(
    model.Mount,
    {
        "destination": some_text,
        "type": string,
        "source": string,
        "options": STRINGS,
        "uidMappings": MAPPINGS,
        "gidMappings": MAPPINGS,
    },
)

HOOK = record(
    model.Hook, {"path": absolute, "args": STRINGS, "env": ENVIRONMENT, "timeout": integer(1, 2**31 - 1)}
)

DEVICE = record(
    model.Device,
    {
        "type": word("device type", ("c", "b", "u", "p")),
        "path": absolute,
        "major": DEVICE_NUMBER,
        "minor": DEVICE_NUMBER,
        "fileMode": file_mode,
        "uid": ID,
        "gid": ID,
    },
)

DEVICE_CGROUP = record(
    resources.DeviceCgroup,
    {
        "allow": boolean,
        "type": word("device type", ("a", "c", "b")),
        "major": DEVICE_MATCH,
        "minor": DEVICE_MATCH,
        "access": text(re.compile(r"[rwm]*").fullmatch, "is not made of r, w and m"),
    },
)

MEMORY = record(
    resources.Memory,
    {
        **dict.fromkeys(("limit", "reservation", "swap", "kernel", "kernelTCP"), LIMIT),
        "swappiness": integer(0, 100),
        **dict.fromkeys(("disableOOMKiller", "useHierarchy", "checkBeforeUpdate"), boolean),
    },
)

CPU = record(
    resources.CPU,
    {
        "shares": UINT64,
        "quota": INT64,
        "burst": UINT64,
        "period": UINT64,
        "realtimeRuntime": INT64,
        "realtimePeriod": UINT64,
        "cpus": string,
        "mems": string,
        "idle": integer(0, 1),
    },
)

BLOCK_DEVICE = {"major": DEVICE_NUMBER, "minor": DEVICE_NUMBER}
THROTTLE = list_of(record(resources.ThrottleDevice, {**BLOCK_DEVICE, "rate": UINT64}))
BLOCK_IO = record(
    resources.BlockIO,
    {
        "weight": UINT16,
        "leafWeight": UINT16,
        "weightDevice": list_of(
            record(resources.WeightDevice, {**BLOCK_DEVICE, "weight": UINT16, "leafWeight": UINT16})
        ),
        "throttleReadBpsDevice": THROTTLE,
        "throttleWriteBpsDevice": THROTTLE,
        "throttleReadIOPSDevice": THROTTLE,
        "throttleWriteIOPSDevice": THROTTLE,
    },
)

page_size = text(PAGE_SIZE.fullmatch, 'is not a page size such as "2MB"')
PRIORITY = record(resources.InterfacePriority, {"name": some_text, "priority": UINT32})
RESOURCES = record(
    resources.Resources,
    {
        "devices": list_of(DEVICE_CGROUP),
        "memory": MEMORY,
        "cpu": CPU,
        "pids": record(resources.Pids, {"limit": LIMIT}),
        "blockIO": BLOCK_IO,
        "hugepageLimits": list_of(record(resources.HugepageLimit, {"pageSize": page_size, "limit": UINT64})),
        "network": record(resources.Network, {"classID": UINT32, "priorities": list_of(PRIORITY)}),
        "rdma": map_of(record(resources.Rdma, {"hcaHandles": UINT32, "hcaObjects": UINT32}), some_text),
        "unified": STRING_MAP,
    },
)

INTEL_RDT = record(
    model.IntelRdt,
    {
        "closID": some_text,
        "schemata": list_of(one_line),
        "l3CacheSchema": one_line,
        "memBwSchema": text(BANDWIDTH.fullmatch, 'is not one line that begins with "MB:"'),
        "enableMonitoring": boolean,
    },
)

MEMORY_POLICY = record(
    model.MemoryPolicy,
    {
        "mode": word("memory policy", tables.MEMORY_POLICY_MODES),
        "nodes": cpu_list,
        "flags": list_of(word("memory policy flag", tables.MEMORY_POLICY_FLAGS)),
    },
)

ACTION = word("seccomp action", tables.SECCOMP_ACTIONS)
SYSCALL_ARG = record(
    model.SyscallArg,
    {
        "index": integer(0, 5),
        "value": UINT64,
        "op": word("seccomp operator", tables.SECCOMP_OPERATORS),
        "valueTwo": UINT64,
    },
)
SYSCALL = record(
    model.Syscall,
    {
        "names": list_of(some_text, least=1),
        "action": ACTION,
        "errnoRet": UINT16,
        "args": list_of(SYSCALL_ARG),
    },
)
SECCOMP = record(
    model.Seccomp,
    {
        "defaultAction": ACTION,
        "defaultErrnoRet": UINT16,
        "architectures": list_of(word("seccomp architecture", tables.SECCOMP_ARCHITECTURES)),
        "flags": list_of(word("seccomp flag", tables.SECCOMP_FLAGS)),
        "listenerPath": string,
        "listenerMetadata": string,
        "syscalls": list_of(SYSCALL),
    },
)

NAMESPACE = record(model.Namespace, {"type": word("namespace type", tables.NAMESPACES), "path": absolute})
TIME_OFFSET = record(model.TimeOffset, {"secs": INT64, "nanosecs": integer(0, 999_999_999)})
LINUX = record(
    model.Linux,
    {
        "namespaces": list_of(NAMESPACE, most=len(tables.NAMESPACES)),
        "uidMappings": MAPPINGS,
        "gidMappings": MAPPINGS,
        "timeOffsets": map_of(TIME_OFFSET, word("clock", ("boottime", "monotonic"))),
        "devices": list_of(DEVICE),
        "netDevices": map_of(record(model.NetDevice, {"name": string}), some_text),
        "cgroupsPath": string,
        "resources": RESOURCES,
        "intelRdt": INTEL_RDT,
        "memoryPolicy": MEMORY_POLICY,
        "sysctl": STRING_MAP,
        "seccomp": SECCOMP,
        "rootfsPropagation": word("propagation", tables.PROPAGATION),
        "maskedPaths": list_of(absolute),
        "readonlyPaths": list_of(absolute),
        "mountLabel": string,
        "personality": record(
            model.Personality, {"domain": word("execution domain", tables.PERSONALITIES), "flags": no_entries}
        ),
    },
)

CONFIG = record(
    model.Config,
    {
        "ociVersion": version,
        "root": record(model.Root, {"path": some_text, "readonly": boolean}),
        "process": PROCESS,
        "hostname": string,
        "domainname": string,
        "mounts": list_of(MOUNT),
        "hooks": record(model.Hooks, dict.fromkeys(tables.HOOKS, list_of(HOOK))),
        "linux": LINUX,
        "annotations": STRING_MAP,
    },
)


# ---- documents ----


def parse_config(document: Document) -> model.Config:
    """Parse config.json.

    Raises:
        ConfigError: the configuration is not valid; it has every problem that was found, in document order.
    """
    config: model.Config = parse(document, CONFIG, check_config)
    return config


def parse_process(document: Document) -> model.Process:
    """Parse the document of ``exec --process``; raises ConfigError as parse_config() does."""
    process: model.Process = parse(document, PROCESS, check_process)
    return process


def parse_resources(document: Document) -> resources.Resources:
    """Parse the document of ``update --resources``; raises ConfigError as parse_config() does.

    An unknown member is an error, because the caller would take a limit for changed that is not.
    """
    parsed: resources.Resources = parse(document, RESOURCES, check_resources, Strict())
    return parsed


def parse(
    document: Document,
    reader: Reader,
    check: Callable[[Any], Iterable[tuple[str, str]]],
    findings: Findings | None = None,
) -> Any:
    """Return what *reader* makes of *document*, after *check* has applied the rules across its fields."""
    findings = [] if findings is None else findings
    value = reader(document.value, None, findings)
    # The rules across fields rely on the types.
    found = [(pointer_of(at), message) for at, message in findings] if findings else list(check(value))
    if not found:
        return value
    places = document.places([pointer for pointer, _ in found])
    problems = [
        Problem(pointer=pointer, message=message, line=line, column=column)
        for (pointer, message), (line, column) in zip(found, places, strict=True)
    ]
    problems.sort(key=lambda problem: (problem.line, problem.column))
    raise ConfigError(document.name, problems)
