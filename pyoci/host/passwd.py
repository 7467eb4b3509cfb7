"""HOME from the container's own /etc/passwd, read by hand: no NSS, no path of the container followed out of it."""

import errno
import posix

from pyoci import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.config.model import Process

SIZE_LIMIT = 1 << 20
S_IFMT, S_IFREG = 0o170000, 0o100000


def home_directory(process: "Process", rootfs: str) -> "list[str]":
    """Give the environment entry for HOME, or nothing when the configuration sets it.

    Every caller and every image expects HOME; the peers set it from passwd(5), with / for an unknown user.
    """
    if any(entry.startswith("HOME=") for entry in process.env):
        return []
    return [f"HOME={_lookup(rootfs, process.user.uid) or '/'}"]


def _lookup(rootfs: str, uid: int) -> str:
    try:
        root = posix.open(rootfs, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        flags = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY
        fd = native.lib.pyoci_openat2(root, b"etc/passwd", flags, 0, native.RESOLVE_IN_ROOT)
    finally:
        posix.close(root)
    if fd < 0:
        if fd in (-errno.ENOENT, -errno.ENOTDIR, -errno.ELOOP, -errno.EACCES, -errno.EXDEV, -errno.ENXIO):
            return ""
        native.check(fd, "opening /etc/passwd of the container")
    try:
        if posix.fstat(fd).st_mode & S_IFMT != S_IFREG:
            return ""
        text = posix.read(fd, SIZE_LIMIT)
    finally:
        posix.close(fd)
    return find_home(text, uid)


def find_home(text: bytes, uid: int) -> str:
    """Find the home directory of *uid* in the text of passwd(5); "" when there is none."""
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == b"%d" % uid:
            return fields[5].decode("utf-8", "surrogateescape")
    return ""
