"""The device nodes that the container may use: the rules, and their form in cgroup v1 and v2.

The rules of ``linux.resources.devices`` are applied in order, and DEFAULTS after them.  For each kind of access (read,
write, mknod) the last rule that matches the device decides; without one the access is denied.  An access of several
kinds is allowed if each of them is.

v1 has the files devices.allow and devices.deny (kernel, admin-guide/cgroup-v1/devices.rst), v2 a BPF program
(admin-guide/cgroup-v2.rst, "Device controller").
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct

from pyoci import linux
from pyoci.config.resources import DeviceCgroup
from pyoci.errors import ConfigError, Problem

# Type, major and minor; a number of None is any.
Key = tuple[str, int | None, int | None]

POINTER = "/linux/resources/devices"

ACCESS_BITS = {
    "r": linux.BPF_DEVCG_ACC_READ,
    "w": linux.BPF_DEVCG_ACC_WRITE,
    "m": linux.BPF_DEVCG_ACC_MKNOD,
}
ALL_ACCESS = sum(ACCESS_BITS.values())
TYPE_NUMBERS = {"b": linux.BPF_DEVCG_DEV_BLOCK, "c": linux.BPF_DEVCG_DEV_CHAR}
MAX_NUMBER = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule; type is a, b or c, a number of None matches any, access is a combination of BPF_DEVCG_ACC_*."""

    allow: bool
    type: str
    major: int | None
    minor: int | None
    access: int


def _allow(kind: str, major: int | None, minor: int | None, access: int = ALL_ACCESS) -> Rule:
    return Rule(allow=True, type=kind, major=major, minor=minor, access=access)


# As in runc every container may create any node, and use the default devices (config-linux.md#default-devices),
# terminals and tun.  The container's /dev/console is one of its terminals; c 5:1 is the host's console.
DEFAULTS = (
    _allow("c", None, None, ACCESS_BITS["m"]),
    _allow("b", None, None, ACCESS_BITS["m"]),
    _allow("c", 1, 3),  # null
    _allow("c", 1, 5),  # zero
    _allow("c", 1, 7),  # full
    _allow("c", 1, 8),  # random
    _allow("c", 1, 9),  # urandom
    _allow("c", 5, 0),  # tty
    _allow("c", 5, 2),  # ptmx
    _allow("c", 136, None),  # pts
    _allow("c", 10, 200),  # net/tun
)


def rules(configured: Iterable[DeviceCgroup]) -> list[Rule]:
    """Return the rules of the configuration, followed by DEFAULTS.

    An absent type, number or access matches all of them, and so does a negative number.
    """
    listed = [
        Rule(
            allow=rule.allow,
            type=rule.type or "a",
            major=_number(rule.major),
            minor=_number(rule.minor),
            access=_mask(rule.access or "rwm"),
        )
        for rule in configured
    ]
    return [*listed, *DEFAULTS]


def _number(number: int | None) -> int | None:
    return None if number is None or number < 0 else number


def _mask(letters: str) -> int:
    return sum(ACCESS_BITS[letter] for letter in {*letters})


def rule_words(rule: Rule) -> str:
    """Return a rule in the syntax of v1, after ``allow`` or ``deny``."""
    return f"{'allow' if rule.allow else 'deny'} {_line(rule.type, rule.major, rule.minor, rule.access)}"


def _line(kind: str, major: int | None, minor: int | None, access: int) -> str:
    """Return type, numbers and access in the syntax of v1."""
    numbers = ":".join("*" if number is None else str(number) for number in (major, minor))
    return f"{kind} {numbers} {''.join(letter for letter, bit in ACCESS_BITS.items() if access & bit)}"


def _matches_all(rule: Rule) -> bool:
    return rule.type == "a" and rule.major is None and rule.minor is None and rule.access == ALL_ACCESS


def unrestricted(listed: Sequence[Rule]) -> bool:
    """Return whether the rules allow every access to every device, as those of a privileged container do."""
    for rule in reversed(listed):
        if not rule.allow or _matches_all(rule):
            return rule.allow
    return False


# ---- v1 ----


def v1_lines(listed: Sequence[Rule]) -> list[tuple[str, str]]:
    """Return the lines to write, in order, each with its file.

    The kernel has a default and a list of exceptions to it, and only removes an exception that is named exactly.
    So the rules are evaluated here, and only their result is written: the default, then the exceptions.

    Raises:
        ConfigError: a rule takes away a part of what a wider rule gave, which v1 cannot express.
    """
    default, exceptions = _evaluate(listed)
    lines = [("devices.allow" if default else "devices.deny", "a")]
    file = "devices.deny" if default else "devices.allow"
    for (kind, major, minor), access in exceptions.items():
        lines.append((file, _line(kind, major, minor, access)))
    return lines


def _evaluate(listed: Sequence[Rule]) -> tuple[bool, dict[Key, int]]:
    """Return the default and the exceptions to it, after all rules were applied to "deny everything"."""
    default = False
    exceptions: dict[Key, int] = {}
    for index, rule in enumerate(listed):
        if _matches_all(rule):
            default = rule.allow
            exceptions.clear()
            continue
        for kind in ("b", "c") if rule.type == "a" else (rule.type,):
            key = (kind, rule.major, rule.minor)
            if rule.allow == default:
                _take_back(exceptions, key, rule.access, index)
            else:
                exceptions[key] = exceptions.get(key, 0) | rule.access
    return default, exceptions


