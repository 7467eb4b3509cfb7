"""Linters, types, lengths, and calls that the design forbids."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.source.tree import MODULES, TREE, c_files, parse, python_files

MAX_FILE = 420
MAX_TEST_FILE = 700  # a list of cases is read entry by entry
MAX_FUNCTION = 50
OURS = python_files("pyoci", "native", "tests", "spec", "bundles")
GENERATED = {TREE / "pyoci" / "config" / "tables.py", TREE / "native" / "operations.h"}


def relative(path: Path) -> str:
    """Name a file in a test's id."""
    return str(path.relative_to(TREE))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this interpreter's environment in the tree."""
    return subprocess.run(
        [sys.executable, *command], cwd=TREE, capture_output=True, text=True, timeout=300, check=False
    )


def test_ruff() -> None:
    shown = run(
        "-m",
        "ruff",
        "check",
        "--quiet",
        "--output-format=concise",
        "pyoci",
        "native",
        "tests",
        "spec",
        "bundles",
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_mypy_strict() -> None:
    shown = run("-m", "mypy", "--no-error-summary")
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_generated_tables_are_not_stale() -> None:
    shown = run("spec/generate.py", "--check")
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_files_are_short() -> None:
    def limit(path: Path) -> int:
        return MAX_TEST_FILE if path.is_relative_to(TREE / "tests") else MAX_FILE

    lengths = {path: len(path.read_text().splitlines()) for path in {*OURS, *c_files()} - GENERATED}
    assert not {relative(path): lines for path, lines in lengths.items() if lines > limit(path)}


def test_functions_are_short() -> None:
    long = {
        f"{relative(path)}:{node.lineno}: {node.name}": length
        for path in OURS
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION
    }
    assert not long


def test_c_functions_are_short() -> None:
    """A function begins with a brace in the first column and ends with one."""
    long = {}
    for path in c_files():
        begin = 0
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line == "{":
                begin = number
            elif line == "}" and begin:
                if number - begin > MAX_FUNCTION:
                    long[f"{relative(path)}:{begin - 1}"] = number - begin
                begin = 0
    assert not long


def test_imports_are_those_that_run() -> None:
    """An import costs nothing in the static file, so that none is for type checkers only."""
    found = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Name | ast.alias)
        and (node.id if isinstance(node, ast.Name) else node.name) == "TYPE_CHECKING"
    }
    assert not found


# Python decides; it never becomes something else, and never builds a path below the container's root.
FORBIDDEN_CALLS = {
    "fork": "children are made by the extension",
    "forkpty": "children are made by the extension",
    "chroot": "Python never changes its root",
    "setns": "Python never changes its namespaces",
    "unshare": "Python never changes its namespaces",
    "setuid": "Python never changes its user",
    "setgid": "Python never changes its user",
    "setresuid": "Python never changes its user",
    "setresgid": "Python never changes its user",
    "setgroups": "Python never changes its user",
    "makedirs": "resolves strings; use a directory's descriptor",
    "system": "runs a shell",
    "popen": "runs a shell",
    "eval": "runs text",
    "exec": "runs text",
    "execv": "Python is never replaced",
    "execve": "Python is never replaced",
    "umask": "belongs to the caller",
}
# The static file becomes the launcher for a verb that it lacks.
ALLOWED_CALLS = {("pyoci.commands.validate", "execve")}


def called_name(node: ast.Call) -> str:
    """Return the name of a plain function, or of one of os and posix; "" for methods."""
    called = node.func
    if isinstance(called, ast.Name):
        return called.id
    if (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and called.value.id in ("os", "posix")
    ):
        return called.attr
    return ""


def test_forbidden_calls() -> None:
    found = {
        f"{relative(path)}:{node.lineno}: {name}": FORBIDDEN_CALLS[name]
        for module, path in MODULES.items()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        and (name := called_name(node)) in FORBIDDEN_CALLS
        and (module, name) not in ALLOWED_CALLS
    }
    assert not found


ROOTFS_NAMES = {"rootfs", "rootfs_path", "root_path"}


def begins_with_rootfs(node: ast.AST) -> bool:
    """Tell ``f"{…rootfs…}/…"`` and ``…rootfs… + …``."""
    if (
        isinstance(node, ast.JoinedStr)
        and len(node.values) > 1
        and isinstance(node.values[0], ast.FormattedValue)
    ):
        text = node.values[1]
        first: ast.AST | None = (
            node.values[0] if isinstance(text, ast.Constant) and str(text.value).startswith("/") else None
        )
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
        first = node.left
    else:
        return False
    return first is not None and any(
        (part.id if isinstance(part, ast.Name) else part.attr) in ROOTFS_NAMES
        for part in ast.walk(first)
        if isinstance(part, ast.Name | ast.Attribute)
    )


def test_no_path_is_built_on_the_root_file_system() -> None:
    """A string that begins with the rootfs can be led out of it by a symlink; targets go by descriptor."""
    assert not [
        f"{relative(path)}:{node.lineno}"
        for path in MODULES.values()
        for node in ast.walk(parse(path))
        if begins_with_rootfs(node) and isinstance(node, ast.expr)
    ]


def test_no_name_of_a_machine_in_the_project() -> None:
    """Nothing here may depend on where it was written."""
    forbidden = ["/" + "work/", "/" + "tmp/brief", "/" + "opt/wheels"]
    shown = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=TREE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    files = (
        [TREE / name for name in shown.stdout.split("\0") if name]
        if shown.returncode == 0
        else [*OURS, *c_files()]
    )
    found = [
        relative(path)
        for path in files
        if path.is_file() and any(word in path.read_text(errors="replace") for word in forbidden)
    ]
    assert not found
