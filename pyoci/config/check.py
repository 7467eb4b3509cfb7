"""The rules across the fields of config.json.

Every rule is a function that yields JSON pointer and message of each violation; CHECKS lists the rules.  They depend on
the document only.  What depends on the host (whether a namespace file exists, whether a joined user namespace maps the
ids) is checked while the plan is made or executed.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from pyoci.config.annotations import SECCOMP_RECEIVER
from pyoci.config.check_parts import Found, check_process, check_resources, is_file_name, number_list
from pyoci.config.model import Config, IDMapping, Linux, Mount, Namespace
from pyoci.config.readers import HINTS_MAX, did_you_mean, escaped, quote
from pyoci.config.tables import MEMORY_POLICY_NODES, MOUNT_OPTIONS, SECCOMP_ERRNO_ACTIONS

HOST_NAME_MAX = 64  # bytes, sethostname(2)
ID_MAX = 2**32 - 2  # 2**32 - 1 is not an id, user_namespaces(7)
# dev_valid_name() of the kernel, net/core/dev.c; IFNAMSIZ is 16 bytes with the NUL.
INTERFACE_NAME = re.compile(r"[^/:\s]+")
INTERFACE_NAME_MAX = 15
# The names of parameters, and of the network devices in them.
SYSCTL = re.compile(r"[A-Za-z0-9/_.\-:+@]+")


def namespace_of(linux: Linux, kind: str) -> Namespace | None:
    """Return the entry of one type, or None if the container stays in the runtime's namespace."""
    for namespace in linux.namespaces:
        if namespace.type == kind:
            return namespace
    return None


def is_new(namespaces: Iterable[Namespace], kind: str) -> bool:
    """Return whether the container gets a new namespace of that type, rather than to join an existing one."""
    return any(namespace.type == kind and not namespace.path for namespace in namespaces)


def is_bind(mount: Mount) -> bool:
    """Return whether a mount is a bind mount: by its options, or by the type ``bind``, which some callers write."""
    return mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options


# ---- namespaces and mappings ----


def namespace_types_differ(config: Config) -> Found:
    """Each namespace type is listed once (config-linux.md#namespaces)."""
    seen: set[str] = set()
    for index, namespace in enumerate(config.linux.namespaces):
        if namespace.type in seen:
            yield f"/linux/namespaces/{index}", f'the namespace type "{namespace.type}" is listed twice'
        seen.add(namespace.type)


def names_need_uts(config: Config) -> Found:
    """A UTS namespace is needed for hostname and domainname, or they would be set on the host (config.md#hostname)."""
    for field, value in (("hostname", config.hostname), ("domainname", config.domainname)):
        if value is None:
            continue
        if namespace_of(config.linux, "uts") is None:
            yield f"/{field}", f'{field} needs a namespace of type "uts" in /linux/namespaces'
        if len(value.encode()) > HOST_NAME_MAX:
            yield f"/{field}", f"{field} is longer than {HOST_NAME_MAX} bytes"


def mappings_fit_user_namespace(config: Config) -> Found:
    """A new user namespace needs both mappings; without a user namespace there are none.

    A user namespace that is joined has mappings already, which only the host knows.
    """
    linux = config.linux
    user = namespace_of(linux, "user")
    for field, mappings in (("uidMappings", linux.uidMappings), ("gidMappings", linux.gidMappings)):
        if user is None and mappings:
            yield f"/linux/{field}", f'{field} needs a namespace of type "user" in /linux/namespaces'
        if user is not None and user.path is None and not mappings:
            yield f"/linux/{field}", f"a new user namespace needs {field}"
        yield from mappings_are_sound(mappings, f"/linux/{field}")


def mappings_are_sound(mappings: Sequence[IDMapping], at: str) -> Found:
    """The ranges of id mappings are not empty, are in range and do not overlap (user_namespaces(7))."""
    if not mappings:
        return
    for index, mapping in enumerate(mappings):
        if mapping.size == 0:
            yield f"{at}/{index}/size", "size must be above 0"
        for field, first in (("containerID", mapping.containerID), ("hostID", mapping.hostID)):
            if first + mapping.size > ID_MAX + 1:
                yield f"{at}/{index}/{field}", f"{field} + size is above {ID_MAX + 1}"
    for field in ("containerID", "hostID"):
        ranges = sorted((getattr(m, field), m.size, index) for index, m in enumerate(mappings))
        for (first, size, _), (second, _, index) in zip(ranges, ranges[1:], strict=False):
            if second < first + size:
                yield f"{at}/{index}/{field}", f"overlaps the mapping of {first} to {first + size - 1}"


