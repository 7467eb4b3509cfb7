"""Device rules: order, defaults, and their form in v1."""

from types import SimpleNamespace

import pytest

from pyoci.cgroups import devices
from pyoci.cgroups.devices import DEFAULTS, INSTRUCTION, rule_words, rules, unrestricted, v1_lines, v2_program
from pyoci.config.resources import DeviceCgroup as Given
from pyoci.errors import ConfigError

DENY_ALL = Given(allow=False, access="rwm")
ALLOW_ALL = Given(allow=True, access="rwm")
NULL = Given(allow=True, type="c", major=1, minor=3, access="rw")


def lines(*given: Given) -> list[tuple[str, str]]:
    """Return the lines for these rules, without the defaults."""
    return v1_lines(rules(given)[: len(given)])


def test_the_defaults_come_last() -> None:
    assert tuple(rules([NULL])[1:]) == DEFAULTS
    assert rules([NULL])[0].access == 6


def test_without_rules_the_defaults_are_what_is_allowed() -> None:
    written = v1_lines(rules([]))
    assert written[0] == ("devices.deny", "a")
    assert written[1:] == [
        ("devices.allow", line)
        for line in (
            "c *:* m",
            "b *:* m",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm",
            "c 136:* rwm",
            "c 10:200 rwm",
        )
    ]


def test_an_absent_access_type_or_number_is_all_of_them() -> None:
    assert lines(Given(allow=True)) == [("devices.allow", "a")]
    assert lines(Given(allow=True, type="a", major=-1, minor=-1, access="")) == [("devices.allow", "a")]


def test_v1_writes_what_the_rules_come_to() -> None:
    assert lines(ALLOW_ALL, DENY_ALL, NULL) == [("devices.deny", "a"), ("devices.allow", "c 1:3 rw")]
    assert lines(DENY_ALL, NULL, ALLOW_ALL) == [("devices.allow", "a")]
    assert lines(NULL, Given(allow=False, type="c", access="w")) == [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 r"),
    ]
    assert lines(ALLOW_ALL, Given(allow=False, type="b", major=8, access="rw")) == [
        ("devices.allow", "a"),
        ("devices.deny", "b 8:* rw"),
    ]


def test_v1_numbers_of_any_type_do_not_mean_everything() -> None:
    """For the kernel a v1 line of type a means all devices, whatever its numbers are."""
    assert lines(Given(allow=True, type="a", major=8, access="r")) == [
        ("devices.deny", "a"),
        ("devices.allow", "b 8:* r"),
        ("devices.allow", "c 8:* r"),
    ]


def test_one_kind_of_access_to_every_device_is_not_everything() -> None:
    reading = Given(allow=True, access="r")
    assert lines(reading) == [("devices.deny", "a"), ("devices.allow", "b *:* r"), ("devices.allow", "c *:* r")]
    assert not unrestricted(rules([reading]))
    assert not unrestricted(rules([ALLOW_ALL, Given(allow=False, access="r")]))


def test_v1_refuses_a_hole_in_a_wider_rule() -> None:
    """The v1 kernel would keep the wider rule, and the denial would be void."""
    hole = Given(allow=False, type="c", major=1, minor=3, access="w")
    with pytest.raises(ConfigError) as caught:
        lines(Given(allow=True, type="c", major=1, access="rw"), hole)
    assert caught.value.problems[0].pointer == "/linux/resources/devices/1"
    assert str(caught.value).startswith("config.json: /linux/resources/devices/1: ")
    assert len(lines(Given(allow=True, type="c", major=1, access="r"), hole)) == 2
    assert len(lines(Given(allow=True, type="b", major=1, access="rw"), hole)) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], False),
        ([ALLOW_ALL], True),
        ([DENY_ALL, ALLOW_ALL], True),
        ([ALLOW_ALL, DENY_ALL], False),
        ([NULL], False),
        ([ALLOW_ALL, Given(allow=False, type="c", major=1, minor=3, access="w")], False),
    ],
)
def test_unrestricted(given: list[Given], expected: bool) -> None:
    assert unrestricted(rules(given)) is expected


def test_rules_behind_a_decision_on_everything_cost_nothing() -> None:
    assert len(v2_program(rules([NULL] * 500 + [DENY_ALL]))) < len(v2_program(rules([NULL] * 10)))


def test_device_number_0_is_a_number() -> None:
    """A negative number matches any; treating 0 like that would allow every device."""
    assert lines(Given(allow=True, type="c", major=0, minor=0, access="r"))[1:] == [("devices.allow", "c 0:0 r")]
    assert lines(Given(allow=True, type="c", major=-1, minor=-1, access="r"))[1:] == [("devices.allow", "c *:* r")]


def test_v1_takes_back_what_a_later_rule_denies() -> None:
    denied = Given(allow=False, type="c", major=1, minor=3, access="rw")
    assert lines(NULL, denied) == [("devices.deny", "a")], "nothing is left of it, not even an empty line"
    assert lines(NULL, Given(allow=False, type="c", minor=3, access="rw")) == [("devices.deny", "a")]
    assert lines(NULL, Given(allow=False, type="c", major=1, access="r"))[1:] == [("devices.allow", "c 1:3 w")]


def test_v1_lets_other_devices_alone_when_it_takes_back() -> None:
    disk = Given(allow=True, type="b", major=8, access="rw")
    zero = Given(allow=True, type="c", major=1, minor=5, access="r")
    assert lines(disk, zero, NULL, Given(allow=False, type="c", minor=3, access="rw"))[1:] == [
        ("devices.allow", "b 8:* rw"),
        ("devices.allow", "c 1:5 r"),
    ]


def test_a_rule_in_words() -> None:
    given = [NULL, Given(allow=False, type="b", major=8, access="m"), ALLOW_ALL]
    assert [rule_words(rule) for rule in rules(given)[:3]] == ["allow c 1:3 rw", "deny b 8:* m", "allow a *:* rwm"]


@pytest.mark.parametrize(("order", "registers"), [("little", 0x12), ("big", 0x21)])
def test_registers_share_a_byte_in_the_order_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, order: str, registers: int
) -> None:
    monkeypatch.setattr(devices, "sys", SimpleNamespace(byteorder=order))
    assert devices._insn(0x61, 2, src=1, jump=4)[1] == registers


def test_size_of_a_program() -> None:
    """The prologue has seven instructions, a denial two: struct bpf_insn of linux/bpf.h has 8 bytes."""
    assert INSTRUCTION.size == 8
    assert len(v2_program([])) == INSTRUCTION.size * 9
