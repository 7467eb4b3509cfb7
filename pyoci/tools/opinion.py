"""A second opinion on a document: that of the package jsonschema, if there is one."""

import os
import site
import stat
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyoci.config.readers import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 200


def violations(value: Any, schema: dict[str, Any]) -> "Iterator[tuple[str, str]]":
    """Give pointer and message of what jsonschema finds: nothing where it is not installed."""
    see_site_packages()
    try:
        validator = import_module("jsonschema").Draft202012Validator(schema)
    except (ImportError, AttributeError):  # is missing, or older than this dialect
        return
    for error in validator.iter_errors(value):
        text = " ".join(error.message.split())
        shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
        yield pointer_of(error), f"the schema refuses it: {shown}"


def pointer_of(error: Any) -> str:
    """Return the place of an error of jsonschema; that of a wrong name, or of a missing member, is the member's."""
    parts = [*error.absolute_path, *([error.instance] if "propertyNames" in error.absolute_schema_path else [])]
    if getattr(error, "validator", "") == "required":
        parts += [name for name in error.validator_value if error.message.startswith(f"{name!r} ")]
    return "".join(f"/{escaped(str(part))}" for part in parts)


def see_site_packages() -> None:
    """Let what the host's Python has installed be imported, after all else, where the interpreter was told not to.

    The launcher starts it with -S for every verb: which verb it is, only pyoci.cli knows, and site would run the
    .pth files and the sitecustomize of the host.  Only its directories are of use here, less those that somebody
    else could have filled.
    """
    if sys.flags.no_site:
        sys.path += [path for path in site.getsitepackages() if path not in sys.path and is_trusted(path)]


def is_trusted(path: str) -> bool:
    """Tell whether only root and the user can change a directory."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