def user_is_mapped(config: Config) -> Found:
    """The ids of the process are mapped in a new user namespace (config.md#posix-platform-user)."""
    process, linux = config.process, config.linux
    if process is None or not linux.uidMappings or not linux.gidMappings:
        return
    user = process.user
    if not is_mapped(user.uid, linux.uidMappings):
        yield "/process/user/uid", f"uid {user.uid} is in none of /linux/uidMappings"
    if not is_mapped(user.gid, linux.gidMappings):
        yield "/process/user/gid", f"gid {user.gid} is in none of /linux/gidMappings"
    for index, gid in enumerate(user.additionalGids):
        if not is_mapped(gid, linux.gidMappings):
            yield f"/process/user/additionalGids/{index}", f"gid {gid} is in none of /linux/gidMappings"


def is_mapped(number: int, mappings: Sequence[IDMapping]) -> bool:
    return any(m.containerID <= number < m.containerID + m.size for m in mappings)


def time_offsets_need_namespace(config: Config) -> Found:
    """The member timeOffsets needs a new time namespace (time_namespaces(7))."""
    if not config.linux.timeOffsets:
        return
    time = namespace_of(config.linux, "time")
    if time is None or time.path is not None:
        yield "/linux/timeOffsets", 'timeOffsets needs a new namespace of type "time" in /linux/namespaces'


# ---- mounts and paths ----


def mounts_need_namespace(config: Config) -> Found:
    """Settings about mounts need a mount namespace: pyoci never changes the host's mounts."""
    linux = config.linux
    if namespace_of(linux, "mount") is not None:
        return
    settings = (
        ("/mounts", config.mounts),
        ("/process/terminal", config.process and config.process.terminal),  # is bound on /dev/console
        ("/linux/devices", linux.devices),
        ("/linux/rootfsPropagation", linux.rootfsPropagation),
        ("/linux/mountLabel", linux.mountLabel),
        ("/linux/maskedPaths", linux.maskedPaths),
        ("/linux/readonlyPaths", linux.readonlyPaths),
        ("/root/readonly", config.root.readonly),
    )
    for pointer, value in settings:
        if value:
            yield pointer, 'needs a namespace of type "mount" in /linux/namespaces'


def mounts_are_whole(config: Config) -> Found:
    """A bind mount needs a source, another mount a file system type (config.md#mounts).

    The options of a bind mount are known ones, because there is no file system that could take others.
    """
    hints = 0
    for index, mount in enumerate(config.mounts):
        at = f"/mounts/{index}"
        if not is_bind(mount):
            if mount.type is None and "remount" not in mount.options:
                yield f"{at}/type", '"type" is missing, and this is no bind mount'
            continue
        if not mount.source and "remount" not in mount.options:
            yield f"{at}/source", '"source" is missing, which a bind mount needs'
        for number, option in enumerate(mount.options):
            if option not in MOUNT_OPTIONS:
                hint = did_you_mean(option, MOUNT_OPTIONS) if hints < HINTS_MAX else ""
                hints += 1
                yield f"{at}/options/{number}", f"unknown mount option {quote(option)} of a bind mount{hint}"


def mount_mappings_are_whole(config: Config) -> Found:
    """A mount has both mappings or none (config.md#posix-platform-mounts).

    Without them the options idmap and ridmap use the mappings of the container's user namespace, so there must be one
    (config.md#linux-mount-options).
    """
    has_user = namespace_of(config.linux, "user") is not None
    for index, mount in enumerate(config.mounts):
        at = f"/mounts/{index}"
        if bool(mount.uidMappings) != bool(mount.gidMappings):
            field = "gidMappings" if mount.uidMappings else "uidMappings"
            yield f"{at}/{field}", "uidMappings and gidMappings are given together or not at all"
        yield from mappings_are_sound(mount.uidMappings, f"{at}/uidMappings")
        yield from mappings_are_sound(mount.gidMappings, f"{at}/gidMappings")
        if mount.uidMappings or has_user:
            continue
        for number, option in enumerate(mount.options):
            if option in ("idmap", "ridmap"):
                yield f"{at}/options/{number}", f"{option} needs mappings, or a user namespace that has some"


