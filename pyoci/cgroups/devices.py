"""Which device nodes the container may use: the rules, and their two forms in the kernel.

The rules of ``linux.resources.devices`` are applied in the listed order, those of DEFAULTS behind them.
For each kind of access (read, write, mknod) the last rule that matches the device decides; what no rule
matches is denied.  An access is allowed when every kind it asks for is.

v1 takes lines for ``devices.allow`` and ``devices.deny`` (kernel, admin-guide/cgroup-v1/devices.rst), v2 a
BPF program (admin-guide/cgroup-v2.rst, "Device controller").
"""

import sys
from _struct import pack
from dataclasses import dataclass

from pyoci.errors import ConfigError, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    Key = tuple[str, int | None, int | None]

    class RuleLike(Protocol):
        """What a rule of the configuration looks like."""

        @property
        def allow(self) -> bool: ...  # noqa: D102
        @property
        def type(self) -> str | None: ...  # noqa: D102
        @property
        def major(self) -> int | None: ...  # noqa: D102
        @property
        def minor(self) -> int | None: ...  # noqa: D102
        @property
        def access(self) -> str | None: ...  # noqa: D102


POINTER = "/linux/resources/devices"

# BPF_DEVCG_ACC_* and BPF_DEVCG_DEV_* of linux/bpf.h.
ACCESS_BITS = {"m": 1, "r": 2, "w": 4}
ALL_ACCESS = 7
INSTRUCTION_SIZE = 8  # bytes of a struct bpf_insn
TYPE_NUMBERS = {"b": 1, "c": 2}
MAX_NUMBER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule with everything spelled out: type is a, b or c, None is any number, access is a mask."""

    allow: bool
    type: str
    major: int | None
    minor: int | None
    access: int


def _allow(kind: str, major: int | None, minor: int | None, access: int = ALL_ACCESS) -> Rule:
    return Rule(allow=True, type=kind, major=major, minor=minor, access=access)


# What every container may do, as with runc: make any node, and use the devices that config-linux.md#default-devices
# promises, terminals and tun.  The container's /dev/console is one of its terminals; c 5:1 is the console of the host.
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


def rules(configured: "Iterable[RuleLike]") -> list[Rule]:
    """Give the rules in force: those of the configuration, then the defaults.

    An absent type, number or access means all of them, and so does a number below 0.
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
    mask = 0
    for letter in letters:
        mask |= ACCESS_BITS[letter]
    return mask


def rule_words(rule: Rule) -> str:
    """Return a rule as the lines of v1 say it, with what it does before it."""
    return f"{'allow' if rule.allow else 'deny'} {_line(rule.type, rule.major, rule.minor, rule.access)}"


def _line(kind: str, major: int | None, minor: int | None, access: int) -> str:
    """Return type, numbers and kinds of access as v1 writes them."""
    numbers = ":".join("*" if number is None else str(number) for number in (major, minor))
    return f"{kind} {numbers} {''.join(letter for letter in 'rwm' if access & ACCESS_BITS[letter])}"


def _matches_all(rule: Rule) -> bool:
    return rule.type == "a" and rule.major is None and rule.minor is None and rule.access == ALL_ACCESS


def unrestricted(listed: "Sequence[Rule]") -> bool:
    """Tell whether the rules allow every use of every device, as those of a privileged container do."""
    for rule in reversed(listed):
        if not rule.allow or _matches_all(rule):
            return rule.allow
    return False


# ---- v1 ----


def v1_lines(listed: "Sequence[Rule]") -> list[tuple[str, str]]:
    """Give what to write, in order, as (file, line): first deny everything, then what is left of the rules.

    The kernel keeps a default and a list of exceptions to it, and removes an exception only when it is
    named exactly.  So the rules are played here, and their outcome is written.

    Raises:
        ConfigError: a rule takes away a part of what a wider one gave, which v1 cannot express.
    """
    default, exceptions = _play(listed)
    lines = [("devices.allow" if default else "devices.deny", "a")]
    file = "devices.deny" if default else "devices.allow"
    for (kind, major, minor), access in exceptions.items():
        lines.append((file, _line(kind, major, minor, access)))
    return lines


def _play(listed: "Sequence[Rule]") -> "tuple[bool, dict[Key, int]]":
    """Apply the rules in order to "deny everything"; give the default and the exceptions to it."""
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


def _take_back(exceptions: "dict[Key, int]", key: "Key", access: int, index: int) -> None:
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


def _near(exceptions: "dict[Key, int]", key: "Key") -> "list[Key]":
    """Return the exceptions that may overlap with *key*: of one device few, however many there are."""
    kind, major, minor = key
    if major is None or minor is None:
        return list(exceptions)
    wider = ((kind, major, minor), (kind, major, None), (kind, None, minor), (kind, None, None))
    return [other for other in wider if other in exceptions]


def _overlap(one: "Key", other: "Key") -> bool:
    return one[0] == other[0] and all(
        a is None or b is None or a == b for a, b in zip(one[1:], other[1:], strict=True)
    )


def _covers(wide: "Key", narrow: "Key") -> bool:
    return wide[0] == narrow[0] and all(
        a is None or a == b for a, b in zip(wide[1:], narrow[1:], strict=True)
    )


# ---- v2 ----

# Instructions of BPF: class, operation and source in a byte; kernel, bpf/standardization/instruction-set.rst.
LDX_W = 0x61
MOV64_IMM = 0xB7
MOV32_REG = 0xBC
AND32_IMM = 0x54
RSH32_IMM = 0x74
JA = 0x05
JNE32_IMM = 0x56
JSET32_IMM = 0x46
EXIT = 0x95

RESULT, CONTEXT, TYPE, WANTED, MAJOR, MINOR = range(6)


def _insn(code: int, dst: int = 0, value: int = 0, *, src: int = 0, jump: int = 0) -> bytes:
    """Encode one instruction; the two registers share a byte whose halves follow the byte order."""
    registers = src << 4 | dst if sys.byteorder == "little" else dst << 4 | src
    return pack("=BBhI", code, registers, jump, value & MAX_NUMBER)


# struct bpf_cgroup_dev_ctx holds access_type (access << 16 | type), major and minor, each a u32.
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


def v2_program(listed: "Sequence[Rule]") -> bytes:
    """Compile the rules to a BPF_PROG_TYPE_CGROUP_DEVICE program: 1 allows, 0 denies.

    The program asks the last rule first.  WANTED holds the kinds of access that no rule has decided yet:
    a rule that denies one of them ends it with 0, a rule that allows takes its kinds out, and when none
    is left the answer is 1, which RESULT holds from the beginning.  The kernel takes 2 µs to verify and compile
    an instruction, so they are few.
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
    """Give the instructions of one rule; they fall through when it does not match or does not decide."""
    if any(number is not None and number > MAX_NUMBER for number in (rule.major, rule.minor)):
        return []  # no device has such a number
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
