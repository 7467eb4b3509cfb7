"""Where the trees that are bound come from: the host, or what the container's root file system is like by then."""

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
    """Plan for a detached clone of a host path, or of one in the container's root.

    It is cloned inside the container's mount namespace, by the helper where the stage has another user namespace and
    may not reach the path: what is locked there stays locked, and no event of it reaches the host.  Only a mount that
    must stay a peer of the host's is cloned by the host side, and never for another user namespace.
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
    """Let the helper work where the container's mounts are."""
    if builder.helper:
        what = "opening sources with pyoci's credentials, in the container's mount namespace"
        builder.add(ops.HelperEnter(), what)


def leave(builder: Builder) -> None:
    """End the helper: no more sources are opened."""
    if builder.helper:
        builder.add(ops.HelperEnd(), "giving pyoci's credentials up")
