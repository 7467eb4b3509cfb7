"""Stands for a verb of the static file (test_static.py); its argument chooses what to try inside of it."""

import posix
import sys

from pyoci.commands.common import show


def use_modules():
    import _struct
    import errno
    import fcntl
    import gc
    import itertools
    import marshal
    import select
    import time
    assert _struct.unpack("<I", _struct.pack("<I", 7)) == (7,)
    assert errno.errorcode[2] == "ENOENT"
    assert fcntl.fcntl(1, fcntl.F_GETFD) == 0
    assert not gc.isenabled()
    assert gc.collect() >= 0
    assert list(itertools.chain("a", "b")) == ["a", "b"]
    assert marshal.loads(marshal.dumps({"a": (1, 2.5, b"x", None)})) == {"a": (1, 2.5, b"x", None)}
    assert select.poll().poll(0) == []
    assert time.gmtime(951782400)[:8] == (2000, 2, 29, 0, 0, 0, 1, 60)
    assert time.localtime(0)[:6] == (1970, 1, 1, 0, 0, 0)
    assert posix.fsencode if hasattr(posix, "fsencode") else posix.stat("/")
    assert "\udcff\u20ac".encode("utf-8", "surrogateescape") == b"\xff\xe2\x82\xac"
    assert str(b"\xff", "utf-8", "backslashreplace") == "\\xff"
    assert "\u20ac".encode("ascii", "backslashreplace") == b"\\u20ac"
    assert f"{1.5:8.3f}" + "%x" % 255 + "{:>4}".format("a") == "   1.500ff   a"  # noqa: UP031


def use_foreign():
    for name in ("json", "os", "re", "io", "encodings", "site", "_signal", "_thread", "_socket", "array", "ctypes"):
        try:
            __import__(name)
        except ModuleNotFoundError:
            continue
        raise AssertionError(name)
    from pyoci.native import ffi
    for refused in (lambda: ffi.dlopen(None), lambda: ffi.dlopen("libc.so.6"), lambda: posix.getlogin(),
                    lambda: posix.initgroups("root", 0)):
        try:
            refused()
        except OSError:
            continue
        raise AssertionError(refused)
    assert posix.getgrouplist("root", 7) == [7]
    assert not hasattr(sys, "path") or sys.path == []


def read_environment():
    assert posix.environ == {b"HOME": b"/home\xff", b"PATH": b"", b"TERM": b"a=b"}


def move_memory():
    for _ in range(3):
        for module in [module for module in sys.modules.values() if type(module) is type(sys)]:
            module.__dict__.update({f"more {i}": [i] * i for i in range(64)})
            for i in range(64):
                del module.__dict__[f"more {i}"]
    sys.modules.update({f"no module {i}": None for i in range(4096)})
    growing = [[] for _ in range(64)]
    for number in range(2000):
        for each in growing:
            each.append(number)
    assert all(each == list(range(2000)) for each in growing)


def recurse():
    def deeper(value):
        return deeper([value])
    nested = []
    for _ in range(100000):
        nested = [nested]
    for failing in (lambda: deeper([]), lambda: repr(nested), lambda: nested == nested[0]):
        try:
            failing()
        except RecursionError:
            continue
        raise AssertionError(failing)
    posix._exit(0)


def interrupt():
    posix.kill(posix.getpid(), 2)
    while True:
        pass


def crash():
    from pyoci.native import ffi
    ffi.cast("int *", 8)[0] = 1


def collapse():
    from pyoci import __main__
    __main__.error = None
    raise ValueError("nobody can tell")


def run(command):
    globals()[command.words[0]]()
    return show("fine\n")
