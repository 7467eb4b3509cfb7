"""The versions of the specification that pyoci takes, and what has changed its meaning between two of them."""

from pyoci.config.model import Pids
from pyoci.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.config.model import Resources

# What features tells: all 1.x.y are taken, and what is newer in a document is ignored as any unknown member.
OLDEST, NEWEST = "1.0.0", "1.3.0"
UNLIMITED = -1
PIDS_ZERO_IS_A_LIMIT = 3


def as_meant(resources: "Resources | None", version: str) -> "Resources | None":
    """Give the resources of a document of an ociVersion in the words of the newest one.

    pids.limit 0 is a limit since 1.3 (config-linux.md#pids).  Who writes an older version means "no limit" by it, as
    all runtimes took it then: Podman does for --pids-limit=-1.
    """
    if resources and resources.pids and resources.pids.limit == 0 and zero_tasks_is_no_limit(version):
        return replace(resources, pids=Pids(limit=UNLIMITED))
    return resources


def zero_tasks_is_no_limit(version: str) -> bool:
    """Return whether a pids.limit of 0 means none in a document of this version."""
    return minor(version) < PIDS_ZERO_IS_A_LIMIT


def minor(version: str) -> int:
    """Return the second number of a version; of one with many digits some: it is above all that are known."""
    return int(version.split(".")[1][:9])
