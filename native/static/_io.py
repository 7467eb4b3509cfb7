"""What cffi asks of _io when it is loaded: the class by which it would know a Python file.  There are none."""


class _IOBase:
    pass