# ---- devices ----


def devices_have_numbers(config: Config) -> Found:
    """A device has major and minor unless it is a FIFO (config-linux.md#devices)."""
    for index, device in enumerate(config.linux.devices):
        for field, value in (("major", device.major), ("minor", device.minor)):
            if value is None and device.type != "p":
                yield f"/linux/devices/{index}/{field}", f'"{field}" is missing'


def net_devices_have_place(config: Config) -> Found:
    """The member netDevices needs a network namespace and valid, unique names (config-linux.md#network-devices)."""
    devices = config.linux.netDevices
    if devices and namespace_of(config.linux, "network") is None:
        yield "/linux/netDevices", 'netDevices needs a namespace of type "network" in /linux/namespaces'
    for host, device in devices.items():
        at = f"/linux/netDevices/{escaped(host)}"
        name = device.name or host
        for field, value in ((at, host), (f"{at}/name", name)):
            if not is_interface_name(value):
                yield field if device.name else at, f"{quote(value)} is not the name of a network device"
                break
    names = [device.name or host for host, device in devices.items()]
    hosts = list(devices)
    for index in repeated(names):
        if "%d" not in names[index]:
            yield f"/linux/netDevices/{escaped(hosts[index])}", f"{quote(names[index])} is the name of two devices"


def repeated(names: list[str]) -> list[int]:
    """Return the index of each repeated name; found by sorting, because the configuration chooses the names."""
    order = sorted(zip(names, range(len(names)), strict=True))
    return [later for (name, _), (other, later) in zip(order, order[1:], strict=False) if name == other]


def is_interface_name(name: str) -> bool:
    return (
        INTERFACE_NAME.fullmatch(name) is not None
        and name not in (".", "..")
        and len(name.encode()) <= INTERFACE_NAME_MAX
    )


# ---- sysctl ----


def sysctls_are_namespaced(config: Config) -> Found:
    """Each sysctl belongs to a namespace of the container (config-linux.md#sysctl)."""
    for name, value in config.linux.sysctl.items():
        at = f"/linux/sysctl/{escaped(name)}"
        problem = sysctl_problem(config, sysctl_path(name), value)
        if problem:
            yield at, f"sysctl {quote(name)} {problem}"
        if "\n" in value:
            yield at, f"the value of sysctl {quote(name)} holds a newline"


def sysctl_path(name: str) -> str:
    """Return the path below /proc/sys; whichever of ``.`` and ``/`` comes first is the separator (sysctl(8))."""
    dot, slash = name.find("."), name.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        return name.translate({ord("."): "/", ord("/"): "."})
    return name


def sysctl_problem(config: Config, path: str, value: str) -> str:
    """Return why the parameter at *path* cannot be set, "" if it can."""
    parts = path.split("/")
    if len(parts) < 2 or "" in parts or "." in parts or ".." in parts or not SYSCTL.fullmatch(path):
        return "is not the name of a parameter"
    if path == "kernel/hostname":
        return "conflicts with the field hostname: set that one"
    if path == "kernel/domainname" and config.domainname not in (None, value):
        return "conflicts with the field domainname"
    kind = sysctl_namespace(path)
    if not kind:
        return "is not of a namespace: it would change the host"
    if namespace_of(config.linux, kind) is None:
        return f'needs a namespace of type "{kind}" in /linux/namespaces'
    return ""


def sysctl_namespace(path: str) -> str:
    """Return the type of namespace that a parameter belongs to, "" for none (namespaces(7), proc_sys(5))."""
    if path.startswith("net/"):
        return "network"
    if path.startswith(("kernel/shm", "kernel/msg", "fs/mqueue/")):
        return "ipc"
    if path in ("kernel/sem", "kernel/sem_next_id"):
        return "ipc"
    if path == "kernel/domainname":
        return "uts"
    return "user" if path.startswith("user/") else ""


