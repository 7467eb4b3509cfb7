"""The project's files, and what their syntax says."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]


def python_files(*folders: str) -> list[Path]:
    """Return the Python sources below the folders."""
    return sorted(path for folder in folders for path in (TREE / folder).rglob("*.py"))


def c_files() -> list[Path]:
    """Return the C sources and headers."""
    return sorted(path for pattern in ("*.c", "*.h") for path in (TREE / "native").rglob(pattern))


@cache
def parse(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    """Return the dotted name of a module of the package."""
    parts = path.relative_to(TREE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in python_files("pyoci")}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what can run: everything but the bodies of ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if _is_type_checking(child):
            assert isinstance(child, ast.If)
            for other in child.orelse:
                yield other
                yield from _running(other)
        else:
            yield child
            yield from _running(child)


def imports(path: Path, types: bool = False) -> set[str]:
    """Return the modules that a file imports anywhere in it; with *types* also those for type checkers only."""
    found = set()
    for node in ast.walk(parse(path)) if types else _running(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in MODULES else node.module)
    return found
