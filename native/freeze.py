"""Freeze the runtime's modules: ``python -X no_debug_ranges native/freeze.py TARGET.c [whole]``.

Every module of the package is compiled and written as an array of C, but for the tool circle, whose verbs need
the standard library.  Modules that are always loaded together share an array, and in it their strings and constants:
this unmarshals a quarter faster.  An array holds the code of its modules as constants of a code object that never
runs, and their names as its names; native/static/bootstrap.py, which is also what stands for importlib, reads it.

What is left out: docstrings and assertions, as by -OO, the columns that a traceback could show, and the types of
functions.  The names of files are relative: a traceback shows them, and they must not be this machine's.

*whole* adds what CPython's full initialisation imports, see native/executable.py.
"""

import ast
import marshal
import sys
import sysconfig
from pathlib import Path
from types import CodeType

NATIVE = Path(__file__).resolve().parent
TREE = NATIVE.parent
TOOL_CIRCLE = "pyoci.tools"
# Each with what it imports when it is loaded, less what is in a group before: all verbs, all verbs that have a
# container, those that make one, and what they load while the stage makes its namespaces.
GROUPS = (
    ("pyoci.__main__", "pyoci.commands.common", "pyoci.native"),
    ("pyoci.container",),
    ("pyoci.creation",),
    ("pyoci.plan.build",),
)
WHOLE = {
    "abc": "abc.py",
    "codecs": "codecs.py",
    "encodings": "encodings/__init__.py",
    "encodings.aliases": "encodings/aliases.py",
    "encodings.utf_8": "encodings/utf_8.py",
    "io": "io.py",
}


class Runtime(ast.NodeTransformer):
    """Leave out what only readers and type checkers want: annotations of functions, blocks for type checkers."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Forget the types of a function; those of a class stay, because pyoci.record reads them."""
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Take the other branch of ``if TYPE_CHECKING``."""
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or ast.copy_location(ast.Pass(), node)
        return node


class Module:
    """A module to freeze: its code, and the names that it imports as soon as it is loaded."""

    def __init__(self, path: Path, shown: str) -> None:
        """Compile it."""
        tree = Runtime().visit(ast.parse(path.read_bytes(), shown))
        self.code: CodeType = compile(tree, shown, "exec", dont_inherit=True, optimize=2)
        self.imports = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                self.imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}


def package() -> dict[str, Module]:
    """Give the modules of the runtime circle by their names."""
    found = {}
    for path in sorted((TREE / "pyoci").rglob("*.py")):
        place = path.relative_to(TREE)
        parts = place.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not f"{name}.".startswith(f"{TOOL_CIRCLE}."):
            found[name] = Module(path, str(place))
    if lost := {name.rpartition(".")[0] for name in found} - {"", *found}:
        raise SystemExit(f"freeze: no __init__.py in {', '.join(sorted(lost))}")
    return found


def library(whole: bool) -> dict[str, Module]:
    """Give what stands for modules of the standard library, or those that the full initialisation needs."""
    if not whole:
        return {"_io": Module(NATIVE / "static" / "_io.py", "_io.py")}
    root = Path(sysconfig.get_path("stdlib"))
    return {name: Module(root / path, path) for name, path in WHOLE.items()}


def load(name: str, modules: dict[str, Module], into: list[str], taken: set[str]) -> None:
    """Add a module and what is imported with it, in an order that does not depend on anything."""
    if name not in modules or name in taken:
        return
    taken.add(name)
    into.append(name)
    for other in (name.rpartition(".")[0], *sorted(modules[name].imports)):
        load(other, modules, into, taken)


def groups(modules: dict[str, Module]) -> list[list[str]]:
    """Divide the modules: the groups, and those that are in none, each alone."""
    taken: set[str] = set()
    divided: list[list[str]] = []
    for leaders in GROUPS:
        divided.append([])
        for leader in leaders:
            load(leader, modules, divided[-1], taken)
    return divided + [[name] for name in modules if name not in taken]


def array(label: str, code: CodeType) -> tuple[str, int]:
    """Give code as an array, and its size."""
    # A second round, because the first one says which objects this program holds twice.
    data = marshal.dumps(marshal.loads(marshal.dumps(code)))
    rows = (data[at : at + 32] for at in range(0, len(data), 32))
    text = "\n".join("    " + "".join(f"{byte}," for byte in row) for row in rows)
    return f"static const unsigned char {label}[] = {{\n{text}\n}};\n", len(data)


def table(name: str, arrays: list[tuple[list[str], CodeType]]) -> str:
    """Give arrays, and the table that says where each module is."""
    text, entries = "", ""
    for number, (names, code) in enumerate(arrays):
        label = f"{name}_{number}"
        words, size = array(label, code)
        text += words
        entries += "".join(f'    {{"{module}", {label}, {size}, false, NULL}},\n' for module in names)
    return text + f"static const struct _frozen {name}[] = {{\n{entries}    {{NULL, NULL, 0, false, NULL}}\n}};\n"


def main(target: Path, whole: bool) -> None:
    """Write the tables that stand for those of libpython's frozen.o."""
    bootstrap = Module(NATIVE / "static" / "bootstrap.py", "<frozen importlib._bootstrap>").code
    modules = package() | library(whole)
    shell = compile("", "group", "exec")
    arrays = [
        (names, shell.replace(co_names=tuple(names), co_consts=tuple(modules[name].code for name in names)))
        for names in groups(modules)
    ]
    target.write_text(
        "#include <Python.h>\n#include <stdbool.h>\n"
        + table("bootstrap", [(["_frozen_importlib"], bootstrap)])
        + table("modules", arrays)
        + table("none", [])
        + "const struct _frozen *_PyImport_FrozenBootstrap = bootstrap, *PyImport_FrozenModules = modules;\n"
        "const struct _frozen *_PyImport_FrozenStdlib = none, *_PyImport_FrozenTest = none;\n"
        "static const char *const aliases[2];\nconst void *_PyImport_FrozenAliases = aliases;\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), "whole" in sys.argv[2:])
