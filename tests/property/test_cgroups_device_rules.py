"""The device program and the v1 lines decide as the rules do."""

import struct
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from pyoci.cgroups.devices import Rule, v1_lines, v2_program
from pyoci.errors import ConfigError

Request = tuple[str, int, int, int]

NUMBERS = (0, 1, 3, 8)
RULES = st.lists(
    st.builds(
        Rule,
        allow=st.booleans(),
        type=st.sampled_from("abc"),
        major=st.sampled_from((None, *NUMBERS, 0xFFFFFFFF, 1 << 40)),
        minor=st.sampled_from((None, *NUMBERS)),
        access=st.integers(1, 7),
    ),
    max_size=8,
)
ACCESS = st.integers(1, 7)


def requests(rules: list[Rule], access: int) -> Iterator[Request]:
    """Yield a request for each device that a rule names, by any of the numbers, and for others."""
    majors = {rule.major for rule in rules if rule.major is not None and rule.major <= 0xFFFFFFFF} | {9}
    minors = {rule.minor for rule in rules if rule.minor is not None} | {9}
    return ((kind, major, minor, access) for kind in "bc" for major in majors for minor in minors)


def verdict(rules: list[Rule], request: Request) -> bool:
    """Decide as the specification says: for each kind of access the last rule that matches, else denied."""
    kind, major, minor, access = request
    for bit in (1, 2, 4):
        matching = [
            rule.allow
            for rule in rules
            if rule.access & bit
            and rule.type in ("a", kind)
            and rule.major in (None, major)
            and rule.minor in (None, minor)
        ]
        if access & bit and not (matching and matching[-1]):
            return False
    return True


UNUSED = {
    0x61: ("value",), 0xB7: ("src", "jump"), 0xBC: ("jump", "value"), 0x54: ("src", "jump"), 0x74: ("src", "jump"),
    0x05: ("src", "dst", "value"), 0x56: ("src",), 0x46: ("src",), 0x95: ("src", "dst", "jump", "value"),
}  # fmt: skip


def interpret(program: bytes, request: Request) -> int:
    """Run a program of the few instructions that the compiler uses."""
    kind, major, minor, access = request
    context = {0: access << 16 | {"b": 1, "c": 2}[kind], 4: major, 8: minor}
    insns = list(struct.iter_unpack("<BBhI", program))
    registers = dict.fromkeys(range(6), 0)
    at = 0
    while True:
        code, both, jump, value = insns[at]
        dst, src = both & 15, both >> 4
        at += 1
        # The verifier refuses an instruction that has something in a field that it does not use.
        assert {"src": src, "dst": dst, "jump": jump, "value": value}.items() >= dict.fromkeys(UNUSED[code], 0).items()
        match code:
            case 0x61:
                assert src == 1, "the kernel passes the context in the first register"
                registers[dst] = context[jump]
            case 0xB7:
                registers[dst] = value
            case 0xBC:
                registers[dst] = registers[src]
            case 0x54:
                registers[dst] &= value
            case 0x74:
                registers[dst] >>= value
            case 0x05:
                at += jump
            case 0x56:
                at += jump if registers[dst] != value else 0
            case 0x46:
                at += jump if registers[dst] & value else 0
            case 0x95:
                return registers[0]
            case _:
                raise AssertionError(f"instruction {code:#x}")


@given(RULES, ACCESS)
def test_the_program_decides_as_the_rules_do(rules: list[Rule], access: int) -> None:
    program = v2_program(rules)
    for request in requests(rules, access):
        assert interpret(program, request) == verdict(rules, request)


class Kernel:
    """The devices controller of v1: a default, and exceptions that are found by exact numbers."""

    def __init__(self) -> None:
        self.default = True
        self.exceptions: dict[tuple[str, str], set[str]] = {}

    def write(self, file: str, line: str) -> None:
        allow = file == "devices.allow"
        if line == "a":
            self.default = allow
            self.exceptions.clear()
            return
        kind, numbers, access = line.split(" ")
        if allow == self.default:
            self.exceptions.get((kind, numbers), set()).difference_update(access)
        else:
            self.exceptions.setdefault((kind, numbers), set()).update(access)

    def allows(self, request: Request) -> bool:
        kind, major, minor, access = request
        wanted = {letter for letter, bit in (("m", 1), ("r", 2), ("w", 4)) if access & bit}
        found = []
        for (its_kind, numbers), mask in self.exceptions.items():
            its_major, its_minor = numbers.split(":")
            if its_kind == kind and its_major in ("*", str(major)) and its_minor in ("*", str(minor)):
                found.append(mask)
        if self.default:
            return not any(mask & wanted for mask in found)
        return any(wanted <= mask for mask in found)


def played(rules: list[Rule]) -> Kernel | None:
    """Return the kernel after the lines of these rules; None when version 1 cannot express them."""
    kernel = Kernel()
    try:
        lines = v1_lines(rules)
    except ConfigError:
        return None
    for file, line in lines:
        kernel.write(file, line)
    return kernel


@given(RULES, ACCESS)
def test_v1_never_allows_what_the_rules_deny(rules: list[Rule], access: int) -> None:
    """It may deny more: the kernel wants one exception that has every kind of access of a request."""
    if (kernel := played(rules)) is not None:
        for request in requests(rules, access):
            assert kernel.allows(request) <= verdict(rules, request)


@given(RULES, st.sampled_from((1, 2, 4)))
def test_v1_decides_as_the_rules_do_on_a_single_kind_of_access(rules: list[Rule], access: int) -> None:
    if (kernel := played(rules)) is not None:
        for request in requests(rules, access):
            assert kernel.allows(request) == verdict(rules, request)
