"""The work grows with the size of a document, not with its square: a count for n things and one for twice as many.

What is counted are the bytecodes that Python executes, and the comparisons of names where C executes them.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pyoci import codec
from pyoci.cgroups import devices
from pyoci.cgroups.layout import Layout
from pyoci.config.parse import parse_config
from pyoci.config.resources import DeviceCgroup
from pyoci.config.source import Option
from pyoci.config.versions import minor
from pyoci.errors import ConfigError
from pyoci.lifecycle.rights import warn_of_unknown_capabilities
from pyoci.log import log
from pyoci.plan import build, host
from pyoci.plan.builder import Facts, Request
from pyoci.plan.describe import as_lines
from pyoci.plan.process import once_each
from pyoci.stage.encode import encode

MANY = 150
# Twice the work and a logarithm; four times would be the square.
MOST = 2.6
IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def bytecodes(work: Callable[[], object]) -> int:
    """Count what the interpreter executes for *work*."""
    count = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def names(count: int) -> list[str]:
    return [f"unknown{number}" for number in range(count)]


def config(**members: Any) -> dict[str, Any]:
    namespaces = [{"type": kind} for kind in ("mount", "network", "user")]
    linux = {"namespaces": namespaces, "uidMappings": IDS, "gidMappings": IDS, **members.pop("linux", {})}
    process = {"args": ["a"], "cwd": "/", **members.pop("process", {})}
    return {"ociVersion": "1.3.0", "root": {"path": "r"}, "process": process, "linux": linux, **members}


def refused(value: Any) -> None:
    with pytest.raises(ConfigError):
        parse_config(codec.loads(json.dumps(value, indent=1).encode(), "config.json"))


WRONG: dict[str, Callable[[int], Any]] = {
    "entries of a list": lambda n: config(process={"env": names(n)}),
    "words": lambda n: config(process={"rlimits": [{"type": name, "soft": 0, "hard": 0} for name in names(n)]}),
    "members of a map": lambda n: config(annotations=dict.fromkeys(names(n), 1)),
    "missing members": lambda n: config(mounts=[{}] * n),
    "options of a bind mount": lambda n: config(mounts=[{"destination": "/a", "source": "/b", "options": ["bind", *names(n)]}]),
    "parameters": lambda n: config(linux={"sysctl": dict.fromkeys(names(n), "1")}),
    "devices": lambda n: config(linux={"netDevices": dict.fromkeys(names(n), {"name": "same"})}),
    "groups": lambda n: config(process={"user": {"uid": 0, "gid": 0, "additionalGids": list(range(70000, 70000 + n))}}),
    "namespaces": lambda n: config(linux={"namespaces": [{"type": "pid"}] * n}),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_many_errors(wrong: Callable[[int], Any]) -> None:
    few, many = (bytecodes(lambda count=count: refused(wrong(count))) for count in (MANY, 2 * MANY))
    assert many < MOST * few


RIGHT: dict[str, Callable[[int], Any]] = {
    "environment": lambda n: config(process={"env": [f"{name}=1" for name in names(n)] * 2}),
    "hooks of the host": lambda n: config(hooks={"prestart": [{"path": f"/{name}"} for name in names(n)]}),
    "unified": lambda n: config(linux={"resources": {"unified": {f"memory.{name}": "1" for name in names(n)}}}),
    "hooks": lambda n: config(hooks={"createContainer": [{"path": f"/{name}"} for name in names(n)]}),
    "mounts": lambda n: config(mounts=[{"destination": f"/{name}", "source": f"/{name}", "options": ["bind"]} for name in names(n)]),
    "climbing mounts": lambda n: config(mounts=[{"destination": "/a" * n + "/.." * n, "type": "tmpfs"}]),
    "devices": lambda n: config(linux={"devices": [{"type": "c", "path": "/dev/ptmx", "major": 1, "minor": 1}] * n}),
    "paths": lambda n: config(linux={"maskedPaths": [f"/{name}" for name in names(n)]}),
    "parameters": lambda n: config(linux={"sysctl": {f"net.{name}": "1" for name in names(n)}}),
    "capabilities": lambda n: config(process={"capabilities": {"bounding": names(n)}}),
}


def planned(value: Any) -> None:
    read = parse_config(codec.loads(json.dumps(value, indent=1).encode(), "config.json"))
    facts = Facts(privileged=True, euid=0, layout=Layout(mounts={"": "/sys/fs/cgroup"}))
    request = Request(id="c", bundle="/b", rootfs="/b/r", cgroupPaths={"": "/sys/fs/cgroup/c"})
    encode(build.create(read, request, facts))
    list(as_lines(host.create(read, request, facts, root="/run")))


@pytest.mark.parametrize("right", RIGHT.values(), ids=RIGHT)
def test_a_large_configuration(right: Callable[[int], Any]) -> None:
    few, many = (bytecodes(lambda count=count: planned(right(count))) for count in (MANY, 2 * MANY))
    assert many < MOST * few


def played(count: int) -> None:
    rules = [DeviceCgroup(allow=allow, type="c", major=number, minor=1) for allow in (True, False) for number in range(count)]
    devices.v1_lines(devices.rules(rules))


def test_many_device_rules() -> None:
    few, many = (bytecodes(lambda count=count: played(count)) for count in (MANY, 2 * MANY))
    assert many < MOST * few


class Counted(str):
    """A name that counts how often it is compared."""

    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return str.__eq__(self, other)

    def __lt__(self, other: str) -> bool:
        Counted.comparisons += 1
        return str.__lt__(self, other)

    __hash__ = str.__hash__


def comparisons(work: Callable[[], object]) -> int:
    Counted.comparisons = 0
    work()
    return Counted.comparisons


def find_all(count: int) -> None:
    document = codec.loads(json.dumps(dict.fromkeys(names(count), 1)).encode(), "x")
    document._items = [Counted(item) if isinstance(item, str) else item for item in document._items]
    document.places([f"/{name}" for name in names(count)])


def test_the_names_of_one_object_are_searched_once() -> None:
    few, many = (comparisons(lambda count=count: find_all(count)) for count in (1000, 2000))
    assert 1000 < many < MOST * few


def test_the_characters_of_one_line_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document without line ends is one line, in which columns are told."""
    sizes: list[int] = []

    def length(value: Any) -> int:
        sizes.append(len(value) if isinstance(value, str) else 0)
        return len(value)

    monkeypatch.setattr(codec, "len", length, raising=False)
    document = codec.loads(json.dumps(list(range(2000))).encode(), "x")
    sizes.clear()
    document.places([f"/{number}" for number in range(2000)])
    assert sum(sizes) < 20 * len(json.dumps(list(range(2000))))


