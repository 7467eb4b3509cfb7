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
    """Return the environment entry for HOME, or nothing when the configuration sets it, to more than nothing.

    Every caller and every image expects HOME; the peers set it from passwd(5), with / for an unknown user.
    """
    given = [entry for entry in process.env if entry.startswith("HOME=")]
    if given and given[-1] != "HOME=":
        return []
    return [f"HOME={_lookup(rootfs, process.user.uid) or '/'}"]


def _lookup(rootfs: str, uid: int) -> str:
    try:
        root = posix.open(rootfs, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        found = native.lib.pyoci_openat2(root, b"etc/passwd", posix.O_PATH, 0, native.RESOLVE_IN_ROOT)
    finally:
        posix.close(root)
    if found < 0:
        if found in (-errno.ENOENT, -errno.ENOTDIR, -errno.ELOOP, -errno.EACCES, -errno.EXDEV):
            return ""
        native.check(found, "looking for /etc/passwd of the container")
    try:
        # Only a regular file is opened: opening a device or a FIFO of the image could do something.
        if posix.fstat(found).st_mode & S_IFMT != S_IFREG:
            return ""
        text = _read_again(found)
    finally:
        posix.close(found)
    return find_home(text, uid)


def _read_again(found: int) -> bytes:
    """Read the file that an O_PATH descriptor stands for; nothing when it may not be read."""
    try:
        fd = posix.open(f"/proc/self/fd/{found}", posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOCTTY)
    except PermissionError:
        return b""
    try:
        return posix.read(fd, SIZE_LIMIT)
    finally:
        posix.close(fd)


def find_home(text: bytes, uid: int) -> str:
    """Find the home directory of *uid* in the text of passwd(5); "" when there is none."""
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == b"%d" % uid:
            return fields[5].decode("utf-8", "surrogateescape")
    return ""
