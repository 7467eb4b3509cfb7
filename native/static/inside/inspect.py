"""What dataclasses needs of inspect; the module itself reads sources, and is ten times as large."""


def signature(_cls):
    """Return nothing to show: the static file has no docstrings."""
    return ""


def get_annotations(cls):
    """Return the annotations of the class itself."""
    return cls.__dict__.get("__annotations__", {})
