"""Values with a syntax of their own: versions, modes, sizes, and paths in the container."""

import re
import stat
from typing import Any

from pyoci.config.readers import Findings, Place, expected, integer, quote, string

# Semantic Versioning 2.0.0, semver.org.
NUMBER = r"(?:0|[1-9][0-9]*)"
IDENTIFIER = r"[0-9A-Za-z-]+"
PRERELEASE = rf"(?:{NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
SEMVER = re.compile(
    rf"{NUMBER}\.{NUMBER}\.{NUMBER}(?:-{PRERELEASE}(?:\.{PRERELEASE})*)?(?:\+{IDENTIFIER}(?:\.{IDENTIFIER})*)?"
)
PAGE_SIZE = re.compile(r"[1-9][0-9]*[KMG]B")
BANDWIDTH = re.compile(r"MB:[^\n]*")  # one line of a memory bandwidth schema, config-linux.md#intelrdt


def normal_path(path: str) -> str:
    """Return a path in the container in a form that can be compared: absolute, without ``.``, ``..`` and ``//``.

    A relative path is relative to /, and ``..`` removes the component before it, as in runc.
    """
    if path.startswith("/") and "//" not in path and "/." not in path and not path.endswith("/"):
        return path  # as nearly all are written
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def file_mode(value: Any, at: Place, findings: Findings) -> Any:
    """Read a mode and return its permission bits; some callers include the file type."""
    mode = integer(0, 0o177777)(value, at, findings)
    return mode if mode is None else stat.S_IMODE(mode)


def version(value: Any, at: Place, findings: Findings) -> Any:
    """Read ociVersion; all minor versions of major version 1 are supported."""
    if string(value, at, findings) is None:
        return None
    if not SEMVER.fullmatch(value):
        findings.append((at, f'{quote(value)} is not a version (SemVer 2.0.0), such as "1.3.0"'))
    elif not value.startswith("1."):
        findings.append((at, f"version {quote(value)} is not supported, only 1.x.y is"))
    return value


def no_entries(value: Any, at: Place, findings: Findings) -> Any:
    """Read an array of flags, of which none is defined yet."""
    if type(value) is not list:
        findings.append((at, expected("an array", value)))
    elif value:
        findings.append((at, "no flag is supported"))
    return ()
