"""Deviations from the specification that are accepted because callers make them; ``validate`` warns of each.

Programs written in Go write null for what they have not set, some omit a gid of 0, and images set HOME to nothing.
"""

from collections.abc import Iterator
from typing import Any

from pyoci.config.readers import escaped
from pyoci.members import Members


def leniences(document: Any) -> Iterator[tuple[str, str]]:
    """Yield JSON pointer and message of each such place in the value of config.json."""
    yield from nulls(document, "")
    process = document.get("process") if isinstance(document, Members) else None
    if not isinstance(process, Members):
        return
    user, env = process.get("user"), process.get("env")
    if isinstance(user, Members) and user.get("gid") is None:
        yield "/process/user/gid", "is missing, and read as 0"
    for index, entry in enumerate(env if isinstance(env, list) else ()):
        if entry == "HOME=":
            yield f"/process/env/{index}", "HOME is empty, and set from the container's /etc/passwd"


def nulls(value: Any, at: str) -> Iterator[tuple[str, str]]:
    """Yield every member below *at* that is null."""
    if isinstance(value, Members):
        for name, item in value.items():
            if item is None:
                yield f"{at}/{escaped(name)}", "is null, and read as absent"
            else:
                yield from nulls(item, f"{at}/{escaped(name)}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nulls(item, f"{at}/{index}")


def as_read(document: Any) -> Any:
    """Return the value of config.json without these deviations, and with dicts in place of Members."""
    value = without_nulls(document)
    process = value.get("process") if isinstance(value, dict) else None
    user = process.get("user") if isinstance(process, dict) else None
    if isinstance(user, dict):
        user.setdefault("gid", 0)
    return value


def without_nulls(value: Any) -> Any:
    if isinstance(value, (dict, Members)):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
