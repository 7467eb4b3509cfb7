"""pyoci --version."""

import sys

from pyoci import __version__
from pyoci.commands.common import show
from pyoci.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command

SPEC_VERSION = "1.3.0"


def run(command: "Command") -> int:
    """Print the version, and what pyoci is made of; callers read the first line, ``commit:`` and ``spec:``.

    Docker takes the first line with the word "version" for pyoci's, so no other has it.
    """
    del command  # it has nothing to say here
    number = lib.pyoci_seccomp_version()
    commit = ffi.string(lib.pyoci_commit).decode() or "unknown"
    form = "static" if getattr(sys, "frozen", False) else "package"
    return show(
        f"pyoci version {__version__}\ncommit: {commit}\nspec: {SPEC_VERSION}\n"
        f"+CGROUPS +SECCOMP +APPARMOR +SELINUX\nform: {form}\n"
        f"python: {'.'.join(map(str, sys.version_info[:3]))}\n"
        f"libseccomp: {number >> 16}.{number >> 8 & 255}.{number & 255}\n"
    )
