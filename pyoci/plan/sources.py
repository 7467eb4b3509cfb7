"""Where the trees that are bound come from: the host, or what the container's root file system is like by then."""

from pyoci.config.forms import normal_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.builder import Builder

TREE_RECURSIVE, TREE_NOFOLLOW, TREE_HELPER, TREE_IN_ROOT = 1, 2, 4, 8
SETATTR_RECURSIVE, SETATTR_HELPER = 1, 2
LOCKED_HINT = "mounts of the host lie below it, which a user namespace must not take off: rbind takes them along"


def path_in_root(builder: "Builder", source: str) -> str:
    """Give the path that a source on the host has in the container's root file system, "" if it lies elsewhere."""
    path, root = normal_path(source), normal_path(builder.request.rootfs)
    if path == root:
        return "/"
    return path[len(root) :] if root != "/" and path.startswith(f"{root}/") else ""


def open_source(
    builder: "Builder",
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
        words = (("recursive", recursive), ("nofollow", nofollow))
        detail = " ".join(word for word, wanted in words if wanted)
        return builder.give(slot, "tree", path=path, detail=detail, origin=origin)
    wishes = (
        (TREE_RECURSIVE, recursive),
        (TREE_NOFOLLOW, nofollow),
        (TREE_HELPER, builder.helper),
        (TREE_IN_ROOT, in_root),
    )
    builder.add(
        "OP_OPEN_TREE",
        f"opening {path}{' in the root file system' if in_root else ''}",
        origin,
        slot=slot,
        flags=sum(flag for flag, wanted in wishes if wanted),
        strings={"a": path},
        hints={22: LOCKED_HINT} if builder.helper and not recursive else {},
    )
    return slot


def enter(builder: "Builder") -> None:
    """Let the helper work where the container's mounts are."""
    if builder.helper:
        builder.add("OP_HELPER_ENTER", "opening sources with pyoci's credentials, in the container's mount namespace")


def leave(builder: "Builder") -> None:
    """End the helper: no more sources are opened."""
    if builder.helper:
        builder.add("OP_HELPER_END", "giving pyoci's credentials up")
