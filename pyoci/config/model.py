"""The configuration as dataclasses, named as in the OCI runtime specification 1.3 (config.md, config-linux.md).

Fields have the names of the JSON members.  A field without a default is required.  None means that the member is
absent; an absent array or map is an empty one, except where the specification or the callers distinguish absent from
empty (Seccomp.flags, Hook.env).  Members for other platforms (windows, solaris, vm, zos, freebsd) are ignored.

Values are validated by pyoci.config.parse: types, ranges, enumerations, patterns, and the rules across fields.  Code
that gets one of these objects does not check it again.

The classes have no slots: a default is then an attribute of the class, and the reader stores only the members that a
document has (pyoci.config.readers.record), in less than half of the time of __init__.
"""

from dataclasses import dataclass

from pyoci.config.resources import Resources
from pyoci.members import Members

# ---- process (config.md#process) ----


@dataclass(frozen=True, kw_only=True)
class User:
    """User and groups of the process, in the container's user namespace; umask None keeps the caller's umask.

    The specification requires gid, but some callers omit a gid of 0.
    """

    uid: int
    gid: int = 0
    umask: int | None = None
    additionalGids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConsoleSize:
    """Size of the terminal in characters; ignored without Process.terminal."""

    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """The five capability sets; a name that the kernel does not know is a warning, not an error."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rlimit:
    """One resource limit; type is a key of tables.RLIMITS, 2**64 - 1 means unlimited."""

    type: str
    soft: int
    hard: int


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """Scheduling attributes, sched_setattr(2); runtime, deadline and period are in nanoseconds."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


@dataclass(frozen=True, kw_only=True)
class IOPriority:
    """I/O priority, ioprio_set(2): 0 (highest) to 7.  class_ is the member ``class``.

    Only IOPRIO_CLASS_IDLE may lack a priority: it has no levels.
    """

    class_: str
    priority: int | None = None


@dataclass(frozen=True, kw_only=True)
class ExecCPUAffinity:
    """CPU lists such as ``0-3,7`` for processes started by exec; the container's init process ignores them."""

    initial: str = ""
    final: str = ""


@dataclass(frozen=True, kw_only=True)
class Process:
    """The process that runs in the container; also the document that exec --process reads."""

    args: tuple[str, ...]
    cwd: str
    terminal: bool = False
    consoleSize: ConsoleSize | None = None
    env: tuple[str, ...] = ()
    user: User = User(uid=0, gid=0)
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    noNewPrivileges: bool = False
    apparmorProfile: str = ""
    selinuxLabel: str = ""
    oomScoreAdj: int | None = None
    scheduler: Scheduler | None = None
    ioPriority: IOPriority | None = None
    execCPUAffinity: ExecCPUAffinity | None = None


# ---- root, mounts, hooks (config.md) ----


@dataclass(frozen=True, kw_only=True)
class Root:
    """The root file system; a relative path is relative to the bundle."""

    path: str
    readonly: bool = False


@dataclass(frozen=True, kw_only=True)
class IDMapping:
    """*size* ids from containerID on map to those from hostID on; user_namespaces(7)."""

    containerID: int
    hostID: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One mount; options that are not in tables.MOUNT_OPTIONS are passed to the file system.

    A relative destination is relative to the container's root, a relative source to the bundle.
    """

    destination: str
    type: str | None = None
    source: str | None = None
    options: tuple[str, ...] = ()
    uidMappings: tuple[IDMapping, ...] = ()
    gidMappings: tuple[IDMapping, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A program to run; timeout is in seconds, None waits for ever.  args includes argv[0]."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] | None = None
    timeout: int | None = None


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Hooks by the point in the lifecycle at which they run (config.md#posix-platform-hooks)."""

    prestart: tuple[Hook, ...] = ()
    createRuntime: tuple[Hook, ...] = ()
    createContainer: tuple[Hook, ...] = ()
    startContainer: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


# ---- linux: namespaces, devices (config-linux.md) ----


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """A namespace of a type in tables.NAMESPACES: a new one, or the existing one that path names."""

    type: str
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class TimeOffset:
    """Offset of a clock in the time namespace, time_namespaces(7)."""

    secs: int = 0
    nanosecs: int = 0


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device node; type is c, b, u or p (a FIFO, without major and minor), fileMode holds permission bits only."""

    type: str
    path: str
    major: int | None = None
    minor: int | None = None
    fileMode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, kw_only=True)
class NetDevice:
    """A network device to move into the container; name is its new name there, None keeps the name."""

    name: str | None = None


# ---- linux: the rest ----


@dataclass(frozen=True, kw_only=True)
class IntelRdt:
    """Intel resource director technology: the class, its schemata lines, and whether it is monitored."""

    closID: str | None = None
    schemata: tuple[str, ...] = ()
    l3CacheSchema: str | None = None
    memBwSchema: str | None = None
    enableMonitoring: bool = False


@dataclass(frozen=True, kw_only=True)
class MemoryPolicy:
    """NUMA policy, set_mempolicy(2); nodes is a list such as ``0-3,7``."""

    mode: str
    nodes: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Personality:
    """Execution domain, personality(2); the specification defines no flags yet."""

    domain: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SyscallArg:
    """A condition on one argument; for SCMP_CMP_MASKED_EQ value is the mask and valueTwo the value."""

    index: int
    value: int
    op: str
    valueTwo: int = 0


@dataclass(frozen=True, kw_only=True)
class Syscall:
    """A rule of the filter; errnoRet None means EPERM if the action takes an errno."""

    names: tuple[str, ...]
    action: str
    errnoRet: int | None = None
    args: tuple[SyscallArg, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Seccomp:
    """The system call filter; with flags None (absent) the runtime chooses the flags."""

    defaultAction: str
    defaultErrnoRet: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] | None = None
    listenerPath: str | None = None
    listenerMetadata: str | None = None
    syscalls: tuple[Syscall, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Linux:
    """Settings that only Linux has; an absent ``linux`` equals an empty one."""

    namespaces: tuple[Namespace, ...] = ()
    uidMappings: tuple[IDMapping, ...] = ()
    gidMappings: tuple[IDMapping, ...] = ()
    timeOffsets: Members = Members()
    devices: tuple[Device, ...] = ()
    netDevices: Members = Members()
    cgroupsPath: str | None = None
    resources: Resources | None = None
    intelRdt: IntelRdt | None = None
    memoryPolicy: MemoryPolicy | None = None
    sysctl: Members = Members()
    seccomp: Seccomp | None = None
    rootfsPropagation: str | None = None
    maskedPaths: tuple[str, ...] = ()
    readonlyPaths: tuple[str, ...] = ()
    mountLabel: str | None = None
    personality: Personality | None = None


@dataclass(frozen=True, kw_only=True)
class Config:
    """config.json; without a process the container cannot be started."""

    ociVersion: str
    root: Root
    process: Process | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    linux: Linux = Linux()
    annotations: Members = Members()
