"""Ordinary files: read and written whole."""

import errno
import os

from pyoci.errors import wrap

O_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def absolute(path: str) -> str:
    """Make a path absolute, against the current directory.

    Raises:
        KernelError: the path is relative and the current directory has been deleted.
    """
    if path.startswith("/"):
        return path
    try:
        return f"{os.getcwd()}/{path}"
    except OSError as error:
        raise wrap("finding the current directory", error) from error


def read_file(path: str) -> bytes:
    """Read a whole regular file, without following a symbolic link at its end."""
    return read_all(os.open(path, O_FILE))


def read_given(path: str) -> bytes:
    """Read a file that the caller names: it may be a link, or a pipe as with ``/dev/stdin`` and a shell's ``<()``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(fd, True)  # only opening must not wait
    return read_all(fd)


def read_all(fd: int, limit: int = 16 * 1024 * 1024) -> bytes:
    """Read to the end of an open file and close it."""
    try:
        chunks = []
        while chunk := os.read(fd, 1 << 20):
            chunks.append(chunk)
            limit -= len(chunk)
            if limit < 0:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return b"".join(chunks)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; write(2) may take fewer."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_file(path: str, data: bytes, mode: int = 0o600, *, sync: bool = False, dir_fd: int | None = None) -> None:
    """Write a file whole or not at all: a temporary file beside it, renamed into place.

    With sync its content is on the disk before its name is: a torn state is never seen, not after a crash of the
    host either.
    """
    directory, slash, name = path.rpartition("/")
    temporary = f"{directory}{slash}.{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(temporary, flags, mode, dir_fd=dir_fd)
    try:
        try:
            write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except OSError:
        os.unlink(temporary, dir_fd=dir_fd)
        raise
