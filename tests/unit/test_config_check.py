"""The rules across fields: each is broken once, and its opposite is accepted."""

from typing import Any

import pytest
from test_config_parse import Json, minimal

from pyoci.config import check, check_parts, parse
from pyoci.config.annotations import SECCOMP_RECEIVER
from pyoci.errors import ConfigError


def problems_of(document: Any) -> list[tuple[str, str]]:
    """Return what is wrong with a document: pointers and messages."""
    try:
        parse.parse_config(Json(document))
    except ConfigError as error:
        return [(problem.pointer, problem.message) for problem in error.problems]
    return []


def found(document: Any) -> dict[str, str]:
    """Return what is wrong with a document, by pointer."""
    return dict(problems_of(document))


def linux(*namespaces: str, **members: Any) -> dict[str, Any]:
    return minimal(linux={"namespaces": [{"type": kind} for kind in namespaces], **members})


def process(**members: Any) -> dict[str, Any]:
    return minimal(process={"args": ["a"], "cwd": "/", **members})


def mounts(*entries: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {**linux("mount", **members), "mounts": list(entries)}


def mapping(inside: int, outside: int, size: int) -> dict[str, int]:
    return {"containerID": inside, "hostID": outside, "size": size}


def users(**members: Any) -> dict[str, Any]:
    """A process in a new user namespace in which only the id 0 exists."""
    return {**process(user={"uid": 0, "gid": 0, **members}), **linux("user", **MAPPED)}


def seccomp(**members: Any) -> dict[str, Any]:
    return minimal(linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", **members}})


ONE = [mapping(0, 1000, 1)]
MAPPED = {"uidMappings": ONE, "gidMappings": ONE}
BIND = {"destination": "/a", "source": "/b", "options": ["bind"]}
UTS = linux("uts")["linux"]
RULE = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
NETWORK = linux("network", "ipc", "uts")["linux"]
DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 4000}


def sysctl(**parameters: str) -> dict[str, Any]:
    return minimal(
        linux={**NETWORK, "sysctl": {name.replace("__", "."): v for name, v in parameters.items()}}
    )


BROKEN = {
    "namespace listed twice": (linux("pid", "uts", "pid"), "/linux/namespaces/2", "is listed twice"),
    "hostname of the host": (minimal(hostname="a"), "/hostname", 'needs a namespace of type "uts"'),
    "domainname of the host": (minimal(domainname="a"), "/domainname", 'needs a namespace of type "uts"'),
    "hostname of 65 bytes": (minimal(hostname="ü" * 33, linux=UTS), "/hostname", "longer than 64 bytes"),
    "mappings without namespace": (linux(uidMappings=ONE), "/linux/uidMappings", 'of type "user"'),
    "user namespace without gids": (linux("user", uidMappings=ONE), "/linux/gidMappings", "needs gidMappings"),
    "empty mapping": (
        linux("user", **{**MAPPED, "uidMappings": [mapping(0, 0, 0)]}),
        "/linux/uidMappings/0/size",
        "0",
    ),
    "mapping beyond the ids": (
        linux("user", **{**MAPPED, "gidMappings": [mapping(0, 2**32 - 2, 2)]}),
        "/linux/gidMappings/0/hostID",
        "above 4294967295",
    ),
    "mapping beyond the ids inside": (
        linux("user", **{**MAPPED, "uidMappings": [mapping(2**32 - 2, 0, 2)]}),
        "/linux/uidMappings/0/containerID",
        "above 4294967295",
    ),
    "mappings overlap inside": (
        linux("user", **{**MAPPED, "uidMappings": [mapping(5, 50, 1), mapping(0, 100, 6)]}),
        "/linux/uidMappings/0/containerID",
        "overlaps the mapping of 0 to 5",
    ),
    "mappings overlap outside": (
        linux("user", **{**MAPPED, "uidMappings": [mapping(0, 100, 2), mapping(9, 101, 1)]}),
        "/linux/uidMappings/1/hostID",
        "overlaps",
    ),
    "uid is not mapped": (users(uid=1), "/process/user/uid", "uid 1 is in none of /linux/uidMappings"),
    "gid is not mapped": (users(gid=1), "/process/user/gid", "gid 1 is in none of /linux/gidMappings"),
    "additional gid is not mapped": (
        users(additionalGids=[0, 1]),
        "/process/user/additionalGids/1",
        "gid 1 is in none of /linux/gidMappings",
    ),
    "offsets without namespace": (
        linux(timeOffsets={"monotonic": {}}),
        "/linux/timeOffsets",
        "new namespace",
    ),
    "offsets of a joined namespace": (
        minimal(
            linux={"namespaces": [{"type": "time", "path": "/n"}], "timeOffsets": {"boottime": {"secs": 1}}}
        ),
        "/linux/timeOffsets",
        "new namespace",
    ),
    "mounts on the host": (minimal(mounts=[BIND]), "/mounts", 'of type "mount"'),
    "masks on the host": (linux(maskedPaths=["/a"]), "/linux/maskedPaths", 'of type "mount"'),
    "read-only paths of the host": (linux(readonlyPaths=["/a"]), "/linux/readonlyPaths", 'of type "mount"'),
    "terminal in the host's /dev": (process(terminal=True), "/process/terminal", 'of type "mount"'),
    "devices on the host": (
        linux(devices=[{"type": "p", "path": "/run/f"}]),
        "/linux/devices",
        'of type "mount"',
    ),
    "propagation of the host": (linux(rootfsPropagation="shared"), "/linux/rootfsPropagation", 'of type "mount"'),
    "label of no mount": (linux(mountLabel="x"), "/linux/mountLabel", 'of type "mount"'),
    "read-only root of the host": (
        minimal(root={"path": "r", "readonly": True}),
        "/root/readonly",
        'of type "mount"',
    ),
    "bind without source": (
        mounts({"destination": "/a", "type": "bind"}),
        "/mounts/0/source",
        '"source" is missing',
    ),
    "no kind of mount": (mounts({"destination": "/a", "source": "/b"}), "/mounts/0/type", '"type" is missing'),
    "unknown option of a bind mount": (
        mounts({**BIND, "options": ["bind", "rslvae"]}),
        "/mounts/0/options/1",
        'unknown mount option "rslvae" of a bind mount; did you mean "rslave"?',
    ),
    "gidMappings alone": (mounts({**BIND, "gidMappings": ONE}), "/mounts/0/uidMappings", "together or not at all"),
    "uidMappings alone": (mounts({**BIND, "uidMappings": ONE}), "/mounts/0/gidMappings", "together or not at all"),
    **{
        f"empty mapping of a mount in {field}": (
            mounts({**BIND, **MAPPED, field: [mapping(0, 0, 0)]}),
            f"/mounts/0/{field}/0/size",
            "size must be above 0",
        )
        for field in MAPPED
    },
    "ridmap of nothing": (
        mounts({**BIND, "options": ["rbind", "ridmap"]}),
        "/mounts/0/options/1",
        "needs mappings",
    ),
    "idmap of nothing": (
        mounts({**BIND, "options": ["bind", "idmap"]}),
        "/mounts/0/options/1",
        "needs mappings",
    ),
    "device without numbers": (
        linux("mount", devices=[{"type": "c", "path": "/dev/a", "major": 1}]),
        "/linux/devices/0/minor",
        '"minor" is missing',
    ),
    "device with one number": (
        linux("mount", devices=[{"type": "c", "path": "/dev/a", "minor": 1}]),
        "/linux/devices/0/major",
        '"major" is missing',
    ),
    "network device with a wrong name of the host": (
        linux("network", netDevices={"a b": {}}),
        "/linux/netDevices/a b",
        "not the name of a network device",
    ),
    "network device on the host": (linux(netDevices={"eth0": {}}), "/linux/netDevices", 'of type "network"'),
    "network device with a long name": (
        linux("network", netDevices={"eth0": {"name": "x" * 16}}),
        "/linux/netDevices/eth0/name",
        "not the name of a network device",
    ),
    "network devices with one name": (
        linux("network", netDevices={"eth0": {"name": "eth1"}, "eth1": {}}),
        "/linux/netDevices/eth1",
        "name of two devices",
    ),
    "sysctl of the host": (sysctl(kernel__panic="1"), "/linux/sysctl/kernel.panic", "would change the host"),
    "sysctl without its user namespace": (
        linux(sysctl={"user.max_pid_namespaces": "1"}),
        "/linux/sysctl/user.max_pid_namespaces",
        'needs a namespace of type "user"',
    ),
    "sysctl without its namespace": (
        linux(sysctl={"net.core.somaxconn": "1"}),
        "/linux/sysctl/net.core.somaxconn",
        'needs a namespace of type "network"',
    ),
    "sysctl that climbs": (
        minimal(linux={**NETWORK, "sysctl": {"net/../kernel/panic": "1"}}),
        "/linux/sysctl/net~1..~1kernel~1panic",
        "is not the name of a parameter",
    ),
    "sysctl that climbs with dots": (
        minimal(linux={**NETWORK, "sysctl": {"net.//.kernel.panic": "1"}}),
        "/linux/sysctl/net.~1~1.kernel.panic",
        "is not the name of a parameter",
    ),
    "sysctl with two lines": (
        sysctl(net__core__somaxconn="1\n2"),
        "/linux/sysctl/net.core.somaxconn",
        "newline",
    ),
    "sysctl of the hostname": (
        sysctl(kernel__hostname="a"),
        "/linux/sysctl/kernel.hostname",
        "field hostname",
    ),
    "sysctl of another domainname": (
        minimal(domainname="d", linux={**NETWORK, "sysctl": {"kernel.domainname": "e"}}),
        "/linux/sysctl/kernel.domainname",
        "conflicts with the field domainname",
    ),
    **{
        f"sysctl with the name {name}": (
            minimal(linux={**NETWORK, "sysctl": {name: "1"}}),
            f"/linux/sysctl/{name.replace('/', '~1')}",
            "is not the name of a parameter",
        )
        for name in ("net", "net..x", "net/./x", "net.a b", "net.\u00fc")
    },
    "errno with ALLOW": (
        seccomp(defaultErrnoRet=1),
        "/linux/seccomp/defaultErrnoRet",
        "SCMP_ACT_ALLOW takes no errno",
    ),
    "errno with a rule of LOG": (
        seccomp(syscalls=[RULE, {**RULE, "action": "SCMP_ACT_LOG", "errnoRet": 0}]),
        "/linux/seccomp/syscalls/1/errnoRet",
        "SCMP_ACT_LOG takes no errno",
    ),
    "metadata for nobody": (
        seccomp(listenerMetadata="x"),
        "/linux/seccomp/listenerMetadata",
        "needs listenerPath",
    ),
    "notification of nobody": (
        seccomp(syscalls=[{**RULE, "action": "SCMP_ACT_NOTIFY"}]),
        "/linux/seccomp/listenerPath",
        "SCMP_ACT_NOTIFY needs listenerPath",
    ),
    "cgroup that climbs": (linux(cgroupsPath="/a/../../b"), "/linux/cgroupsPath", 'must not contain ".."'),
    "RDT class that climbs": (
        linux(intelRdt={"closID": "../x"}),
        "/linux/intelRdt/closID",
        "name of a directory",
    ),
    "policy without nodes": (linux(memoryPolicy={"mode": "MPOL_BIND"}), "/linux/memoryPolicy/nodes", "needs nodes"),
    "policy with nodes": (
        linux(memoryPolicy={"mode": "MPOL_LOCAL", "nodes": "0"}),
        "/linux/memoryPolicy/nodes",
        "takes no nodes",
    ),
    "nodes backwards": (
        linux(memoryPolicy={"mode": "MPOL_BIND", "nodes": "3-1"}),
        "/linux/memoryPolicy/nodes",
        "is not a list",
    ),
    "console of 65536 columns": (
        {**process(terminal=True, consoleSize={"height": 1, "width": 65536}), "linux": linux("mount")["linux"]},
        "/process/consoleSize/width",
        "out of range",
    ),
    "rlimit listed twice": (
        process(rlimits=[{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2),
        "/process/rlimits/1",
        "RLIMIT_CPU is listed twice",
    ),
    "soft above hard": (
        process(rlimits=[{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]),
        "/process/rlimits/0/soft",
        "2 is above the hard limit 1",
    ),
    "nice of 20": (
        process(scheduler={"policy": "SCHED_OTHER", "nice": 20}),
        "/process/scheduler/nice",
        "-20 to 19",
    ),
    "I/O priority without a level": (
        process(ioPriority={"class": "IOPRIO_CLASS_RT"}),
        "/process/ioPriority/priority",
        '"priority" is missing',
    ),
    "realtime without priority": (
        process(scheduler={"policy": "SCHED_RR"}),
        "/process/scheduler/priority",
        "1 to 99",
    ),
    "priority without realtime": (
        process(scheduler={"policy": "SCHED_BATCH", "priority": 1}),
        "/process/scheduler/priority",
        "takes no priority",
    ),
    "deadline before runtime": (
        process(scheduler={**DEADLINE, "deadline": 1999}),
        "/process/scheduler",
        "runtime <=",
    ),
    "runtime without deadline": (
        process(scheduler={"policy": "SCHED_OTHER", "runtime": 1}),
        "/process/scheduler/runtime",
        "takes no runtime",
    ),
    "no list of CPUs": (
        process(execCPUAffinity={"final": "1,,2"}),
        "/process/execCPUAffinity/final",
        "is not a list",
    ),
    "a CPU beyond all": (
        process(execCPUAffinity={"initial": "0-4294967295"}),
        "/process/execCPUAffinity/initial",
        "0 to 8191",
    ),
    "burst above quota": (
        linux(resources={"cpu": {"quota": 5, "burst": 6}}),
        "/linux/resources/cpu/burst",
        "burst 6 is above quota 5",
    ),
    "device without weight": (
        linux(resources={"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}),
        "/linux/resources/blockIO/weightDevice/0/weight",
        '"weight" or "leafWeight" is missing',
    ),
    "rdma without limit": (
        linux(resources={"rdma": {"m/5": {}}}),
        "/linux/resources/rdma/m~15/hcaHandles",
        "is missing",
    ),
    "unified that climbs": (
        linux(resources={"unified": {"../x": "1"}}),
        "/linux/resources/unified/..~1x",
        "not the name of a file",
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_reported_at_its_place(rule: str) -> None:
    document, pointer, words = BROKEN[rule]
    ((place, message),) = problems_of(document)
    assert place == pointer
    assert words in message


SOUND = {
    "domainname said twice, the same": minimal(
        domainname="d", linux={**NETWORK, "sysctl": {"kernel.domainname": "d"}}
    ),
    "domainname and another sysctl": minimal(domainname="d", linux={**NETWORK, "sysctl": {"net.core.somaxconn": "1"}}),
    "hostname": minimal(hostname="h" * 64, domainname="d", linux=UTS),
    "joined user namespace": minimal(linux={"namespaces": [{"type": "user", "path": "/n"}]}),
    "joined user namespace with mappings": minimal(
        linux={"namespaces": [{"type": "user", "path": "/n"}], **MAPPED}
    ),
    **{
        f"joined user namespace with {field} alone": {
            **process(user={"uid": 7, "gid": 7}),
            "linux": {"namespaces": [{"type": "user", "path": "/n"}], field: ONE},
        }
        for field in MAPPED
    },
    "all ids mapped": linux("user", uidMappings=[mapping(0, 0, 2**32 - 1)], gidMappings=ONE),
    "touching mappings": linux("user", uidMappings=[mapping(1, 6, 5), mapping(0, 0, 1)], gidMappings=ONE),
    "offsets": linux("time", timeOffsets={"monotonic": {"secs": -5, "nanosecs": 1}}),
    "bind by type": mounts({"destination": "a", "type": "bind", "source": "/b"}),
    "bind with all options": mounts(
        {**BIND, "options": ["rbind", "rro", "ridmap", "defaults", "silent"], **MAPPED}
    ),
    "unknown option of a filesystem": mounts(
        {"destination": "/a", "type": "tmpfs", "options": ["size=1", "rslvae"]}
    ),
    "remount without bind": mounts({"destination": "/a", "options": ["remount", "ro"]}),
    "remount": mounts({"destination": "/a", "options": ["remount", "bind", "ro"]}),
    "idmap from the user namespace": {
        **linux("mount", "user", **MAPPED),
        "mounts": [{**BIND, "options": ["bind", "idmap"]}],
    },
    "FIFO": linux("mount", devices=[{"type": "p", "path": "/run/f"}]),
    "two network devices": linux("network", netDevices={"a": {}, "b": {"name": "c"}}),
    "two templates": linux("network", netDevices={"a": {"name": "eth%d"}, "b": {"name": "eth%d"}}),
    "sysctl of a user namespace": linux("user", **MAPPED, sysctl={"user.max_pid_namespaces": "1"}),
    "sysctls": sysctl(
        kernel__sem_next_id="1", fs__mqueue__msg_max="1", kernel__msgmax="1",
        net__ipv4__ip_forward="1", kernel__shmmax="1", kernel__sem="1 2 3 4", kernel__domainname="d"
    ),
    "sysctl with slashes": minimal(linux={**NETWORK, "sysctl": {"net/ipv4/conf/eth0.1/rp_filter": "1"}}),
    "sysctl of a joined network": minimal(
        linux={"namespaces": [{"type": "network", "path": "/n"}], "sysctl": {"net.core.somaxconn": "1"}}
    ),
    "errnos": seccomp(
        defaultAction="SCMP_ACT_ERRNO",
        defaultErrnoRet=38,
        syscalls=[{**RULE, "action": "SCMP_ACT_TRACE", "errnoRet": 1}],
    ),
    "notification": seccomp(defaultAction="SCMP_ACT_NOTIFY", listenerPath="/s", listenerMetadata="x"),
    "listener without notification": seccomp(listenerPath="/s"),
    "notification of a receiver that an annotation names": minimal(
        annotations={SECCOMP_RECEIVER: "/s"}, linux={"seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}}
    ),
    "cgroup": linux(cgroupsPath="/a/b..c/..d"),
    "cgroup of systemd": linux(cgroupsPath="system.slice:pyoci:web..1"),
    "no RDT class": linux(intelRdt={}),
    "RDT class": linux(intelRdt={"closID": "a.b"}),
    "root RDT class": linux(intelRdt={"closID": "/"}),
    "local without nodes": linux(memoryPolicy={"mode": "MPOL_LOCAL"}),
    "preferred without nodes": linux(memoryPolicy={"mode": "MPOL_PREFERRED"}),
    "nodes": linux(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0-3,7"}),
    "console size without terminal": process(consoleSize={"height": 2**40, "width": 1}),
    "unlimited": process(rlimits=[{"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}]),
    "deadline": process(scheduler=DEADLINE),
    "deadline without period": process(scheduler={**DEADLINE, "period": 0}),
    "realtime": process(scheduler={"policy": "SCHED_FIFO", "priority": 99}),
    "no affinity": process(execCPUAffinity={"initial": "", "final": "0-3, 7"}),
    "burst without quota": linux(resources={"cpu": {"quota": -1, "burst": 6}}),
}


@pytest.mark.parametrize("rule", SOUND)
def test_what_keeps_the_rules_is_accepted(rule: str) -> None:
    assert found(SOUND[rule]) == {}


def test_every_rule_is_broken_by_some_document() -> None:
    broken = set()
    for document, _, _ in BROKEN.values():
        config = parse.parse(Json(document), parse.CONFIG, lambda _: [])
        broken |= {rule for rule in check.CHECKS if list(rule(config))}
        if config.process is not None:
            broken |= {rule for rule in check_parts.PROCESS_CHECKS if list(rule(config.process, ""))}
        if config.linux.resources is not None:
            broken |= {rule for rule in check_parts.RESOURCE_CHECKS if list(rule(config.linux.resources, ""))}
    assert broken == {*check.CHECKS, *check_parts.PROCESS_CHECKS, *check_parts.RESOURCE_CHECKS}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("plain", "plain"),
        ("net/core", "net/core"),
        ("/a.b", "/a.b"),
        (".a/b", "/a.b"),
    ],
)
def test_the_first_separator_of_a_sysctl_separates(name: str, path: str) -> None:
    assert check.sysctl_path(name) == path


def test_lists_of_numbers() -> None:
    assert check_parts.number_list("0-3, 7") == [range(4), range(7, 8)]
    assert check_parts.number_list("") == []
    assert [check_parts.number_list(bad) for bad in ("-", "1-", "-1", "a", "2-1", ",", "1-2-3")] == [None] * 7


def test_only_so_many_options_get_a_hint() -> None:
    """Searching for similar names takes time, and the author of a configuration chooses the number of mistakes."""
    problems = found(mounts({**BIND, "options": ["bind", *["rslvae"] * 30]}))
    assert (len(problems), sum("did you mean" in message for message in problems.values())) == (30, 20)


def test_a_namespace_that_is_joined_is_not_new() -> None:
    def new(*entries: dict[str, str]) -> bool:
        config = parse.parse_config(Json(minimal(linux={"namespaces": list(entries)})))
        return check.is_new(config.linux.namespaces, "network")

    assert new({"type": "network"})
    assert not new({"type": "network", "path": "/n"})
    assert not new({"type": "ipc"})
    assert not new()


@pytest.mark.parametrize(
    ("names", "good"),
    [
        (["e", "eth0", "eth0.1", "x" * 15, "\u00fc" * 7], True),
        (["", ".", "..", "a/b", "a:b", "a b", "a\tb", "x" * 16, "\u00fc" * 8], False),
    ],
)
def test_names_of_network_devices(names: list[str], good: bool) -> None:
    assert [check.is_interface_name(name) for name in names] == [good] * len(names)
