"""Postpone ``ro`` of mounts in which the runtime still has to create something.

Devices, the terminal, mount points and the working directory are created in a tmpfs, and in whatever is mounted on
/dev.  There ``ro`` takes effect at the end, as with runc.
"""

from dataclasses import replace

from pyoci import operations as ops
from pyoci.config.check import is_bind
from pyoci.config.forms import normal_path
from pyoci.config.model import Mount
from pyoci.linux import MOUNT_ATTR_RDONLY
from pyoci.plan import cover
from pyoci.plan.builder import Builder
from pyoci.plan.options import Options
from pyoci.steps import Step


def postpone(builder: Builder, index: int, options: Options) -> Options:
    """Return the options of a new mount without ``ro``, if finish() has to set that later; else as they are."""
    wish = (options.set | options.recursive_set) & MOUNT_ATTR_RDONLY
    if not wish or not _is_filled_later(builder.config.mounts[index]):
        return options
    later(builder, index, index)
    return _without(options)


def postpone_remount(builder: Builder, index: int, beneath: int, options: Options) -> Options:
    """Do the same for a remount of entry *beneath* (-1: not of the configuration); the last ``ro`` or ``rw`` wins."""
    if beneath < 0 or not _is_filled_later(builder.config.mounts[beneath]):
        return options
    if (options.clear | options.recursive_clear) & MOUNT_ATTR_RDONLY:
        builder.late.pop(cover.slot_of(beneath), None)
    if not (options.set | options.recursive_set) & MOUNT_ATTR_RDONLY:
        return options
    later(builder, index, beneath, recursive=bool(options.recursive_set & MOUNT_ATTR_RDONLY))
    return _without(options)


def _is_filled_later(mount: Mount) -> bool:
    return not is_bind(mount) and (
        mount.type in ("tmpfs", "ramfs") or normal_path(mount.destination) == "/dev"
    )


def _without(options: Options) -> Options:
    return replace(
        options,
        set=options.set & ~MOUNT_ATTR_RDONLY,
        recursive_set=options.recursive_set & ~MOUNT_ATTR_RDONLY,
        words=[word for word in options.words if word != "ro"],
    )


def later(builder: Builder, index: int, mount: int, *, recursive: bool = False) -> None:
    """Have finish() make a mount read-only; *index* is the entry with the option."""
    slot = cover.slot_of(mount)
    builder.late[slot] = Step(
        operation=ops.SetAttributes(mount=slot, set=MOUNT_ATTR_RDONLY, recursive=recursive),
        what=f"making {normal_path(builder.config.mounts[mount].destination)} read-only",
        origin=f"/mounts/{index}/options",
    )


def finish(builder: Builder) -> None:
    """Make the postponed mounts read-only."""
    builder.steps += builder.late.values()
