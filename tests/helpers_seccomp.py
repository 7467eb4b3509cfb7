"""A seccomp filter for the runtime itself, under which a system call does nothing and says that it has worked."""

import ctypes
import os
import struct
from collections.abc import Callable

from tests.helpers_host import LIBC, checked

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBERS = {"x86_64": {"pivot_root": 155, "chroot": 161}, "aarch64": {"pivot_root": 41, "chroot": 51}}


def without_effect(name: str) -> Callable[[], None]:
    """Return what a child calls before it executes the runtime: the call *name* returns 0 at once then.

    The kernel takes an errno of 0 for success.  The caller must be root, else no_new_privs would have to be set.
    """
    number = NUMBERS[os.uname().machine][name]
    instructions = [
        (LOAD_WORD, 0, 0, 0),
        (JUMP_IF_EQUAL, 0, 1, number),
        (RETURN, 0, 0, SECCOMP_RET_ERRNO),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in instructions))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(code))

    def install(code: object = code) -> None:
        checked(LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program), "seccomp")

    return install
