"""The versions of the specification that pyoci supports, and settings whose meaning differs between them."""

from dataclasses import replace

from pyoci.config.resources import Pids, Resources

# For ``features``.  All 1.x.y are supported; members that a newer version adds are ignored like unknown ones.
OLDEST, NEWEST = "1.0.0", "1.3.0"
UNLIMITED = -1
PIDS_ZERO_IS_A_LIMIT = 3


def as_meant(resources: Resources | None, version: str) -> Resources | None:
    """Return the resources of a document with the given ociVersion as the newest version would express them.

    Since 1.3 a pids.limit of 0 is a limit (config-linux.md#pids).  Before, all runtimes took it as unlimited, and
    Podman writes it for --pids-limit=-1.
    """
    if resources and resources.pids and resources.pids.limit == 0 and zero_tasks_is_no_limit(version):
        return replace(resources, pids=Pids(limit=UNLIMITED))
    return resources


def zero_tasks_is_no_limit(version: str) -> bool:
    """Return whether a pids.limit of 0 means unlimited in a document of this version."""
    return minor(version) < PIDS_ZERO_IS_A_LIMIT


def minor(version: str) -> int:
    """Return the minor version; of an absurdly long one only the first digits, which are enough for a comparison."""
    return int(version.split(".")[1][:9])
