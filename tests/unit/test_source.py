"""Where settings come from, and how an error that passes by learns it."""

import pytest

from pyoci.config.source import Option, Parts, Source
from pyoci.errors import ConfigError, Error, HookError, KernelError, Problem, Spot

TEXT = b'{\n "mounts": [\n  {"type": "x"}]}'
CONFIG = Source("config.json", lambda: TEXT)


def located(error: Error, source: Source = CONFIG) -> str:
    with pytest.raises(type(error)), source:
        raise error
    return str(error)


def test_an_error_is_told_its_place() -> None:
    text = located(KernelError("mounting", 1, "/mounts/0", "a hint"))
    assert text == "mounting: Operation not permitted (EPERM) [config.json:3:3: /mounts/0]; a hint"
    assert located(HookError("it failed", "/mounts/0/type", "it printed: x")) == (
        "it failed [config.json:3:12: /mounts/0/type]; it printed: x"
    )


def test_an_error_of_no_setting_has_no_place() -> None:
    assert located(KernelError("mounting", 1)) == "mounting: Operation not permitted (EPERM)"


def test_what_is_not_there_has_the_place_of_what_it_is_missing_in() -> None:
    assert located(Error("missing", "/mounts/0/source")) == "missing [config.json:3:3: /mounts/0/source]"


def test_the_first_source_counts() -> None:
    error = Error("x", "/cwd")
    located(error, Option("--cwd"))
    assert located(error) == "x [--cwd]"


def test_problems_are_found_unless_they_have_been() -> None:
    found = ConfigError("config.json", [Problem(pointer="/mounts", message="a"), Problem(pointer="/x", message="b")])
    assert located(found) == "config.json:2:12: /mounts: a (and 1 more problem)"
    assert [(problem.line, problem.column) for problem in found.problems] == [(2, 12), (1, 1)]
    known = ConfigError("other.json", [Problem(pointer="/mounts", message="a", line=7, column=8)])
    assert located(known) == "other.json:7:8: /mounts: a"


def test_a_text_that_has_gone_leaves_the_pointer() -> None:
    def gone() -> bytes:
        raise FileNotFoundError

    assert located(Error("x", "/mounts"), Source("a.json", gone)) == "x [a.json: /mounts]"
    assert located(Error("x", "/mounts"), Source("a.json", lambda: b"{")) == "x [a.json: /mounts]"


def test_parts_have_sources_of_their_own() -> None:
    process = Source("process.json", lambda: b'{"cwd": 1}', "/process")
    source = Parts([("/process/terminal", Option("--tty")), ("/process", process)], CONFIG)
    assert [str(spot) for spot in source.find(["/process/terminal", "/process/cwd", "/process", "/mounts", "/processes"])] == [
        "--tty",
        "process.json:1:9: /cwd",
        "process.json:1:1",
        "config.json:2:12: /mounts",
        "config.json:1:1: /processes",
    ]


def test_nothing_is_read_before_an_error() -> None:
    def never() -> bytes:
        raise AssertionError

    with Source("x", never):
        assert str(Spot(pointer="/a")) == "config.json: /a"
