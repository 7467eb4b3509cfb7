"""The seccomp filter: config-linux.md#seccomp, compiled to BPF by libseccomp."""

import posix

from pyoci import native
from pyoci.config.tables import (
    SECCOMP_ACTIONS,
    SECCOMP_ARCHITECTURES,
    SECCOMP_ERRNO_ACTIONS,
    SECCOMP_FLAGS,
    SECCOMP_OPERATORS,
)
from pyoci.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.config.model import Seccomp
    from pyoci.plan.builder import Builder

lib, ffi = native.lib, native.ffi
EPERM = 1
SOCK_FILTER_SIZE = 8
NEW_LISTENER = 8
NOTIFY = "SCMP_ACT_NOTIFY"


def load(builder: "Builder", seccomp: "Seccomp") -> None:
    """Plan for the filter to be loaded.

    Raises:
        KernelError: libseccomp refuses a rule.
    """
    flags = filter_flags(seccomp)
    builder.add(
        "OP_SECCOMP",
        "loading the seccomp filter",
        "/linux/seccomp",
        strings={"a": compile_filter(seccomp)},
        numbers={"n": flags},
        blob_item=SOCK_FILTER_SIZE,
        hints={22: "the kernel does not support a flag or an action of the filter"},
    )


def filter_flags(seccomp: "Seccomp") -> int:
    """Give the SECCOMP_FILTER_FLAG_* bits; speculation stays allowed unless flags say otherwise, as with the peers."""
    names = ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",) if seccomp.flags is None else seccomp.flags
    flags = 0
    for name in names:
        flags |= SECCOMP_FLAGS[name]
    if NOTIFY in (seccomp.defaultAction, *(rule.action for rule in seccomp.syscalls)):
        flags |= NEW_LISTENER
    return flags


def action(name: str, errno: int | None) -> int:
    """Give libseccomp's number of an action, with its errno where it takes one."""
    number = SECCOMP_ACTIONS[name]
    return number | (EPERM if errno is None else errno) if name in SECCOMP_ERRNO_ACTIONS else number


def compile_filter(seccomp: "Seccomp") -> bytes:
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
        return posix.read(fd, posix.fstat(fd).st_size)
    finally:
        posix.close(fd)
