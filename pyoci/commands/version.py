"""pyoci --version."""

import sys

from pyoci import __version__
from pyoci.commands.common import commit, libseccomp_version, show
from pyoci.config.versions import NEWEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Print the version, and what pyoci is made of; callers read the first line, ``commit:`` and ``spec:``.

    Docker takes the first line with the word "version" for pyoci's, so no other has it.
    """
    del command  # it has nothing to say here
    form = "static" if getattr(sys, "frozen", False) else "package"
    return show(
        f"pyoci version {__version__}\ncommit: {commit()}\nspec: {NEWEST}\n"
        f"+CGROUPS +SECCOMP +APPARMOR +SELINUX\nform: {form}\n"
        f"python: {'.'.join(map(str, sys.version_info[:3]))}\n"
        f"libseccomp: {libseccomp_version()}\n"
    )
