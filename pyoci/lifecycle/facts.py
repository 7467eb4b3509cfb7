"""What the plan must know of the host and of this process, asked for in one place."""

import fcntl
import os

from pyoci.cgroups.layout import Layout
from pyoci.config.tables import NAMESPACE_FILES
from pyoci.kernel import in_initial_user_namespace
from pyoci.lifecycle.rights import has_cap_sys_admin
from pyoci.linux import NS_GET_USERNS
from pyoci.plan.builder import Facts

# Of the first three a file system shows each, and only who owns the namespace may mount it or, of the last, in it.
SHOWN = ("network", "ipc", "cgroup", "mount")


def gather(layout: Layout) -> Facts:
    """Return the facts, with the cgroup hierarchies as the caller has found them."""
    initial = in_initial_user_namespace()
    return Facts(
        privileged=has_cap_sys_admin(),
        euid=os.geteuid(),
        layout=layout,
        initial=initial,
        foreign=() if initial else tuple(kind for kind in SHOWN if is_foreign(kind)),
    )


def is_foreign(kind: str) -> bool:
    """Return whether our namespace of a kind belongs to another user namespace than ours; ioctl_ns(2)."""
    try:
        fd = os.open(f"/proc/self/ns/{NAMESPACE_FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            owner = fcntl.ioctl(fd, NS_GET_USERNS)
        finally:
            os.close(fd)
    except OSError:  # there is none, or it belongs to one that we may not see
        return True
    try:
        found, ours = os.fstat(owner), os.stat("/proc/self/ns/user")
    finally:
        os.close(owner)
    return (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino)
