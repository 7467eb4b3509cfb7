"""Values as pyoci.codec gives them, made of those that tests write down."""

from typing import Any

from pyoci.members import Members


def members(value: Any) -> Any:
    """Return a copy with Members in place of dicts."""
    if isinstance(value, dict):
        return Members([part for name, item in value.items() for part in (name, members(item))])
    return [members(item) for item in value] if isinstance(value, list) else value
