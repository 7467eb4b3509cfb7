"""pyoci features: print the object of features.md and features-linux.md, which engines read.

The lists come from the tables that the parser and the planner use, so what is listed is what is accepted.  All but
supportedFlags is fixed when pyoci is built.
"""

import sys
from typing import Any

from pyoci import __version__, codec
from pyoci.cli import Command
from pyoci.commands.common import commit, libseccomp_version, show
from pyoci.config import annotations, tables
from pyoci.config.versions import NEWEST, OLDEST
from pyoci.native import lib
from pyoci.plan.build import UNSUPPORTED
from pyoci.stage.seccomp import is_supported


def run(command: Command) -> int:  # noqa: ARG001
    return show(codec.dumps(features(), indent="  ") + "\n")


def features() -> dict[str, Any]:
    """Return the object of features.md; an absent member would mean "unknown", so there is none."""
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


def linux() -> dict[str, Any]:
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


def seccomp() -> dict[str, Any]:
    """Return what filters can contain; the running kernel says which flags it supports."""
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
