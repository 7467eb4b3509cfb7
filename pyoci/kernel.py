"""Requirements on the running kernel (its version, /proc, SELinux), and the user namespace of this process."""

import os
import re

from pyoci.errors import Error, wrap

# The stage needs the mount API of this version, such as mount_setattr(2), and does not fall back to older calls.
FLOOR = (5, 14)
RELEASE = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
# uid_map of the initial user namespace; user_namespaces(7).
WHOLE_ID_MAP = [b"0", b"0", b"4294967295"]


def version(release: str) -> tuple[int, int]:
    """Return the first two numbers of a release such as ``5.14.0-427.el9.x86_64``; a missing number counts as 0."""
    match = RELEASE.match(release)
    return (int(match[1]), int(match[2] or 0)) if match else (0, 0)


def require_version(release: str = "") -> None:
    """Refuse a kernel older than FLOOR; *release* defaults to that of the running kernel.

    Raises:
        Error: the kernel is older.
    """
    release = release or os.uname().release
    if version(release) < FLOOR:
        raise Error(f"pyoci needs Linux {FLOOR[0]}.{FLOOR[1]} or later; this is Linux {release}")


def require_procfs() -> None:
    """Require that /proc belongs to this PID namespace, or a running container would be taken for a stopped one.

    Raises:
        Error: it is not mounted, or belongs to another PID namespace.
    """
    try:
        shown = os.readlink("/proc/self")
    except OSError:
        shown = ""
    if shown != str(os.getpid()):
        what = "shows another PID namespace" if shown.isdigit() else "is missing"
        raise Error(f"/proc {what}; pyoci needs the proc file system of its own PID namespace there")


def in_initial_user_namespace() -> bool:
    """Return whether this process is in the host's user namespace; in others some operations are refused to root."""
    try:
        return _read("/proc/self/uid_map").split() == WHOLE_ID_MAP
    except Error:  # a kernel without user namespaces
        return True


def is_host_root() -> bool:
    """Return whether this process is root of the host, and not only of a user namespace."""
    return os.geteuid() == 0 and in_initial_user_namespace()


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 65536)
        finally:
            os.close(fd)
    except OSError as error:
        raise wrap(f"reading {path}", error) from error


def require_selinux(label: str | None, origin: str) -> None:
    """Refuse an SELinux label if SELinux is not enabled; the kernel's error would be EINVAL.

    Raises:
        Error: SELinux is not enabled.
    """
    if not label:
        return
    # Until a policy is loaded, "kernel" is the only label.
    if b"selinuxfs" not in _read("/proc/filesystems") or _read("/proc/self/attr/current").strip(b"\n\0") == b"kernel":
        raise Error(f"the SELinux label {label} cannot be set: SELinux is not enabled on this host", origin)
