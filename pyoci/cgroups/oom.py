"""Whether somebody in a cgroup was killed because memory was short; cgroups(7)."""

from pyoci.cgroups.files import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def kills(paths: "Mapping[str, str]") -> int:
    """Return how many processes of a cgroup the kernel has killed for lack of memory, 0 where it does not count them.

    Whether its own limit or one above it was the reason the kernel does not say.
    """
    for key, file in (("", "memory.events"), ("memory", "memory.oom_control")):
        if key not in paths:
            continue
        try:
            lines = read(f"{paths[key]}/{file}").splitlines()
        except OSError:  # the controller is not enabled there, or the cgroup has gone
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
