"""The seccomp filter: config-linux.md#seccomp, compiled to BPF by libseccomp."""

import os
from errno import EPERM

from pyoci import native
from pyoci.config.model import Config, Seccomp
from pyoci.config.readers import some_of
from pyoci.config.tables import (
    SECCOMP_ACTIONS,
    SECCOMP_ARCHITECTURES,
    SECCOMP_ERRNO_ACTIONS,
    SECCOMP_FLAGS,
    SECCOMP_OPERATORS,
)
from pyoci.errors import Error, KernelError
from pyoci.linux import SECCOMP_FILTER_FLAG_NEW_LISTENER
from pyoci.log import info, log
from pyoci.stage.encode import SOCK_FILTER_SIZE
from pyoci.steps import Filter

lib, ffi = native.lib, native.ffi
OF_LISTENERS = ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",)
NOTIFY = "SCMP_ACT_NOTIFY"
PASSING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
REFUSES = lib.PYOCI_SECCOMP_REFUSES
# What the stage calls under the filter, besides read(2) or readv(2) for the answer to its report and for the start: the
# report, and the program; without noNewPrivileges it has its capabilities to drop, too.
NEEDED = ("write", "execve")
FOR_RIGHTS = ("capget", "capset", "prctl")
NEEDED_EARLY = (*NEEDED, *FOR_RIGHTS)


def filter_of(config: Config) -> Filter | None:
    """Return the compiled filter of a configuration's process, None when there is none to load.

    Raises:
        KernelError: libseccomp refuses a rule.
        Error: under the filter the stage could not get as far as the program.
    """
    seccomp, process = config.linux.seccomp, config.process
    if seccomp is None or process is None:
        return None
    if log.wants("info"):
        tell_unknown(seccomp)
    program = compile_filter(seccomp)
    reads = "readv" if answers(program, "read") == REFUSES and answers(program, "readv") != REFUSES else "read"
    # With noNewPrivileges it is loaded after the capabilities have been dropped.
    check_needs(program, seccomp, (reads, *(NEEDED if process.noNewPrivileges else NEEDED_EARLY)))
    return Filter(program=program, flags=filter_flags(seccomp), by_readv=reads == "readv")


def filter_flags(seccomp: Seccomp) -> int:
    """Return the SECCOMP_FILTER_FLAG_* bits; speculation stays allowed unless flags say otherwise, as with runc."""
    names = ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",) if seccomp.flags is None else seccomp.flags
    flags = 0
    for name in names:
        flags |= SECCOMP_FLAGS[name]
    if NOTIFY in (seccomp.defaultAction, *(rule.action for rule in seccomp.syscalls)):
        flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER
    return flags


def is_supported(flag: str) -> bool:
    """Return whether this kernel takes a flag, with a listener where it is about one."""
    listener = SECCOMP_FILTER_FLAG_NEW_LISTENER if flag in OF_LISTENERS else 0
    return bool(lib.pyoci_seccomp_flag_supported(SECCOMP_FLAGS[flag] | listener))


def tell_unknown(seccomp: Seccomp) -> None:
    """Log the names that are left out, as the specification of rules for many versions of libseccomp needs it."""
    names = [name for rule in seccomp.syscalls for name in rule.names]
    unknown = [name for name in names if not lib.pyoci_seccomp_known(name.encode())]
    if unknown:
        info(f"the seccomp filter leaves out names that libseccomp does not know: {some_of(unknown)}")


def answers(program: bytes, name: str) -> int:
    """Return what a filter can answer to a system call: PYOCI_SECCOMP_* together, 0 where that cannot be told."""
    return int(lib.pyoci_seccomp_answers(program, len(program) // SOCK_FILTER_SIZE, name.encode()))


def check_needs(program: bytes, seccomp: Seccomp, needed: tuple[str, ...]) -> None:
    """Find out before the filter is loaded whether the stage can go on under it.

    The agent can answer for what is needed, but only once it has the listener, which a write(2) announces.

    Raises:
        Error: the filter refuses what is needed, whatever its arguments.
    """
    for name in needed:
        found = answers(program, name)
        if name == "write" and found & lib.PYOCI_SECCOMP_ASKS:
            words = f"asks its agent about {name}, which pyoci needs to hand the listener over to the agent"
        elif found == REFUSES:
            words = f"refuses {name}, which pyoci itself needs between loading the filter and running the program"
        else:
            continue
        more = "with noNewPrivileges the filter is loaded after that" if name in FOR_RIGHTS else ""
        raise Error(f"the seccomp filter {words}", deciding_rule(seccomp, name), more)


def deciding_rule(seccomp: Seccomp, name: str) -> str:
    """Return the JSON pointer of the rule that is about a system call, or of the default action."""
    for index, rule in enumerate(seccomp.syscalls):
        if name in rule.names and rule.action not in PASSING:
            return f"/linux/seccomp/syscalls/{index}"
    return "/linux/seccomp/defaultAction"


def action(name: str, errno: int | None) -> int:
    """Return libseccomp's number of an action, with its errno if it takes one."""
    number = SECCOMP_ACTIONS[name]
    return number | (EPERM if errno is None else errno) if name in SECCOMP_ERRNO_ACTIONS else number


def compile_filter(seccomp: Seccomp) -> bytes:
    """Compile the rules to the instructions of a classic BPF program."""
    rules = ffi.new("struct pyoci_seccomp_rule[]", len(seccomp.syscalls))
    conditions = [arg for rule in seccomp.syscalls for arg in rule.args]
    args = ffi.new("struct pyoci_seccomp_arg[]", len(conditions))
    for record, rule in zip(rules, seccomp.syscalls, strict=True):
        record.action, record.nnames, record.nargs = (
            action(rule.action, rule.errnoRet),
            len(rule.names),
            len(rule.args),
        )
    for record, arg in zip(args, conditions, strict=True):
        record.index, record.op = arg.index, SECCOMP_OPERATORS[arg.op]
        record.value, record.value_two = arg.value, arg.valueTwo
    names = "".join(f"{name}\0" for rule in seccomp.syscalls for name in rule.names).encode()
    archs = [SECCOMP_ARCHITECTURES[name] for name in seccomp.architectures]
    failed = ffi.new("uint32_t *")
    fd = lib.pyoci_seccomp_compile(
        action(seccomp.defaultAction, seccomp.defaultErrnoRet),
        archs,
        len(archs),
        rules,
        len(rules),
        args,
        names,
        failed,
    )
    if fd < 0:
        origin = f"/linux/seccomp/syscalls/{failed[0]}" if failed[0] < len(rules) else "/linux/seccomp"
        raise KernelError("compiling the seccomp filter", -fd, origin)
    try:
        return os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
