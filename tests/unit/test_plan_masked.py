"""Masked and read-only paths in the plan: each once, from the mount that it lies in."""

from pyoci import operations as ops
from pyoci.linux import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY
from tests.helpers_plan import entry, steps

MOUNTS = (entry("/proc", type="proc"), entry("/p\u00fc"), entry("/data"))
PATHS = ["/proc/kcore", "/etc/key", "/proc//kcore/", "/proc/../x", "/p\u00fc/x", "/", "/data", "/proc/./kcore"]
# The path, the mount that it is resolved from, how much of it leads there, and the entry that it comes from.
PLACES = [
    ("/proc/kcore", "mount 0", 5, 0),
    ("/etc/key", "", 0, 1),
    ("/proc/../x", "", 0, 3),
    ("/p\u00fc/x", "mount 1", 4, 4),
    ("/", "", 0, 5),
    ("/data", "mount 2", 5, 6),
]


def test_masked_paths() -> None:
    found = [step for step in steps(*MOUNTS, maskedPaths=PATHS) if isinstance(step.operation, ops.MaskPath)]
    assert [(step.operation, step.what, step.origin) for step in found] == [
        (
            ops.MaskPath(path=path, mount=mount, prefix=prefix, null="null", empty="empty"),
            f"masking {path}",
            f"/linux/maskedPaths/{index}",
        )
        for path, mount, prefix, index in PLACES
    ]


def test_read_only_paths() -> None:
    found = [step for step in steps(*MOUNTS, readonlyPaths=PATHS) if isinstance(step.operation, ops.ReadonlyPath)]
    assert [(step.operation, step.what, step.origin) for step in found] == [
        (
            ops.ReadonlyPath(path=path, mount=mount, prefix=prefix),
            f"making {path} read-only",
            f"/linux/readonlyPaths/{index}",
        )
        for path, mount, prefix, index in PLACES
    ]


def test_what_hides_is_opened_before_anything_of_the_container_is_mounted() -> None:
    """A tmpfs in which nothing can be made, by whatever its size and its flags would let through."""
    planned = steps(*MOUNTS, maskedPaths=PATHS)
    null, empty, first = (planned[index] for index in range(*_hiding(planned)))
    assert (null.operation, null.origin) == (ops.NullDevice(mount="null"), "/linux/maskedPaths")
    assert (null.what, empty.what) == ("opening the host's null device", "making the empty directory for masked paths")
    attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
    options = ["mode=0755", "nr_blocks=1", "nr_inodes=2", "ro"]
    tmpfs = ops.Fsmount(mount="empty", type="tmpfs", options=options, source="tmpfs", attributes=attributes)
    assert (empty.operation, empty.origin) == (tmpfs, "/linux/maskedPaths")
    assert isinstance(first.operation, ops.Fsmount) and first.operation.type == "proc"


def _hiding(planned: list) -> tuple[int, int]:
    begin = next(index for index, step in enumerate(planned) if isinstance(step.operation, ops.NullDevice))
    return begin, begin + 3


def test_nothing_is_opened_to_hide_what_is_not_there() -> None:
    planned = steps(*MOUNTS, readonlyPaths=PATHS)
    assert not [step for step in planned if isinstance(step.operation, ops.NullDevice)]
