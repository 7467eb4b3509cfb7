"""Processes of a cgroup that the kernel has killed for lack of memory; cgroups(7)."""

from collections.abc import Mapping

from pyoci.cgroups.files import read


def kills(paths: Mapping[str, str]) -> int:
    """Return how many processes of a cgroup the OOM killer has killed, 0 if the kernel does not count them.

    The kernel does not say whether the limit of the cgroup itself or one above it was the reason.
    """
    for key, file in (("", "memory.events"), ("memory", "memory.oom_control")):
        if key not in paths:
            continue
        try:
            lines = read(f"{paths[key]}/{file}").splitlines()
        except OSError:  # the controller is not enabled there, or the cgroup has been removed
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
