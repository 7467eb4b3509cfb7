"""Masked and read-only paths: config-linux.md#masked-paths, #readonly-paths.

Each is resolved from the descriptor of the mount that it lies in: in a root file system that others change
meanwhile, the way to that mount may lead elsewhere by now.
"""

from pyoci.config.check import repeated
from pyoci.config.forms import normal_path
from pyoci.plan import cover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyoci.plan.builder import Builder


def open_masks(builder: "Builder") -> None:
    """Make what hides masked paths before the first mount of the container: a verified null device, an empty tmpfs."""
    if builder.config.linux.maskedPaths:
        builder.add("OP_NULL_DEVICE", "opening the host's null device", "/linux/maskedPaths", slot="null")
        builder.add(
            "OP_FSMOUNT",
            "making the empty directory for masked paths",
            "/linux/maskedPaths",
            slot="empty",
            strings={"a": "tmpfs", "b": ["mode=0755", "nr_blocks=1", "nr_inodes=2", "ro"], "d": "tmpfs"},
            numbers={"n": 1 | 2 | 4 | 8},
        )


def protect(builder: "Builder") -> None:
    """Make the read-only paths read-only and hide the masked ones, each on one descriptor."""
    linux = builder.config.linux
    for index, path, place in _places(builder, linux.readonlyPaths):
        builder.add("OP_READONLY_PATH", f"making {path} read-only", f"/linux/readonlyPaths/{index}", **place)
    for index, path, place in _places(builder, linux.maskedPaths):
        place["slots"]["b"] = "empty"
        builder.add("OP_MASK_PATH", f"masking {path}", f"/linux/maskedPaths/{index}", slot="null", **place)


def _places(builder: "Builder", listed: "Sequence[str]") -> "list[tuple[int, str, dict[str, Any]]]":
    """Return each path once, with the index of the first entry that names it, and the operands that say where it is.

    ``..`` goes up from where a link has led, so such a path has no normal form: it starts at the container's root.
    """
    mounts = builder.config.mounts
    paths = [path if ".." in path.split("/") else normal_path(path) for path in listed]
    covers = cover.covering(mounts, paths)
    again = set(repeated(paths))
    found: list[tuple[int, str, dict[str, Any]]] = []
    for index, path in enumerate(paths):
        if index in again:
            continue
        place: dict[str, Any] = {"strings": {"a": path}, "slots": {}}
        point = normal_path(mounts[covers[index]].destination) if covers[index] >= 0 else "/"
        if point != "/" and ".." not in path.split("/"):
            place["slots"]["c"] = cover.slot_of(covers[index])
            place["numbers"] = {"n": len(point.encode("utf-8", "surrogateescape"))}
        found.append((index, path, place))
    return found
