"""pyoci --version."""

from pyoci import __version__
from pyoci.commands.common import show
from pyoci.native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command

SPEC_VERSION = "1.3.0"


def run(command: "Command") -> int:
    """Print the version, and what pyoci was built with; callers read the first line and the one with ``spec:``."""
    del command  # it has nothing to say here
    number = lib.pyoci_seccomp_version()
    seccomp = f"{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return show(
        f"pyoci version {__version__}\nspec: {SPEC_VERSION}\n"
        f"+CGROUPS +SECCOMP +APPARMOR +SELINUX\nlibseccomp: {seccomp}\n"
    )
