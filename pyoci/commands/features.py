"""pyoci features: what pyoci can do, for engines that ask before they rely on it; features.md, features-linux.md.

All but supportedFlags was decided when pyoci was built.  A list comes from the table that the parser and the planner
read, so what is listed is what is taken.
"""

import sys

from pyoci import __version__, codec
from pyoci.commands.common import commit, libseccomp_version, show
from pyoci.config import annotations, tables
from pyoci.config.versions import NEWEST, OLDEST
from pyoci.native import lib
from pyoci.plan.build import UNSUPPORTED
from pyoci.stage.seccomp import is_supported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Print it as one JSON object."""
    del command  # it has nothing to say here
    return show(codec.dumps(features(), indent="  ") + "\n")


def features() -> "dict[str, Any]":
    """Return the object of features.md; an empty list is none, and nothing is left unknown."""
    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": NEWEST,
        "hooks": tables.HOOKS,
        "mountOptions": sorted(tables.MOUNT_OPTIONS),
        "linux": linux(),
        "annotations": {
            "io.github.seccomp.libseccomp.version": libseccomp_version(),
            "run.oci.pyoci.commit": commit(),
            "run.oci.pyoci.form": "static" if getattr(sys, "frozen", False) else "package",
            "run.oci.pyoci.version": __version__,
        },
        "potentiallyUnsafeConfigAnnotations": annotations.HONOURED,
    }


def linux() -> "dict[str, Any]":
    """Return the object of features-linux.md."""
    policy = "memoryPolicy" not in UNSUPPORTED
    rdt = "intelRdt" not in UNSUPPORTED
    return {
        "namespaces": sorted(tables.NAMESPACES),
        "capabilities": list(tables.CAPABILITIES),
        "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
        "seccomp": seccomp(),
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "intelRdt": {"enabled": rdt, "schemata": rdt, "monitoring": rdt},
        "memoryPolicy": {
            "modes": list(tables.MEMORY_POLICY_MODES) if policy else [],
            "flags": list(tables.MEMORY_POLICY_FLAGS) if policy else [],
        },
        "mountExtensions": {"idmap": {"enabled": True}},
        "netDevices": {"enabled": "netDevices" not in UNSUPPORTED},
    }


def seccomp() -> "dict[str, Any]":
    """Return what filters may be made of; the kernel that runs is asked for the flags that it supports."""
    flags = tables.SECCOMP_FLAGS
    return {
        "enabled": True,
        "actions": sorted(tables.SECCOMP_ACTIONS),
        "operators": sorted(tables.SECCOMP_OPERATORS),
        "archs": sorted(
            name for name, arch in tables.SECCOMP_ARCHITECTURES.items() if lib.pyoci_seccomp_arch_known(arch)
        ),
        "knownFlags": sorted(flags),
        "supportedFlags": sorted(name for name in flags if is_supported(name)),
    }