def test_the_environment_keeps_its_order() -> None:
    assert once_each(["A=1", "B=1", "A=2", "C=", "A=3", "B=2"]) == ["A=3", "B=2", "C="]
    assert once_each([]) == []


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ({"process": {"execCPUAffinity": {"initial": "9" * 60000}}}, "/process/execCPUAffinity/initial"),
        ({"process": {"execCPUAffinity": {"final": "0-" + "9" * 60000}}}, "/process/execCPUAffinity/final"),
        ({"process": {"execCPUAffinity": {"final": ",".join(["0-8191"] * 9)}}}, "/process/execCPUAffinity/final"),
        ({"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "1-" + "9" * 60000}}}, "/linux/memoryPolicy/nodes"),
        ({"linux": {"namespaces": [{"type": "pid"}] * 9}}, "/linux/namespaces"),
        ({"linux": {"uidMappings": IDS * 341}}, "/linux/uidMappings"),
        ({"process": {"user": {"uid": 0, "additionalGids": [1] * 65537}}}, "/process/user/additionalGids"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_too_long_is_refused(text: Any, pointer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(codec.loads(json.dumps(config(**text)).encode(), "config.json"))
    assert caught.value.problems[0].pointer == pointer
    assert len(str(caught.value)) < 400


def test_a_version_of_many_digits_is_a_new_one() -> None:
    assert minor(f"1.{'9' * 60000}.0") > 3


def test_unknown_capabilities_are_counted() -> None:
    process = parse_config(
        codec.loads(json.dumps(config(process={"capabilities": {"bounding": names(100000)}})).encode(), "x")
    ).process
    level, log.level = log.level, 1
    shown: list[str] = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pyoci.log.write_quietly", lambda _fd, text: shown.append(text))
            warn_of_unknown_capabilities(process, Option("x"))
    finally:
        log.level = level
    (line,) = shown
    assert "unknown0, unknown1, unknown2 and 99997 more" in line and len(line) < 400
