"""What this process may do on the host, and what a configuration asks for that it may not."""

import os
from dataclasses import fields

from pyoci import native
from pyoci.config.annotations import KEEP_GROUPS
from pyoci.config.check import namespace_of
from pyoci.config.model import Config, Process
from pyoci.config.readers import did_you_mean, some_of
from pyoci.config.source import Source, warn
from pyoci.config.tables import CAPABILITIES
from pyoci.errors import Error
from pyoci.kernel import is_host_root


def has_cap_sys_admin() -> bool:
    """Return whether this process has CAP_SYS_ADMIN in its user namespace."""
    return bool(native.lib.pyoci_capabilities() >> CAPABILITIES["CAP_SYS_ADMIN"] & 1)


def require_rights(config: Config) -> None:
    """Refuse what only root can do where a user namespace, in which everybody may be root, is not asked for.

    Raises:
        Error: pyoci may make no namespaces, and the configuration names no user namespace.
    """
    if namespace_of(config.linux, "user") is None and not has_cap_sys_admin():
        who = "an ordinary user" if os.geteuid() else "root without CAP_SYS_ADMIN"
        message = f"{who} needs a configuration with a user namespace; `pyoci spec --rootless` writes one"
        raise Error(message, "/linux/namespaces")


def warn_of_kept_groups(config: Config, source: Source) -> None:
    """Note that a wish is not granted: the groups of the host's root are not for a container."""
    if config.annotations.get(KEEP_GROUPS) == "1" and is_host_root():
        message = f"ignoring {KEEP_GROUPS}: the groups of the host's root are not for a container"
        warn(Error(message, f"/annotations/{KEEP_GROUPS}"), source)


def warn_of_unknown_capabilities(process: Process | None, source: Source) -> None:
    """Note the capabilities that nobody knows: they are left out, which is no error (config.md#linux-process)."""
    sets = process.capabilities if process else None
    for name in (field.name for field in fields(sets)) if sets else ():
        unknown = [cap for cap in getattr(sets, name) if cap not in CAPABILITIES]
        if unknown:
            kind = "capability" if len(unknown) == 1 else "capabilities"
            message = f"ignoring the unknown {kind} {some_of(unknown)}{did_you_mean(unknown[0], CAPABILITIES)}"
            warn(Error(message, f"/process/capabilities/{name}"), source)
