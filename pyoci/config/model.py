"""The configuration as records, named as in the OCI runtime specification 1.3 (config.md, config-linux.md).

Fields keep the JSON names of the specification.  A field without a default is required.  ``None`` means that
the member is absent; an absent list or map is the empty one, except where the specification or the callers
tell absent from empty (``Seccomp.flags``, ``Hook.env``).  Members of other platforms (windows, solaris, vm,
zos, freebsd) are ignored.

What a record promises is what parse has looked at: types, ranges, words and patterns, and the rules across
fields.  Nothing behind it checks again.
"""

from pyoci.record import Members, Record

# ---- process (config.md#process) ----


class User(Record):
    """Who the process is; ids are those of the container's user namespace, umask None keeps the caller's.

    gid is required by the specification, but some callers leave a gid of 0 out.
    """

    uid: int
    gid: int = 0
    umask: int | None = None
    additionalGids: tuple[int, ...] = ()


class ConsoleSize(Record):
    """Size of the terminal in characters; means nothing without Process.terminal."""

    height: int
    width: int


class Capabilities(Record):
    """The five sets as written: a name that the kernel does not know deserves a warning, not an error."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(Record):
    """One resource limit; type is a key of tables.RLIMITS, 2**64 - 1 means unlimited."""

    type: str
    soft: int
    hard: int


class Scheduler(Record):
    """Scheduling attributes as sched_setattr(2) takes them; runtime, deadline and period in nanoseconds."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class IOPriority(Record):
    """I/O priority of the process group, ioprio_set(2): 0 (highest) to 7.  class_ is the member ``class``.

    Only IOPRIO_CLASS_IDLE may be without a priority: it has no levels.
    """

    class_: str
    priority: int | None = None


class ExecCPUAffinity(Record):
    """CPUs of processes made by exec, as lists such as ``0-3,7``; never of the container's first process."""

    initial: str = ""
    final: str = ""


class Process(Record):
    """The container's program and what it runs as; also the document that exec --process reads."""

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


class Root(Record):
    """The root filesystem; a relative path starts at the bundle."""

    path: str
    readonly: bool = False


class IDMapping(Record):
    """size ids, containerID upwards inside, are hostID upwards outside."""

    containerID: int
    hostID: int
    size: int


class Mount(Record):
    """One mount; options are those of tables.MOUNT_OPTIONS, any other belongs to the filesystem.

    A relative destination starts at the container's root, a relative source at the bundle.
    """

    destination: str
    type: str | None = None
    source: str | None = None
    options: tuple[str, ...] = ()
    uidMappings: tuple[IDMapping, ...] = ()
    gidMappings: tuple[IDMapping, ...] = ()


class Hook(Record):
    """A program to run; timeout in seconds, None waits for ever.  args begins with argv[0]."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] | None = None
    timeout: int | None = None


class Hooks(Record):
    """Hooks by the moment at which they run."""

    prestart: tuple[Hook, ...] = ()
    createRuntime: tuple[Hook, ...] = ()
    createContainer: tuple[Hook, ...] = ()
    startContainer: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


# ---- linux: namespaces, devices (config-linux.md) ----


class Namespace(Record):
    """A namespace of tables.NAMESPACES: a new one, or the one that path names."""

    type: str
    path: str | None = None


class TimeOffset(Record):
    """Offset of a clock in the time namespace."""

    secs: int = 0
    nanosecs: int = 0


class Device(Record):
    """A device node; type c, b, u or p (p lacks major and minor); fileMode is permission bits only."""

    type: str
    path: str
    major: int | None = None
    minor: int | None = None
    fileMode: int | None = None
    uid: int | None = None
    gid: int | None = None


class NetDevice(Record):
    """What becomes of a network device of the host: its name in the container, by default its own."""

    name: str | None = None


# ---- linux.resources (config-linux.md#control-groups) ----


class DeviceCgroup(Record):
    """A device rule; type None means a, major and minor None or -1 mean any, access None or "" means rwm."""

    allow: bool
    type: str | None = None
    major: int | None = None
    minor: int | None = None
    access: str | None = None


class Memory(Record):
    """Limits in bytes, -1 is unlimited; swap is memory and swap together."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernelTCP: int | None = None
    swappiness: int | None = None
    disableOOMKiller: bool | None = None
    useHierarchy: bool | None = None
    checkBeforeUpdate: bool | None = None


