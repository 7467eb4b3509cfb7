"""Formulas and parsers of the cgroup part hold on arbitrary input."""

import math
import re

from hypothesis import assume, given
from hypothesis import strategies as st

from pyoci.cgroups import v1, v2
from pyoci.cgroups.layout import Layout, make_layout, parse_membership, parse_mounts, plan_cgroup
from pyoci.config.resources import Memory, Resources
from pyoci.errors import ConfigError


@given(st.integers(2, 262144))
def test_weight_follows_the_curve(shares: int) -> None:
    exact = math.log2(shares)
    curve = 10 ** ((exact**2 + 125 * exact) / 612 - 7 / 34)
    # Where the curve meets a whole number, rounding up depends on the last bit.
    assert math.ceil(curve - 1e-9) <= v2.weight(shares) <= math.ceil(curve + 1e-9)


@given(st.integers(0, 300000), st.integers(0, 300000))
def test_weight_is_monotonous_and_in_range(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 1 <= v2.weight(low) <= v2.weight(high) <= 10000


@given(st.integers(1, 1 << 63))
def test_log2(value: int) -> None:
    assert math.isclose(v2.log2(value), math.log2(value), rel_tol=1e-12, abs_tol=1e-12)


@given(st.integers(1, 1 << 62), st.integers(1, 1 << 62), st.none() | st.integers(1, 1 << 62))
def test_v1_memory_never_exceeds_memory_and_swap(limit: int, swap: int, present: int | None) -> None:
    """By the kernel's rule no write of a valid pair is refused, whatever the earlier limits were."""
    assume(limit <= swap)
    unlimited = 1 << 63
    now = {v1.LIMIT: present or unlimited, v1.SWAP: present or unlimited}
    for one in v1.writes(Resources(memory=Memory(limit=limit, swap=swap)), memory_limit=present):
        now[one.file] = int(one.value)
        assert now[v1.LIMIT] <= now[v1.SWAP]


WORDS = st.sampled_from(["-", "0", "/", "/sys/fs/cgroup", "\\040x", "cgroup", "cgroup2", "rw,cpu", "shared:1", "\u20ac"])
LINES = st.lists(st.lists(WORDS, max_size=12).map(" ".join), max_size=4).map("\n".join)


@given(st.text() | LINES)
def test_any_text_is_a_mount_table(text: str) -> None:
    """Invalid lines are ignored, and valid lines yield all of their fields."""
    text = re.sub(" +", " ", text)
    assert all(mount.point for mount in parse_mounts(text))
    parse_membership(text)


NAMES = st.text(st.characters(codec="ascii", exclude_characters="\n \\/,:"), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(NAMES, NAMES, NAMES)
def test_a_v2_host_is_found_with_any_names(point: str, own: str, container: str) -> None:
    layout = make_layout(f"1 0 0:1 / /{point} rw - cgroup2 none rw\n", f"0::/{own}/leaf\n")
    assume(not own.endswith(" (deleted)"))
    assert layout == Layout(mounts={"": f"/{point}"}, own={"": f"/{own}/leaf"})
    assert plan_cgroup(None, container, layout, "cgroupfs").paths() == {"": f"/{point}/{own}/{container}"}


@given(st.text())
def test_no_path_leaves_its_hierarchy(path: str) -> None:
    layout = Layout(mounts={"": "/top", "memory": "/mem"}, own={"": "/a/b", "memory": "/c"})
    try:
        paths = plan_cgroup(path, "id", layout, "cgroupfs").paths()
    except ConfigError:
        return
    for key, directory in paths.items():
        parts = directory.split("/")
        assert parts[1] == layout.mounts[key].strip("/")
        assert len(parts) > 2
        assert not {"", ".", ".."} & set(parts[1:])
