"""No dict and no set is keyed by names that a configuration chooses.

The static file's hashes have one seed, which everybody can know: names that collide cost a time that grows with the
square of their number, and pyoci spends it outside the container's cgroup.  Such names cannot be tried here, as another
interpreter has another seed.  So this looks at what every function of pyoci holds when it returns, while a configuration
full of chosen names goes all its way.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyoci import codec
from pyoci.cgroups import v1, v2
from pyoci.cgroups.layout import Layout
from pyoci.config.model import Config
from pyoci.config.parse import parse_config
from pyoci.errors import ConfigError
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.state import State, public_state
from pyoci.plan import build
from pyoci.plan.builder import Facts, Request
from pyoci.stage.encode import encode

MARK = "chosen"
NAMES = [f"{MARK}{number}" for number in range(3)]
MAP = {name: name for name in NAMES}
IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
SOURCES = str(Path(build.__file__).parents[1])


def document() -> dict[str, Any]:
    """Return a configuration with chosen names wherever names can be chosen."""
    namespaces = [{"type": kind} for kind in ("mount", "user", "pid", "ipc", "uts", "network", "cgroup")]
    hook = {"path": f"/{MARK}", "args": NAMES, "env": [f"{name}=1" for name in NAMES]}
    return {
        "ociVersion": "1.3.0",
        "root": {"path": MARK},
        "process": {
            "args": NAMES,
            "cwd": f"/{MARK}",
            "env": [f"{name}=1" for name in (*NAMES, *NAMES)],
            "capabilities": {"bounding": NAMES},
            "apparmorProfile": MARK,
        },
        "mounts": [
            {"destination": f"/{name}", "type": name, "source": name, "options": [*NAMES, f"{name}=1"]} for name in NAMES
        ],
        "hooks": {"createContainer": [hook], "startContainer": [hook]},
        "linux": {
            "namespaces": namespaces,
            "uidMappings": IDS,
            "gidMappings": IDS,
            "sysctl": {f"net.{name}": name for name in NAMES},
            "resources": {
                "unified": {f"{name}.max": name for name in NAMES},
                "rdma": {name: {"hcaHandles": 1} for name in NAMES},
                "hugepageLimits": [{"pageSize": f"{number}MB", "limit": 1} for number in range(1, 4)],
            },
            "devices": [{"type": "c", "path": f"/dev/{name}", "major": 1, "minor": 3} for name in NAMES],
            "maskedPaths": [f"/{name}" for name in NAMES],
            "readonlyPaths": [f"/{name}" for name in NAMES],
            "cgroupsPath": f"/{MARK}",
            **MAP,
        },
        "annotations": MAP,
        **MAP,
    }


class Watch:
    """Collects the functions of pyoci that hold a dict or a set with a chosen name among its keys."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.seen = 0

    def __enter__(self) -> "Watch":
        sys.setprofile(self.look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def look(self, frame: Any, event: str, result: Any) -> None:
        if event != "return" or not frame.f_code.co_filename.startswith(SOURCES):
            return
        self.seen += 1
        for value in (*frame.f_locals.values(), result):
            if any(is_keyed(one) for one in (value, *attributes(value))):
                self.found.add(f"{frame.f_code.co_filename[len(SOURCES) + 1 :]}: {frame.f_code.co_name}")


def attributes(value: Any) -> Iterator[Any]:
    """Yield the attributes of an object of pyoci."""
    if type(value).__module__.startswith("pyoci"):
        yield from getattr(value, "__dict__", {}).values()
        for kind in type(value).__mro__:
            yield from (getattr(value, name, None) for name in getattr(kind, "__slots__", ()))


def is_keyed(value: Any) -> bool:
    """Return whether a value is a hash table with a chosen name in it."""
    if not isinstance(value, (dict, set, frozenset)):
        return False
    return any(MARK in str(key) for key in list(value))


def read(value: Any) -> codec.Document:
    """Read a document with this value."""
    return codec.loads(json.dumps(value).encode(), "config.json")


def plan_of(config: Config) -> None:
    """Make the plan, with privilege and without, and encode it."""
    request = Request(id="c", bundle="/b", rootfs="/b/r", extraEnv=[f"HOME=/{MARK}"])
    for privileged in (True, False):
        facts = Facts(privileged=privileged, euid=0, layout=Layout(mounts={"": "/sys/fs/cgroup"}))
        encode(build.create(config, request, facts))
        encode(build.execute(config, request, facts, frozenset(["mount", "user"])))


def test_a_configuration_is_planned() -> None:
    with Watch() as watch:
        config = parse_config(read(document()))
        plan_of(config)
        resources = config.linux.resources
        assert resources
        v2.unified(resources)
        v2.writes(resources)
        v1.writes(resources, set(v1.SECTIONS), None)
    assert not watch.found
    assert watch.seen > 1000


def test_its_state_is_kept(tmp_path: Path) -> None:
    config = parse_config(read(document()))
    directory = Directory.claim(str(tmp_path / "root"), "c")
    with Watch() as watch:
        state = State(
            id="c", ociVersion="1.3.0", bundle="/b", rootfs="/r", created="", owner="", annotations=config.annotations
        )
        directory.save(state)
        loaded = directory.load()
        assert loaded == state
        codec.dumps(public_state("1.3.0", "c", "created", 1, "/b", loaded.annotations))
    assert not watch.found
    assert watch.seen
    directory.close()


@pytest.mark.parametrize(
    "broken",
    [
        {**document(), "annotations": {name: 1 for name in NAMES}},
        {**document(), "linux": {"netDevices": {name: {"name": MARK} for name in NAMES}, "sysctl": MAP}},
        {"process": {"capabilities": MAP, "rlimits": [{"type": name} for name in NAMES]}},
        [MAP],
    ],
)
def test_it_is_refused(broken: Any) -> None:
    with Watch() as watch, pytest.raises(ConfigError):
        parse_config(read(broken))
    assert not watch.found
    assert watch.seen


def test_a_name_twice_is_found_without_a_set() -> None:
    with Watch() as watch, pytest.raises(ConfigError, match="duplicate name"):
        codec.loads(b'{"chosen1": 1, "chosen2": 2, "chosen1": 3}', "x")
    assert not watch.found
