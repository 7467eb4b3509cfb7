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
    assert "\udcff\u20ac".encode("utf-8", "surrogateescape") == b"\xff\xe2\x82\xac"
    assert str(b"\xff", "utf-8", "backslashreplace") == "\\xff"
    assert "\u20ac".encode("ascii", "backslashreplace") == b"\\u20ac"
    assert f"{1.5:8.3f}" + "%x" % 255 + "{:>4}".format("a") == "   1.500ff   a"  # noqa: UP031


def use_library():
    import codecs
    import collections
    import contextlib
    import functools
    import io
    import operator
    import os
    import re
    import stat
    import struct
    import types
    import weakref
    from collections.abc import Mapping
    assert os.path.join("a", "b") == "a/b"
    assert os.fsencode("\udcff") == b"\xff"
    assert stat.S_ISDIR(os.stat("/").st_mode)
    assert isinstance(os.environ, Mapping)
    assert re.fullmatch(r"(?i)(a+)[^\W\d]{2,}", "AAbc").group(1) == "AA"
    assert functools.lru_cache(maxsize=2)(lambda x: x + 1)(1) == 2
    assert functools.reduce(operator.or_, [1, 2]) == 3
    assert collections.Counter("aab")["a"] == 2 and collections.OrderedDict(a=1)
    with contextlib.suppress(KeyError), contextlib.ExitStack() as stack:
        stack.callback(lambda: None)
        raise KeyError
    assert struct.unpack("<I", struct.pack("<I", 7)) == (7,)
    assert types.SimpleNamespace(a=1).a == 1 and weakref.ref(run)() is run
    assert io.BytesIO(b"x").read() == b"x" and codecs.lookup("utf8").name == "utf-8"
    assert (sys.stdin, sys.stdout, sys.stderr) == (None, None, None)
    with open("/dev/null", "w", encoding="utf-8") as file:
        assert file.write("\u20ac") == 1


def make_types():
    import copy
    import dataclasses
    import enum
    import typing

    class Flags(enum.IntFlag):
        A = 1
        B = 2

    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Point:
        x: int
        tags: list[str] = dataclasses.field(default_factory=list)

    class Pair(typing.NamedTuple):
        left: int
        right: "int | None" = None

    assert Flags.A | Flags.B == 3 and repr(Flags.A) == "<Flags.A: 1>"
    assert repr(Point(x=1)).endswith("Point(x=1, tags=[])")
    assert dataclasses.replace(Point(x=1), x=2) == Point(x=2) != copy.deepcopy(Point(x=3))
    assert Pair(1) == (1, None)


def handle_signals():
    import os
    import signal
    caught = []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    signal.signal(signal.SIGTERM, lambda number, _frame: caught.append(number))
    os.kill(os.getpid(), signal.SIGTERM)
    assert caught == [signal.SIGTERM]
    read, _ = os.pipe()
    signal.signal(signal.SIGALRM, lambda _number, _frame: 1 / 0)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        os.read(read, 1)
    except ZeroDivisionError:
        return
    raise AssertionError("not interrupted")


def use_foreign():
    for name in ("json", "site", "importlib", "subprocess", "threading", "_socket", "array", "ctypes"):
        try:
            __import__(name)
        except ModuleNotFoundError:
            continue
        raise AssertionError(name)
    import _thread
    try:
        _thread.start_new_thread(print, ())
    except RuntimeError as error:
        assert str(error) == "can't start new thread"
    else:
        raise AssertionError("a thread")
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
    import os
    assert posix.environ == {b"HOME": b"/home\xff", b"PATH": b"", b"TERM": b"a=b"}
    assert os.environ == {"HOME": "/home\udcff", "PATH": "", "TERM": "a=b"}
    assert os.getenv("HOME") == os.environ["HOME"] and os.getenv("OTHER") is None


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
