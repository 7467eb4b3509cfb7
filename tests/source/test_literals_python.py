"""Flags, errnos, signals and the type bits of modes have names in Python, too; permissions are octal numbers."""

import ast
import errno
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.source.tree import TREE, python_files

GENERATED = {
    TREE / "pyoci" / "linux.py",
    TREE / "pyoci" / "config" / "tables.py",
    *(TREE / "pyoci" / "operations").glob("*.py"),
}
MODULES = [path for path in python_files("pyoci") if path not in GENERATED]

PREFIXED = re.compile(
    r"_?(O|MS|CLONE|AT|CAP|MOUNT_ATTR|RESOLVE|STATX|F|PR|SEEK|MFD|SO|SOL|SCM|AF|SECCOMP|BPF|FSCONFIG|NS)_[A-Z0-9_]+"
    r"|_?S_I[A-Z]+"
)
NAMES = {*errno.errorcode.values(), *signal.Signals.__members__}
FLAGS = re.compile(r".*flags?|.*_set|.*_clr", re.IGNORECASE)
MODES = re.compile(r"(.*_)?(st_)?(mode|perm|permissions|umask)", re.IGNORECASE)
ERRORS = {"errno", "err", "number", "sig", "signum", "signal"}
STATUSES = {"status", "returncode"}
PERMISSIONS = 0o7777

# The positional arguments of a call that are made of names; permissions are octal, and 0 is no signal.
CALLS: dict[str, dict[int, str]] = {
    "kill": {0: "signal", 1: "signal"},
    "killpg": {1: "signal"},
    "pidfd_send_signal": {1: "signal"},
    "raise_signal": {0: "signal"},
    "open": {1: "flags", 2: "permissions"},
    "access": {1: "flags"},
    "lseek": {2: "flags"},
    "memfd_create": {1: "flags"},
    "fcntl": {1: "flags"},
    "ioctl": {1: "flags"},
    "waitid": {2: "flags"},
    "mkdir": {1: "permissions"},
    "chmod": {1: "permissions"},
    "fchmod": {1: "permissions"},
    "mkfifo": {1: "permissions"},
    "mknod": {1: "flags"},
    "OSError": {0: "errno"},
    "KernelError": {1: "errno"},
}


def is_name(text: str) -> bool:
    """Return whether an identifier names a flag, an errno, a signal, or bits of a mode."""
    return text.lstrip("_") in NAMES or PREFIXED.fullmatch(text) is not None


