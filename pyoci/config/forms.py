"""Members that have a form of their own: versions, modes, sizes, and paths in the container."""

from pyoci.config.readers import expected, integer, quote, string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.config.readers import Findings, Place


def normal_path(path: str) -> str:
    """Return a path in the container as it is compared: absolute, without ``.``, ``..`` and doubled slashes.

    A relative one starts at /, and ``..`` goes up by the text, as runc takes it.
    """
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def file_mode(value: "Any", at: "Place", findings: "Findings") -> "Any":
    """Read a mode and give its permission bits: some callers write the file's type into it too."""
    mode = integer(0, 0o177777)(value, at, findings)
    return mode if mode is None else mode & 0o7777


def version(value: "Any", at: "Place", findings: "Findings") -> "Any":
    """Read ociVersion: SemVer 2.0.0 (semver.org), major version 1 of any minor."""
    if string(value, at, findings) is None:
        return None
    if not is_semver(value):
        findings.append((at, f'{quote(value)} is not a version (SemVer 2.0.0), such as "1.3.0"'))
    elif not value.startswith("1."):
        findings.append((at, f"version {quote(value)} is not supported, only 1.x.y is"))
    return value


def is_semver(value: str) -> bool:
    """Tell whether *value* is a version as semver.org defines it."""
    rest, plus, build = value.partition("+")
    core, hyphen, prerelease = rest.partition("-")
    numbers = core.split(".")
    return (
        len(numbers) == 3
        and all(is_number(number) for number in numbers)
        and (not hyphen or all(is_identifier(part) and not is_padded(part) for part in prerelease.split(".")))
        and (not plus or all(is_identifier(part) for part in build.split(".")))
    )


def is_number(part: str) -> bool:
    """Tell whether *part* is a decimal number without leading zeros."""
    return part.isascii() and part.isdigit() and not is_padded(part)


def is_padded(part: str) -> bool:
    """Tell whether *part* is a decimal number with leading zeros."""
    return len(part) > 1 and part[0] == "0" and part.isdigit()


def is_identifier(part: str) -> bool:
    """Tell whether *part* is made of ASCII letters, digits and hyphens, at least one."""
    return part.isascii() and part.replace("-", "0").isalnum()


def is_page_size(value: str) -> bool:
    """Tell whether *value* is a size such as 64KB, 2MB or 1GB."""
    return len(value) > 2 and value[-2:] in ("KB", "MB", "GB") and is_number(value[:-2]) and value[0] != "0"


def is_bandwidth(value: str) -> bool:
    """Tell whether *value* is one line of a memory bandwidth schema (config-linux.md#intelrdt)."""
    return value.startswith("MB:") and "\n" not in value


def no_entries(value: "Any", at: "Place", findings: "Findings") -> "Any":
    """Read an array of words of which none exists yet."""
    if type(value) is not list:
        findings.append((at, expected("an array", value)))
    elif value:
        findings.append((at, "no flag is supported"))
    return ()
