"""Names that collide under the static file's seed cost no more than others, counted in instructions.

The seed of the file's hashes is in its source, so whoever writes a configuration can find such names: they fill an arc
of the slots that a dict walks through, and then all end in that arc.  A dict of them takes a time that grows with the
square of their number, outside the container's cgroup, before anything has been asked for.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source.tree import TREE

PYOCI = TREE / "build" / "pyoci"
BITS = 12  # of a table with 4096 slots: large enough to see, small enough to find the names in a second
MOST = 1.2

pytestmark = [
    pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed"),
    pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="hashes differ from the static file's"),
    pytest.mark.skipif(PYOCI.is_symlink(), reason="requires libpython3.x.a: the build could not make the static file"),
]

# What CPython's dict does with a hash: dictobject.c, "the probe sequence".
FIND = """
import itertools, sys
prefix, bits = sys.argv[1], int(sys.argv[2])
mask, count, names = (1 << bits) - 1, itertools.count(), []
arc, free, slot = bytearray(mask + 1), bytearray(mask + 1), 0
for _ in range((mask + 1) // 2):
    arc[slot] = free[slot] = 1
    slot = 5 * slot + 1 & mask
while any(free):
    name = f"{prefix}{next(count):x}"
    if free[hash(name) & mask]:
        free[hash(name) & mask] = 0
        names.append(name)
while len(names) < (mask + 1) * 2 // 3:
    name = f"{prefix}{next(count):x}"
    rest = hash(name) % 2**64
    slot = rest & mask
    while arc[slot] and rest:
        rest >>= 5
        slot = 5 * slot + rest + 1 & mask
    if arc[slot]:
        while arc[slot]:
            slot = 5 * slot + 1 & mask
        arc[slot] = 1
        names.append(name)
print(*names)
"""


def colliding(prefix: str) -> list[str]:
    """Find names that collide in the static file."""
    (seed,) = re.findall(r"HASH_SEED = (\d+)", (TREE / "native" / "static" / "main.c").read_text())
    command = [sys.executable, "-S", "-c", FIND, prefix, str(BITS)]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return found.stdout.split()


def others(names: list[str], prefix: str) -> list[str]:
    """Return as many names of the same length that somebody has counted, not chosen."""
    return [f"{prefix}{number:0{len(name) - len(prefix)}x}" for number, name in enumerate(names)]


def instructions(bundle: Path, names: list[str], parameters: list[str]) -> int:
    """Count what planning a configuration with these names takes."""
    bundle.mkdir()
    config = {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"args": ["a"], "cwd": "/", "env": [f"{name}=1" for name in names]},
        "annotations": dict.fromkeys(names, ""),
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "network"}],
            "sysctl": dict.fromkeys(parameters, "1"),
            "resources": {"unified": dict.fromkeys(parameters, "1")},
            **dict.fromkeys(names, 1),
        },
    }
    (bundle / "config.json").write_text(json.dumps(config))
    plan = [str(PYOCI), "plan", "--view", "v2", "--bundle", str(bundle)]
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *plan]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (counted,) = re.findall(r"Collected : (\d+)", done.stderr)
    return int(counted)


def test_colliding_names_cost_no_more_than_others(tmp_path: Path) -> None:
    names, parameters = colliding("n"), colliding("net.n")
    assert len(set(names)) == len(names) > 2700
    chosen = instructions(tmp_path / "chosen", names, parameters)
    counted = instructions(tmp_path / "counted", others(names, "n"), others(parameters, "net.n"))
    assert chosen < MOST * counted
