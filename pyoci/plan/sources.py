"""Open the sources of bind mounts, on the host or in the container's root file system."""

from errno import EINVAL

from pyoci import operations as ops
from pyoci.config.forms import normal_path
from pyoci.plan.builder import Builder
from pyoci.stage.inputs import Tree

LOCKED_HINT = "mounts of the host lie below it, which a user namespace must not take off: rbind takes them along"


def path_in_root(builder: Builder, source: str) -> str:
    """Return the path that a source on the host has in the container's root file system, "" if it lies elsewhere."""
    path, root = normal_path(source), normal_path(builder.request.rootfs)
    if path == root:
        return "/"
    return path[len(root) :] if root != "/" and path.startswith(f"{root}/") else ""


def open_source(
    builder: Builder,
    slot: str,
    path: str,
    origin: str = "",
    *,
    recursive: bool = False,
    nofollow: bool = False,
    shared: bool = False,
    in_root: bool = False,
) -> str:
    """Open a detached clone of a host path, or with *in_root* of a path in the container's root; return its slot.

    The clone is made inside the container's mount namespace, so that the kernel keeps the locks on mount flags and no
    mount event reaches the host.  The helper makes it if the stage is in another user namespace, and may not reach the
    path.  The host side makes only clones that have to stay *shared* with the host's mount, and never for another user
    namespace.
    """
    if slot in builder.sources:
        return slot
    builder.sources[slot] = path
    foreign = builder.is_foreign() or "mount" in builder.facts.foreign
    if shared and builder.facts.privileged and not foreign:
        return builder.give(Tree(slot=slot, path=path, recursive=recursive, nofollow=nofollow, origin=origin))
    builder.add(
        ops.OpenTree(
            tree=slot, path=path, recursive=recursive, nofollow=nofollow, helper=builder.helper, in_root=in_root
        ),
        f"opening {path}{' in the root file system' if in_root else ''}",
        origin,
        hints={EINVAL: LOCKED_HINT} if builder.helper and not recursive else None,
    )
    return slot


def enter(builder: Builder) -> None:
    """Move the helper, if there is one, into the container's mount namespace."""
    if builder.helper:
        what = "opening sources with pyoci's credentials, in the container's mount namespace"
        builder.add(ops.HelperEnter(), what)


def leave(builder: Builder) -> None:
    """End the helper, if there is one."""
    if builder.helper:
        builder.add(ops.HelperEnd(), "giving pyoci's credentials up")