class CPU(Record):
    """CPU time; quota, burst, period and the realtime members in microseconds."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtimeRuntime: int | None = None
    realtimePeriod: int | None = None
    cpus: str | None = None
    mems: str | None = None
    idle: int | None = None


class Pids(Record):
    """The greatest number of tasks; -1 is unlimited, 0 is a limit."""

    limit: int | None = None


class WeightDevice(Record):
    """Weight of one block device."""

    major: int
    minor: int
    weight: int | None = None
    leafWeight: int | None = None


class ThrottleDevice(Record):
    """Bytes or operations a second of one block device."""

    major: int
    minor: int
    rate: int


class BlockIO(Record):
    """Weights and throttles of block devices; some callers write a weight of 0 for unset."""

    weight: int | None = None
    leafWeight: int | None = None
    weightDevice: tuple[WeightDevice, ...] = ()
    throttleReadBpsDevice: tuple[ThrottleDevice, ...] = ()
    throttleWriteBpsDevice: tuple[ThrottleDevice, ...] = ()
    throttleReadIOPSDevice: tuple[ThrottleDevice, ...] = ()
    throttleWriteIOPSDevice: tuple[ThrottleDevice, ...] = ()


class HugepageLimit(Record):
    """Limit in bytes of one page size, such as ``2MB``."""

    pageSize: str
    limit: int


class InterfacePriority(Record):
    """Priority of what is sent through one interface."""

    name: str
    priority: int


class Network(Record):
    """The v1 controllers net_cls and net_prio."""

    classID: int | None = None
    priorities: tuple[InterfacePriority, ...] = ()


class Rdma(Record):
    """Limits of one RDMA device."""

    hcaHandles: int | None = None
    hcaObjects: int | None = None


class Resources(Record):
    """What the cgroup grants; also the document that update reads."""

    devices: tuple[DeviceCgroup, ...] = ()
    memory: Memory | None = None
    cpu: CPU | None = None
    pids: Pids | None = None
    blockIO: BlockIO | None = None
    hugepageLimits: tuple[HugepageLimit, ...] = ()
    network: Network | None = None
    rdma: Members = Members()
    unified: Members = Members()


# ---- linux: the rest ----


class IntelRdt(Record):
    """Resource director technology: the class, its schemata lines, and whether it is monitored."""

    closID: str | None = None
    schemata: tuple[str, ...] = ()
    l3CacheSchema: str | None = None
    memBwSchema: str | None = None
    enableMonitoring: bool = False


class MemoryPolicy(Record):
    """NUMA policy, set_mempolicy(2); nodes is a list such as ``0-3,7``."""

    mode: str
    nodes: str = ""
    flags: tuple[str, ...] = ()


class Personality(Record):
    """Execution domain; the specification knows no flags yet."""

    domain: str
    flags: tuple[str, ...] = ()


class SyscallArg(Record):
    """A condition on one argument; for SCMP_CMP_MASKED_EQ value is the mask and valueTwo the value."""

    index: int
    value: int
    op: str
    valueTwo: int = 0


class Syscall(Record):
    """A rule of the filter; errnoRet None means EPERM where the action takes an errno."""

    names: tuple[str, ...]
    action: str
    errnoRet: int | None = None
    args: tuple[SyscallArg, ...] = ()


class Seccomp(Record):
    """The system call filter; flags None (absent) lets the runtime choose."""

    defaultAction: str
    defaultErrnoRet: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] | None = None
    listenerPath: str | None = None
    listenerMetadata: str | None = None
    syscalls: tuple[Syscall, ...] = ()


class Linux(Record):
    """Everything that only Linux has; an absent ``linux`` equals an empty one."""

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


class Config(Record):
    """config.json; process is None when there is nothing to start."""

    ociVersion: str
    root: Root
    process: Process | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    linux: Linux = Linux()
    annotations: Members = Members()
