"""Find the mount of the configuration that a path of the container lies in, by comparing the strings.

Paths are sorted, not put into a dict: the configuration chooses them, and could choose colliding hashes.
"""

from collections.abc import Sequence

from pyoci.config.forms import normal_path
from pyoci.config.model import Mount

# The components of a path, 0 for a mount and 1 for a path that is asked for, its index in its list.
Entry = tuple[list[str], int, int]


def slot_of(index: int) -> str:
    """Return the slot of a mount of the configuration, by its index."""
    return f"mount {index}"


def makes_mount(mount: Mount) -> bool:
    """Return whether an entry makes a new mount."""
    return "remount" not in mount.options


def remounted(mounts: Sequence[Mount]) -> list[int]:
    """Return for each entry the index of the last earlier entry that mounts on the same destination, or -1."""
    found, latest = [-1] * len(mounts), ("", -1)
    for target, index in sorted([(normal_path(mount.destination), index) for index, mount in enumerate(mounts)]):
        if target != latest[0]:
            latest = (target, -1)
        found[index] = latest[1]
        if makes_mount(mounts[index]):
            latest = (target, index)
    return found


def covering(mounts: Sequence[Mount], paths: Sequence[str]) -> list[int]:
    """Return for each path in normal form the index of the mount that it lies in, or -1 for the root file system.

    That is the last entry whose destination is a parent of the path, or the path itself.
    """
    entries: list[Entry] = [
        (_components(normal_path(mount.destination)), 0, index)
        for index, mount in enumerate(mounts)
        if makes_mount(mount)
    ]
    entries += [(_components(path), 1, index) for index, path in enumerate(paths)]
    found = [-1] * len(paths)
    above: list[tuple[list[str], int]] = [([], -1)]
    for parts, kind, index in sorted(entries):
        while parts[: len(above[-1][0])] != above[-1][0]:
            above.pop()
        if kind:
            found[index] = above[-1][1]
        else:
            above.append((parts, max(index, above[-1][1])))
    return found


def _components(path: str) -> list[str]:
    return path.split("/")[1:] if path != "/" else []
