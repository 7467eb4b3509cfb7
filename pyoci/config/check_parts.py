"""The rules across the fields of a process and of resources, which are also documents of their own.

exec reads a process, update reads resources; pyoci.config.check asks the same rules for those in config.json.
"""

from pyoci.config.readers import escaped, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyoci.config.model import Process, Resources

    Found = Iterator[tuple[str, str]]

REALTIME = ("SCHED_FIFO", "SCHED_RR")
CPUS_MAX = 8192  # CONFIG_NR_CPUS can be no more


# ---- process ----


def console_size_fits(process: "Process", at: str) -> "Found":
    """Require a size of 16 bits, ioctl_tty(2); without a terminal it is ignored (config.md#process)."""
    size = process.consoleSize
    if size is None or not process.terminal:
        return
    for field, value in (("height", size.height), ("width", size.width)):
        if value > 0xFFFF:
            yield f"{at}/consoleSize/{field}", f"{value} is out of range: 0 to 65535"


def rlimits_are_sound(process: "Process", at: str) -> "Found":
    """Refuse a type listed twice (config.md#posix-process) and a soft limit above the hard one."""
    seen: set[str] = set()
    for index, rlimit in enumerate(process.rlimits):
        if rlimit.type in seen:
            yield f"{at}/rlimits/{index}", f"{rlimit.type} is listed twice"
        seen.add(rlimit.type)
        if rlimit.soft > rlimit.hard:
            yield f"{at}/rlimits/{index}/soft", f"{rlimit.soft} is above the hard limit {rlimit.hard}"


def scheduler_fits_policy(process: "Process", at: str) -> "Found":
    """Refuse attributes that the policy does not take (sched(7), sched_setattr(2))."""
    scheduler = process.scheduler
    if scheduler is None:
        return
    at, policy = f"{at}/scheduler", scheduler.policy
    if not -20 <= scheduler.nice <= 19:
        yield f"{at}/nice", f"{scheduler.nice} is out of range: -20 to 19"
    if policy in REALTIME and not 1 <= scheduler.priority <= 99:
        yield f"{at}/priority", f"{policy} needs a priority of 1 to 99, not {scheduler.priority}"
    if policy not in REALTIME and scheduler.priority:
        yield f"{at}/priority", f"{policy} takes no priority"
    if policy == "SCHED_DEADLINE":
        # A period of 0 means the deadline.
        period = scheduler.period or scheduler.deadline
        if not 1024 <= scheduler.runtime <= scheduler.deadline <= period < 2**63:
            yield at, "SCHED_DEADLINE needs 1024 <= runtime <= deadline <= period, in nanoseconds"
        return
    for field in ("runtime", "deadline", "period"):
        if getattr(scheduler, field):
            yield f"{at}/{field}", f"{policy} takes no {field}"


def io_priority_is_complete(process: "Process", at: str) -> "Found":
    """Require a priority of the classes that have levels (ioprio_set(2))."""
    wish = process.ioPriority
    if wish and wish.priority is None and wish.class_ != "IOPRIO_CLASS_IDLE":
        yield f"{at}/ioPriority/priority", f'"priority" is missing: {wish.class_} needs one'


def exec_affinity_is_a_list(process: "Process", at: str) -> "Found":
    """Require lists of CPUs (config.md#linux-process)."""
    affinity = process.execCPUAffinity
    if affinity is None:
        return
    for field, value in (("initial", affinity.initial), ("final", affinity.final)):
        listed = number_list(value)
        if listed is None:
            yield f"{at}/execCPUAffinity/{field}", f'{quote(value)} is not a list such as "0-3,7"'
        elif any(each.stop > CPUS_MAX for each in listed) or sum(map(len, listed)) > CPUS_MAX:
            yield f"{at}/execCPUAffinity/{field}", f"{quote(value)} is out of range: 0 to {CPUS_MAX - 1}"


# ---- resources ----


def burst_is_below_quota(resources: "Resources", at: str) -> "Found":
    """Refuse a burst above a positive quota (config-linux.md#cpu)."""
    cpu = resources.cpu
    if cpu is not None and cpu.quota is not None and cpu.burst is not None and 0 < cpu.quota < cpu.burst:
        yield f"{at}/cpu/burst", f"burst {cpu.burst} is above quota {cpu.quota}"


def weight_devices_have_weight(resources: "Resources", at: str) -> "Found":
    """Require weight or leafWeight of each entry of weightDevice (config-linux.md#block-io)."""
    for index, device in enumerate(resources.blockIO.weightDevice if resources.blockIO else ()):
        if device.weight is None and device.leafWeight is None:
            yield f"{at}/blockIO/weightDevice/{index}/weight", '"weight" or "leafWeight" is missing'


def rdma_has_limit(resources: "Resources", at: str) -> "Found":
    """Require hcaHandles or hcaObjects of each entry of rdma (config-linux.md#rdma)."""
    for name, limits in resources.rdma.items():
        if limits.hcaHandles is None and limits.hcaObjects is None:
            yield f"{at}/rdma/{escaped(name)}/hcaHandles", '"hcaHandles" or "hcaObjects" is missing'


def unified_keys_are_files(resources: "Resources", at: str) -> "Found":
    """Require keys that name a file in the cgroup's directory (config-linux.md#unified)."""
    for name in resources.unified:
        if not is_file_name(name):
            yield f"{at}/unified/{escaped(name)}", f"{quote(name)} is not the name of a file of a cgroup"


# ---- all of them ----

PROCESS_CHECKS: "tuple[Callable[[Process, str], Found], ...]" = (
    console_size_fits,
    rlimits_are_sound,
    scheduler_fits_policy,
    io_priority_is_complete,
    exec_affinity_is_a_list,
)

RESOURCE_CHECKS: "tuple[Callable[[Resources, str], Found], ...]" = (
    burst_is_below_quota,
    weight_devices_have_weight,
    rdma_has_limit,
    unified_keys_are_files,
)


def check_process(process: "Process", at: str = "") -> list[tuple[str, str]]:
    """Give what is wrong with a process; *at* is the pointer of its place in the document."""
    return [problem for check in PROCESS_CHECKS for problem in check(process, at)]


def check_resources(resources: "Resources", at: str = "") -> list[tuple[str, str]]:
    """Give what is wrong with resources; *at* is the pointer of their place in the document."""
    return [problem for check in RESOURCE_CHECKS for problem in check(resources, at)]


# ---- forms of text ----


def number_list(text: str) -> "list[range] | None":
    """Read a list such as ``0-3,7`` (cpuset(7), list format); None when it is not one."""
    ranges = []
    for part in text.split(",") if text.strip() else []:
        first, dash, last = part.strip().partition("-")
        if not is_small_number(first) or (dash and not is_small_number(last)) or int(last or first) < int(first):
            return None
        ranges.append(range(int(first), int(last or first) + 1))
    return ranges


def is_small_number(text: str) -> bool:
    """Return whether *text* is a decimal number that is soon read."""
    return text.isascii() and text.isdigit() and len(text) < 20


def is_file_name(name: str) -> bool:
    """Tell whether *name* is the name of a file in a directory."""
    return "/" not in name and name not in ("", ".", "..")
