"""What dataclasses needs of inspect: a signature to write a docstring from.  The static file has no docstrings."""


def signature(_cls):
    """Return nothing to show."""
    return ""
