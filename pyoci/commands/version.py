"""pyoci --version."""

import sys

from pyoci import __version__
from pyoci.cli import Command
from pyoci.commands.common import commit, libseccomp_version, show
from pyoci.config.versions import NEWEST


def run(command: Command) -> int:  # noqa: ARG001
    """Print the version and the components; callers read the first line, ``commit:`` and ``spec:``.

    Docker takes the version from the first line with the word "version", so no other line may have it.
    """
    form = "static" if getattr(sys, "frozen", False) else "package"
    return show(
        f"pyoci version {__version__}\ncommit: {commit()}\nspec: {NEWEST}\n"
        f"+CGROUPS +SECCOMP +APPARMOR +SELINUX\nform: {form}\n"
        f"python: {'.'.join(map(str, sys.version_info[:3]))}\n"
        f"libseccomp: {libseccomp_version()}\n"
    )
