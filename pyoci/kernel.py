"""What pyoci needs of the kernel that it runs on (version, /proc, SELinux), and which user namespace it is in."""

import os

from pyoci.errors import Error, wrap

# What the stage does its mounts by, and can rely on: it has no older calls to fall back on.
FLOOR = (5, 14)
WHOLE_ID_MAP = [b"0", b"0", b"4294967295"]


def version(release: str) -> tuple[int, int]:
    """Return the first two numbers of a release such as ``5.14.0-427.el9.x86_64``; what is no number counts as 0."""
    numbers = []
    for part in release.split(".")[:2]:
        digits = part[: next((at for at, char in enumerate(part) if char not in "0123456789"), len(part))]
        numbers.append(int(digits or "0"))
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def require_version(release: str = "") -> None:
    """Refuse an older kernel than pyoci is written for; *release* is that of the running one unless given.

    Raises:
        Error: it is older.
    """
    release = release or os.uname().release
    if version(release) < FLOOR:
        raise Error(f"pyoci needs Linux {FLOOR[0]}.{FLOOR[1]} or later; this is Linux {release}")


def require_procfs() -> None:
    """Require a /proc of our PID namespace: without it a running container would look like a stopped one.

    Raises:
        Error: it is missing, or something else, or of another PID namespace.
    """
    try:
        shown = os.readlink("/proc/self")
    except OSError:
        shown = ""
    if shown != str(os.getpid()):
        what = "shows another PID namespace" if shown.isdigit() else "is missing"
        raise Error(f"/proc {what}; pyoci needs the proc file system of its own PID namespace there")


def in_initial_user_namespace() -> bool:
    """Return whether our user namespace is the host's: others refuse what only the host's root may do."""
    try:
        return _read("/proc/self/uid_map").split() == WHOLE_ID_MAP
    except Error:  # a kernel without user namespaces
        return True


def is_host_root() -> bool:
    """Return whether this process is root on the host, not only in a user namespace."""
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
    """Refuse an SELinux label where SELinux is not enabled; the kernel would say EINVAL.

    Raises:
        Error: it is not enabled.
    """
    if not label:
        return
    # Until a policy is loaded every process has the label "kernel", and no other exists.
    if b"selinuxfs" not in _read("/proc/filesystems") or _read("/proc/self/attr/current").strip(b"\n\0") == b"kernel":
        raise Error(f"the SELinux label {label} cannot be given: SELinux is not enabled on this host", origin)