def identifier(node: ast.AST) -> str:
    """Return the last name of an expression: ``O_RDONLY`` for ``os.O_RDONLY``."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def identifiers(node: ast.AST) -> set[str]:
    return {name for each in ast.walk(node) if (name := identifier(each))}


class Finder:
    """The numbers of a module that should have names."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)

    def value(self, node: ast.AST | None) -> int | None:
        """Return the number that an expression is, without any name; None for other expressions."""
        if isinstance(node, ast.Constant):
            return node.value if type(node.value) is int else None
        if isinstance(node, ast.UnaryOp):
            number = self.value(node.operand)
            return None if number is None else -number if isinstance(node.op, ast.USub) else ~number
        if isinstance(node, ast.BinOp):
            parts = self.value(node.left), self.value(node.right)
            return None if None in parts else parts[0]
        return None

    def is_octal(self, node: ast.AST) -> bool:
        """Return whether a number is written as permissions are."""
        parts = [each for each in ast.walk(node) if isinstance(each, ast.Constant)]
        return all(
            (ast.get_source_segment(self.text, each) or "").startswith("0o") and each.value <= PERMISSIONS
            for each in parts
        )

    def is_bad(self, node: ast.AST | None, kind: str) -> bool:
        """Return whether an expression, or an operand of it, is a number that should have a name."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd) and self.value(node) is None:
            return self.is_bad(node.left, kind) or self.is_bad(node.right, kind)
        if isinstance(node, ast.IfExp):
            return self.is_bad(node.body, kind) or self.is_bad(node.orelse, kind)
        if node is None or not self.value(node):
            return False
        return kind != "permissions" or not self.is_octal(node)

    def literals(self) -> Iterator[str]:
        """Yield each place with its line."""
        for node in ast.walk(self.tree):
            for rule in RULES:
                for what in rule(self, node):
                    yield f"{getattr(node, 'lineno', 0)}: {what}: {ast.unparse(node).splitlines()[0]}"

    def assigned(self, node: ast.AST) -> Iterator[str]:
        """Names that are made again: ``EINTR = 4``, and as keys: ``{"SIGHUP": 1}``."""
        pairs: list[tuple[str, ast.AST | None]] = []
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs += zip(map(identifier, target.elts), node.value.elts, strict=False)
                else:
                    pairs.append((identifier(target), node.value))
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            pairs.append((identifier(node.target), node.value))
        elif isinstance(node, ast.Dict):
            keys = [str(key.value) if isinstance(key, ast.Constant) else "" for key in node.keys]
            pairs += zip(keys, node.values, strict=True)
        yield from ("a constant" for name, value in pairs if is_name(name) and self.value(value) is not None)

    def compared(self, node: ast.AST) -> Iterator[str]:
        """``error.errno == 2``, ``number in (1, 13)``, ``status == -9``."""
        if not isinstance(node, ast.Compare):
            return
        sides = [node.left, *node.comparators]
        numbers = [
            number
            for side in sides
            for each in (side.elts if isinstance(side, ast.Tuple | ast.Set | ast.List) else [side])
            if (number := self.value(each))
        ]
        names = {identifier(side) for side in sides}
        equal = any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops)
        if equal and numbers and (names & ERRORS or any(map(is_name, names))):
            yield "a comparison"
        if equal and names & STATUSES and any(number < 0 for number in numbers):
            yield "a signal in a status"

    def combined(self, node: ast.AST) -> Iterator[str]:
        """``os.O_RDONLY | 0x80000``, ``flags & 4``, ``mode &= 63``."""
        if isinstance(node, ast.AugAssign):
            sides: tuple[ast.AST, ast.AST] = node.target, node.value
        elif isinstance(node, ast.BinOp):
            sides = node.left, node.right
        else:
            return
        if not isinstance(node.op, ast.BitOr | ast.BitAnd | ast.BitXor):
            return
        for number, other in (sides, sides[::-1]):
            if isinstance(other, ast.BinOp) and isinstance(other.op, ast.RShift):
                continue  # a bit by its number: capabilities >> CAP_SYS_ADMIN & 1
            names = identifiers(other)
            of_mode = any(MODES.fullmatch(name) or re.match(r"_?S_I", name) for name in names)
            of_flags = any(FLAGS.fullmatch(name) or is_name(name) for name in names)
            if of_mode and self.is_bad(number, "permissions") or not of_mode and of_flags and self.is_bad(number, "flags"):
                yield "a combination"

    def called(self, node: ast.AST) -> Iterator[str]:
        """``os.kill(pid, 9)``, ``os.open(path, 2)``, ``mount(flags=8)``."""
        if not isinstance(node, ast.Call):
            return
        for index, kind in CALLS.get(identifier(node.func), {}).items():
            if index < len(node.args) and self.is_bad(node.args[index], kind):
                yield f"argument {index + 1}"
        for keyword in node.keywords:
            yield from self.named(keyword.arg or "", keyword.value)

    def defaults(self, node: ast.AST) -> Iterator[str]:
        """``def mount(flags=8)``."""
        if isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            pairs = [
                *zip(positional[len(positional) - len(node.defaults) :], node.defaults, strict=True),
                *zip(node.kwonlyargs, node.kw_defaults, strict=True),
            ]
            for argument, value in pairs:
                yield from self.named(argument.arg, value)

    def named(self, name: str, value: ast.AST | None) -> Iterator[str]:
        kind = "permissions" if MODES.fullmatch(name) else "flags" if FLAGS.fullmatch(name) or name in ERRORS else ""
        if kind and self.is_bad(value, kind):
            yield f"argument {name}"


RULES: tuple[Callable[[Finder, ast.AST], Iterator[str]], ...] = (
    Finder.assigned,
    Finder.compared,
    Finder.combined,
    Finder.called,
    Finder.defaults,
)


def relative(path: Path) -> str:
    return str(path.relative_to(TREE))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_use_names(path: Path) -> None:
    assert not list(Finder(path.read_text()).literals())


@pytest.mark.parametrize(
    "line",
    [
        "EINTR = 4",
        "_ENOENT: int = 2",
        "S_IFMT, S_IFLNK, SHARED = 0o170000, 0o120000, 0o022",
        "SIGKILL = 9",
        "O_PATH = 0o10000000",
        "MS_REC = 1 << 14",
        "AT_EMPTY_PATH = AT_FDCWD = -100",
        "CAP_SYS_ADMIN = 21",
        "NUMBERS = {'SIGHUP': 1}",
        "error.errno == 2",
        "if error.number not in (errno.EPERM, 13): pass",
        "if 4 == err: pass",
        "if status == -9: pass",
        "fd = os.open(path, os.O_RDONLY | 0x80000)",
        "fd = os.open(path, 2)",
        "fd = os.open(path, os.O_CREAT | os.O_WRONLY, 420)",
        "x = os.O_PATH | 0o2000000",
        "if step.flags & 4: pass",
        "flags |= 2",
        "mode &= 63",
        "if status.st_mode & 0o170000 == kind: pass",
        "if status.st_mode & 18: pass",
        "os.kill(pid, 9)",
        "container.kill(15)",
        "signal.pidfd_send_signal(pidfd, 9)",
        "os.mkdir(path, 448)",
        "os.mknod(path, 0o020666, device)",
        "mount(path, flags=8)",
        "def mount(path, flags=8): pass",
        "def make(path, *, mode=384): pass",
        "raise OSError(2, 'text')",
        "raise KernelError('reading', 5)",
        "os.open(path, 2 if write else 0)",
    ],
)
def test_a_number_in_the_place_of_a_name_is_found(line: str) -> None:
    assert list(Finder(line).literals())


@pytest.mark.parametrize(
    "line",
    [
        "ECHO = 'text'",
        "SIGNAL_MAX = 64",
        "error.errno == errno.ENOENT",
        "if error.number == 0: pass",
        "if number > 4: pass",
        "if status == 0 or status == 1: pass",
        "mode = stat.S_IFCHR | 0o666",
        "if status.st_mode & 0o022: pass",
        "fd = os.open(path, os.O_CREAT | os.O_EXCL, 0o600)",
        "os.kill(pid, 0)",
        "os.mkdir(path, 0o700)",
        "low = number >> 8 & 0xFF",
        "if capabilities >> CAP_SYS_ADMIN & 1: pass",
        "def make(path, mode=0o600, flags=0): pass",
        "raise OSError(errno.ENOENT, 'text')",
        "log.open(path, 'json', 'error')",
    ],
)
def test_what_is_no_such_number_is_left_alone(line: str) -> None:
    assert not list(Finder(line).literals())
