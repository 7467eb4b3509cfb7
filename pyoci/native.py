"""The only importer of the extension, but for the JSON reader (pyoci.codec): kernel calls that ``os`` lacks."""

import os

from pyoci._native import ffi as ffi
from pyoci._native import lib as lib
from pyoci.errors import KernelError


def check(result: int, what: str, origin: str = "") -> int:
    """Return *result*, or raise KernelError when it is a negative errno."""
    if result < 0:
        raise KernelError(what, -result, origin)
    return result


def memfd(name: str) -> int:
    """Make an empty memfd that can still be written."""
    return check(lib.pyoci_memfd(cstring(name), b"", 0, 0), "making a memfd")


def send_fd(path: str, fd: int, text: bytes, *, connecting: str, sending: str, origin: str = "") -> None:
    """Connect to a Unix socket and send one descriptor with some ordinary data; unix(7), SCM_RIGHTS.

    connecting and sending say what is being done, origin is the setting that asked for it.

    Raises:
        KernelError: nobody listens there.
    """
    sock = check(lib.pyoci_connect_unix(cstring(path)), connecting, origin)
    try:
        check(lib.pyoci_send_fds(sock, text, len(text), ffi.new("int[]", [fd]), 1), sending, origin)
    finally:
        os.close(sock)


def run_steps(block: bytes, count: int) -> tuple[list[int], int, int]:
    """Run an encoded plan of *count* slots in this process.

    Return the descriptors of its slots (-1 where empty), the index of the step that failed, and its errno, 0 for none.
    """
    slots = ffi.new("int[]", [-1] * count)
    failed, detail = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    result = lib.pyoci_run_steps(block, len(block), slots, count, failed, detail)
    return list(slots), failed[0], -result if result < 0 else 0


def cstring(text: str) -> bytes:
    """Return a text as the kernel takes it, without its NUL."""
    return text.encode("utf-8", "surrogateescape")
