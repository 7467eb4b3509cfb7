"""Masked and read-only paths: config-linux.md#masked-paths, #readonly-paths.

Each path is resolved from the descriptor of the mount that it lies in.  If another process changes the root file
system meanwhile, the path from the root may lead elsewhere by now.
"""

from collections.abc import Iterator, Sequence

from pyoci import operations as ops
from pyoci.config.check import repeated
from pyoci.config.forms import normal_path
from pyoci.linux import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY
from pyoci.plan import cover
from pyoci.plan.builder import Builder

NULL, EMPTY = "null", "empty"


def open_masks(builder: Builder) -> None:
    """Make the null device and the empty tmpfs that hide masked paths, before the container's first mount."""
    if builder.config.linux.maskedPaths:
        builder.add(ops.NullDevice(mount=NULL), "opening the host's null device", "/linux/maskedPaths")
        tmpfs = ops.Fsmount(
            mount=EMPTY,
            type="tmpfs",
            options=["mode=0755", "nr_blocks=1", "nr_inodes=2", "ro"],
            source="tmpfs",
            attributes=MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
        )
        builder.add(tmpfs, "making the empty directory for masked paths", "/linux/maskedPaths")


def protect(builder: Builder) -> None:
    """Make the read-only paths read-only and hide the masked ones; each path is resolved only once."""
    linux = builder.config.linux
    for index, path, mount, prefix in _places(builder, linux.readonlyPaths):
        readonly = ops.ReadonlyPath(path=path, mount=mount, prefix=prefix)
        builder.add(readonly, f"making {path} read-only", f"/linux/readonlyPaths/{index}")
    for index, path, mount, prefix in _places(builder, linux.maskedPaths):
        masked = ops.MaskPath(path=path, mount=mount, prefix=prefix, null=NULL, empty=EMPTY)
        builder.add(masked, f"masking {path}", f"/linux/maskedPaths/{index}")


def _places(builder: Builder, listed: Sequence[str]) -> Iterator[tuple[int, str, str, int]]:
    """Return for each path: the index of its first entry, the path, and the mount that it is resolved from.

    The mount is given by its slot and the length in bytes of the part of the path that leads to it; "" and 0 stand for
    the container's root.  A path with ``..`` is always resolved from the root: where ``..`` leads to depends on
    symbolic links.
    """
    mounts = builder.config.mounts
    paths = [path if ".." in path.split("/") else normal_path(path) for path in listed]
    covers = cover.covering(mounts, paths)
    again = set(repeated(paths))
    for index, path in enumerate(paths):
        if index in again:
            continue
        point = normal_path(mounts[covers[index]].destination) if covers[index] >= 0 else "/"
        if point != "/" and ".." not in path.split("/"):
            yield index, path, cover.slot_of(covers[index]), len(point.encode("utf-8", "surrogateescape"))
        else:
            yield index, path, "", 0
