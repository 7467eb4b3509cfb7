"""Users by passwd(5), read without NSS; of a container no path is followed out of its root file system."""

import errno
import os
import stat
from collections.abc import Iterator

from pyoci import native
from pyoci.config.model import Process
from pyoci.files import read_file
from pyoci.linux import RESOLVE_IN_ROOT

SIZE_LIMIT = 1 << 20


def home_directory(process: Process, rootfs: str) -> list[str]:
    """Return the environment entry for HOME, or nothing when the configuration sets it, to more than nothing.

    Every caller and every image expects HOME; the peers set it from passwd(5), with / for an unknown user.
    """
    given = [entry for entry in process.env if entry.startswith("HOME=")]
    if given and given[-1] != "HOME=":
        return []
    return [f"HOME={_lookup(rootfs, process.user.uid) or '/'}"]


def _lookup(rootfs: str, uid: int) -> str:
    try:
        root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        found = native.lib.pyoci_openat2(root, b"etc/passwd", os.O_PATH, 0, RESOLVE_IN_ROOT)
    finally:
        os.close(root)
    if found < 0:
        if found in (-errno.ENOENT, -errno.ENOTDIR, -errno.ELOOP, -errno.EACCES, -errno.EXDEV):
            return ""
        native.check(found, "looking for /etc/passwd of the container")
    try:
        # Only a regular file is opened: opening a device or a FIFO of the image could do something.
        if not stat.S_ISREG(os.fstat(found).st_mode):
            return ""
        text = _read_again(found)
    finally:
        os.close(found)
    return find_home(text, uid)


def _read_again(found: int) -> bytes:
    """Read the file that an O_PATH descriptor stands for; nothing when it may not be read."""
    try:
        fd = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except PermissionError:
        return b""
    try:
        return os.read(fd, SIZE_LIMIT)
    finally:
        os.close(fd)


def find_home(text: bytes, uid: int) -> str:
    """Return the home directory of *uid* in the text of passwd(5); "" when there is none."""
    return next((entry[5] for entry in entries(text, uid) if len(entry) > 5), "")


def user_name(uid: int) -> str:
    """Return the name of a user of the host by /etc/passwd alone; the number itself when there is none."""
    try:
        text = read_file("/etc/passwd")
    except OSError:
        return str(uid)
    return next((entry[0] for entry in entries(text, uid)), str(uid))


def entries(text: bytes, uid: int) -> Iterator[list[str]]:
    """Return the fields of each entry of a user in the text of passwd(5)."""
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 2 and fields[2] == b"%d" % uid:
            yield [field.decode("utf-8", "surrogateescape") for field in fields]
