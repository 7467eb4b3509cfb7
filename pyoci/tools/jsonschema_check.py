"""The check of a document by the package jsonschema, if that is installed."""

import os
import site
import stat
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from pyoci.config.readers import escaped

MESSAGE_MAX = 200


def violations(value: Any, schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the JSON pointer and the message of each violation; none if jsonschema is not installed."""
    add_site_packages()
    try:
        validator = import_module("jsonschema").Draft202012Validator(schema)
    except (ImportError, AttributeError):  # not installed, or too old for this dialect
        return
    for error in validator.iter_errors(value):
        text = " ".join(error.message.split())
        shown = text if len(text) <= MESSAGE_MAX else f"{text[: MESSAGE_MAX - 3]}..."
        yield pointer_of(error), f"does not match the schema: {shown}"


def pointer_of(error: Any) -> str:
    """Return the JSON pointer of an error; for a wrong name or a missing member it is that of the member."""
    parts = [*error.absolute_path, *([error.instance] if "propertyNames" in error.absolute_schema_path else [])]
    if getattr(error, "validator", "") == "required":
        parts += [name for name in error.validator_value if error.message.startswith(f"{name!r} ")]
    return "".join(f"/{escaped(str(part))}" for part in parts)


def add_site_packages() -> None:
    """Append the site directories to sys.path where the interpreter runs without them.

    The launcher starts Python with -S, because site would run the .pth files and the sitecustomize of the host.  A
    directory that another user can change is left out.
    """
    if sys.flags.no_site:
        sys.path += [path for path in site.getsitepackages() if path not in sys.path and is_trusted(path)]


def is_trusted(path: str) -> bool:
    """Return whether only root and this user can change a directory."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