def _take_back(exceptions: dict[Key, int], key: Key, access: int, index: int) -> None:
    """Remove *access* from every exception that *key* covers."""
    for other in _near(exceptions, key):
        mask = exceptions[other]
        if not mask & access or not _overlap(key, other):
            continue
        if not _covers(key, other):
            problem = Problem(
                pointer=f"{POINTER}/{index}",
                message="cgroup v1 cannot take a part out of an earlier rule of wider numbers",
            )
            raise ConfigError("config.json", [problem])
        if mask & ~access:
            exceptions[other] = mask & ~access
        else:
            del exceptions[other]


def _near(exceptions: dict[Key, int], key: Key) -> list[Key]:
    """Return the exceptions that may overlap with *key*; without a search if it is that of one device."""
    kind, major, minor = key
    if major is None or minor is None:
        return list(exceptions)
    wider = ((kind, major, minor), (kind, major, None), (kind, None, minor), (kind, None, None))
    return [other for other in wider if other in exceptions]


def _overlap(one: Key, other: Key) -> bool:
    return one[0] == other[0] and all(
        a is None or b is None or a == b for a, b in zip(one[1:], other[1:], strict=True)
    )


def _covers(wide: Key, narrow: Key) -> bool:
    return wide[0] == narrow[0] and all(
        a is None or a == b for a, b in zip(wide[1:], narrow[1:], strict=True)
    )


# ---- v2 ----

# The opcodes of BPF instructions combine class, operation and source; kernel, bpf/standardization/instruction-set.rst.
LDX_W = linux.BPF_LDX | linux.BPF_MEM | linux.BPF_W
MOV64_IMM = linux.BPF_ALU64 | linux.BPF_MOV | linux.BPF_K
MOV32_REG = linux.BPF_ALU | linux.BPF_MOV | linux.BPF_X
AND32_IMM = linux.BPF_ALU | linux.BPF_AND | linux.BPF_K
RSH32_IMM = linux.BPF_ALU | linux.BPF_RSH | linux.BPF_K
JA = linux.BPF_JMP | linux.BPF_JA
JNE32_IMM = linux.BPF_JMP32 | linux.BPF_JNE | linux.BPF_K
JSET32_IMM = linux.BPF_JMP32 | linux.BPF_JSET | linux.BPF_K
EXIT = linux.BPF_JMP | linux.BPF_EXIT
INSTRUCTION = Struct("=BBhI")  # struct bpf_insn

# Registers.  The kernel passes the context in r1 and expects the result in r0.
RESULT, CONTEXT, TYPE, WANTED, MAJOR, MINOR = range(6)


def _insn(code: int, dst: int = 0, value: int = 0, *, src: int = 0, jump: int = 0) -> bytes:
    """Return one instruction; the order of the two registers in their byte follows the byte order."""
    registers = src << 4 | dst if sys.byteorder == "little" else dst << 4 | src
    return INSTRUCTION.pack(code, registers, jump, value & MAX_NUMBER)


# struct bpf_cgroup_dev_ctx has three u32: access_type (access << 16 | type), major and minor.
PROLOGUE = (
    _insn(MOV64_IMM, RESULT, 1),
    _insn(LDX_W, TYPE, src=CONTEXT, jump=0),
    _insn(MOV32_REG, WANTED, src=TYPE),
    _insn(RSH32_IMM, WANTED, 16),
    _insn(AND32_IMM, TYPE, 0xFFFF),
    _insn(LDX_W, MAJOR, src=CONTEXT, jump=4),
    _insn(LDX_W, MINOR, src=CONTEXT, jump=8),
)
DENIED = (_insn(MOV64_IMM, RESULT, 0), _insn(EXIT))


def v2_program(listed: Sequence[Rule]) -> bytes:
    """Return the rules as a BPF_PROG_TYPE_CGROUP_DEVICE program, which returns 1 to allow an access and 0 to deny it.

    The program tests the last rule first.  WANTED has the kinds of access that no rule has decided yet: a rule that
    denies one of them returns 0, a rule that allows some removes them from WANTED, and if none is left the program
    returns RESULT, which is 1 from the beginning.  The kernel takes 2 µs to verify and compile an instruction, so the
    program is kept short.
    """
    program = list(PROLOGUE)
    for rule in reversed(listed):
        program += _compile(rule)
        if _matches_all(rule):
            break
    else:
        program += DENIED
    return b"".join(program)


def _compile(rule: Rule) -> list[bytes]:
    """Return the instructions of one rule; they fall through if it does not match or does not decide."""
    if any(number is not None and number > MAX_NUMBER for number in (rule.major, rule.minor)):
        return []  # there is no device with such a number
    verdict = [_insn(EXIT)] if rule.allow else list(DENIED)
    if rule.access != ALL_ACCESS:
        if rule.allow:
            left = [_insn(AND32_IMM, WANTED, ~rule.access), _insn(JNE32_IMM, WANTED, 0, jump=len(verdict))]
        else:
            left = [_insn(JSET32_IMM, WANTED, rule.access, jump=1), _insn(JA, jump=len(verdict))]
        verdict = left + verdict
    tests = [
        (register, value)
        for register, value in ((TYPE, TYPE_NUMBERS.get(rule.type)), (MAJOR, rule.major), (MINOR, rule.minor))
        if value is not None
    ]
    skips = range(len(verdict) + len(tests) - 1, len(verdict) - 1, -1)
    return [
        _insn(JNE32_IMM, register, value, jump=skip)
        for (register, value), skip in zip(tests, skips, strict=True)
    ] + verdict
