"""``ro`` in the plan: at once, or at the end where something is still made in the mount."""

from typing import Any

import pytest

from pyoci import operations as ops
from pyoci.linux import MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY
from tests.helpers_plan import entry, steps


def at_once(*mounts: dict[str, Any]) -> list[str]:
    """Return the entries that are read-only by the time they are attached, and the remounts to ``ro``."""
    found = []
    for step in steps(*mounts):
        each = step.operation
        if isinstance(each, ops.Pivot):
            break
        flags = each.attributes if isinstance(each, ops.Fsmount) else each.set if isinstance(each, ops.SetAttributes | ops.Remount) else 0
        superblock = "ro" in each.options if isinstance(each, ops.Fsmount | ops.Remount) else False
        if flags & MOUNT_ATTR_RDONLY or superblock:
            found.append(step.origin.removesuffix("/options"))
    return found


def at_the_end(*mounts: dict[str, Any]) -> list[tuple[str, bool, str, str]]:
    """Return what becomes read-only after the pivot: slot, whether with all below, origin, words."""
    planned = steps(*mounts)
    pivot = next(index for index, step in enumerate(planned) if isinstance(step.operation, ops.Pivot))
    found = [step for step in planned[pivot:] if isinstance(step.operation, ops.SetAttributes)]
    assert {step.operation for step in found} == {
        ops.SetAttributes(mount=step.operation.mount, set=MOUNT_ATTR_RDONLY, recursive=step.operation.recursive) for step in found
    }
    return [(step.operation.mount, step.operation.recursive, step.origin, step.what) for step in found]


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
@pytest.mark.parametrize("option", ["ro", "rro"])
def test_what_is_made_in_a_file_system_comes_first(kind: str, option: str) -> None:
    mounts = (entry("/data/", option, "nosuid", type=kind), entry("/data/below"))
    assert at_once(*mounts) == []
    assert at_the_end(*mounts) == [("mount 0", False, "/mounts/0/options", "making /data read-only")]
    made = next(step.operation for step in steps(*mounts) if isinstance(step.operation, ops.Fsmount))
    assert made.attributes == MOUNT_ATTR_NOSUID


def test_whatever_is_mounted_on_dev() -> None:
    assert at_the_end(entry("//dev", "ro", type="devtmpfs")) == [("mount 0", False, "/mounts/0/options", "making /dev read-only")]


@pytest.mark.parametrize("option", ["ro", "rro"])
@pytest.mark.parametrize(
    "mount", [("/data", "bind", "none"), ("/dev", "bind", "none"), ("/data", "rbind", "tmpfs"), ("/data", "nosuid", "ext4"), ("/data", "nosuid", "mqueue")]
)
def test_all_others_at_once(mount: tuple[str, str, str], option: str) -> None:
    destination, other, kind = mount
    mounts = (entry(destination, other, option, type=kind), entry("/last"))
    assert at_once(*mounts) == ["/mounts/0"]
    assert at_the_end(*mounts) == []


def test_nothing_is_read_only_that_nobody_wants_so() -> None:
    mounts = (entry("/data", "nosuid"), entry("/rw", "rw"), entry("/bind", "bind", type="none"))
    assert (at_once(*mounts), at_the_end(*mounts)) == ([], [])


@pytest.mark.parametrize(
    ("first", "then", "late"),
    [
        (("nosuid",), ("ro",), [("mount 0", False, "/mounts/1/options", "making /data read-only")]),
        (("nosuid",), ("rro",), [("mount 0", True, "/mounts/1/options", "making /data read-only")]),
        (("ro",), ("ro",), [("mount 0", False, "/mounts/1/options", "making /data read-only")]),
        (("ro",), ("nosuid",), [("mount 0", False, "/mounts/0/options", "making /data read-only")]),
        (("ro",), ("rw",), []),
        (("ro",), ("rrw",), []),
        (("nosuid",), ("rw",), []),
    ],
)
def test_the_last_remount_decides(first: tuple[str, ...], then: tuple[str, ...], late: list[tuple[str, bool, str, str]]) -> None:
    mounts = (entry("/data", *first), entry("/data", "remount", "bind", *then), entry("/data/below"))
    assert at_once(*mounts) == []
    assert at_the_end(*mounts) == late


def test_a_remount_of_the_file_system_itself() -> None:
    """Which would make every mount of it read-only."""
    mounts = (entry("/data"), entry("/data", "remount", "ro", "size=1m"))
    assert at_once(*mounts) == []
    assert at_the_end(*mounts) == [("mount 0", False, "/mounts/1/options", "making /data read-only")]
    (remount,) = [step.operation for step in steps(*mounts) if isinstance(step.operation, ops.Remount)]
    assert remount.options == ["size=1m"]


@pytest.mark.parametrize(("place", "kind"), [("/data", "none"), ("/data", "tmpfs"), ("/dev", "none")])
def test_a_remount_of_a_bind_mount(place: str, kind: str) -> None:
    mounts = (entry(place, "bind", type=kind), entry(place, "remount", "bind", "ro"))
    assert (at_once(*mounts), at_the_end(*mounts)) == (["/mounts/1"], [])


def test_a_remount_of_what_is_no_entry() -> None:
    mounts = (entry("/", "remount", "bind", "ro"), entry("/last"))
    assert (at_once(*mounts), at_the_end(*mounts)) == (["/mounts/0"], [])