# ---- seccomp ----


def seccomp_errnos_fit(config: Config) -> Found:
    """An errno is only given for an action that takes one (config-linux.md#seccomp)."""
    seccomp = config.linux.seccomp
    if seccomp is None:
        return
    rules = [("/linux/seccomp", "defaultErrnoRet", seccomp.defaultAction, seccomp.defaultErrnoRet)]
    for index, rule in enumerate(seccomp.syscalls):
        if rule.errnoRet is not None:
            rules.append((f"/linux/seccomp/syscalls/{index}", "errnoRet", rule.action, rule.errnoRet))
    for at, field, action, number in rules:
        if number is not None and action not in SECCOMP_ERRNO_ACTIONS:
            yield f"{at}/{field}", f"{action} takes no errno"


def seccomp_listener_is_whole(config: Config) -> Found:
    """A listener is needed for listenerMetadata and SCMP_ACT_NOTIFY (config-linux.md#seccomp)."""
    seccomp = config.linux.seccomp
    if seccomp is None or seccomp.listenerPath:
        return
    if seccomp.listenerMetadata is not None:
        yield "/linux/seccomp/listenerMetadata", "listenerMetadata needs listenerPath"
    actions = [seccomp.defaultAction, *[rule.action for rule in seccomp.syscalls]]
    if "SCMP_ACT_NOTIFY" in actions and SECCOMP_RECEIVER not in config.annotations:
        yield "/linux/seccomp/listenerPath", "SCMP_ACT_NOTIFY needs listenerPath"


# ---- the rest of linux ----


def cgroup_path_stays_below(config: Config) -> Found:
    """The path cgroupsPath stays below the cgroup mount point (config-linux.md#cgroups-path)."""
    path = config.linux.cgroupsPath
    if path is not None and ".." in path.split("/"):
        yield "/linux/cgroupsPath", f'{quote(path)} must not contain ".."'


def rdt_class_is_a_name(config: Config) -> Found:
    """The closID is the name of a directory, or ``/`` for the root class (config-linux.md#intelrdt)."""
    rdt = config.linux.intelRdt
    if rdt is not None and rdt.closID is not None and rdt.closID != "/" and not is_file_name(rdt.closID):
        yield "/linux/intelRdt/closID", f"{quote(rdt.closID)} is not the name of a directory"


def memory_policy_nodes_fit(config: Config) -> Found:
    """Memory nodes are given for the modes that need some, and only for those that take some (set_mempolicy(2))."""
    policy = config.linux.memoryPolicy
    if policy is None:
        return
    wanted = MEMORY_POLICY_NODES[policy.mode]
    if wanted == "some" and not policy.nodes:
        yield "/linux/memoryPolicy/nodes", f"{policy.mode} needs nodes"
    elif wanted == "none" and policy.nodes:
        yield "/linux/memoryPolicy/nodes", f"{policy.mode} takes no nodes"
    elif number_list(policy.nodes) is None:
        yield "/linux/memoryPolicy/nodes", f'{quote(policy.nodes)} is not a list such as "0-3,7"'


# ---- all of them ----

CHECKS: tuple[Callable[[Config], Found], ...] = (
    namespace_types_differ,
    names_need_uts,
    mappings_fit_user_namespace,
    user_is_mapped,
    time_offsets_need_namespace,
    mounts_need_namespace,
    mounts_are_whole,
    mount_mappings_are_whole,
    devices_have_numbers,
    net_devices_have_place,
    sysctls_are_namespaced,
    seccomp_errnos_fit,
    seccomp_listener_is_whole,
    cgroup_path_stays_below,
    rdt_class_is_a_name,
    memory_policy_nodes_fit,
)


def check_config(config: Config) -> list[tuple[str, str]]:
    """Return JSON pointer and message for every violation of a rule."""
    found = [problem for check in CHECKS for problem in check(config)]
    if config.process is not None:
        found += check_process(config.process, "/process")
    if config.linux.resources is not None:
        found += check_resources(config.linux.resources, "/linux/resources")
    return found
