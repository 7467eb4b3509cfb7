"""Freeze the runtime's modules: ``python -X no_debug_ranges native/freeze.py TARGET.c [whole]``.

Every module of the package is compiled and written as an array of C, but for the tool circle, whose verbs need
the standard library.  An import unmarshals one array, so each verb pays for its own modules only.  What is left
out: docstrings and assertions, as by -OO, and the columns that a traceback could show.  The names of files are
relative: they are what a traceback says, and must not be this machine's.

native/static/bootstrap.py stands for importlib._bootstrap; native/static/_io.py for the little that cffi wants
of _io.  *whole* adds what CPython's full initialisation imports, see native/executable.py.
"""

import marshal
import sys
import sysconfig
from pathlib import Path

NATIVE = Path(__file__).resolve().parent
TREE = NATIVE.parent
TOOL_CIRCLE = ("pyoci.commands.validate", "pyoci.commands.doctor", "pyoci.commands.completion")
WHOLE = {
    "abc": "abc.py",
    "codecs": "codecs.py",
    "encodings": "encodings/__init__.py",
    "encodings.aliases": "encodings/aliases.py",
    "encodings.utf_8": "encodings/utf_8.py",
    "io": "io.py",
}

Module = tuple[str, Path, str]  # its name, where it is, which file its code names


def package() -> list[Module]:
    """Give the modules of the runtime circle."""
    found = []
    for path in sorted((TREE / "pyoci").rglob("*.py")):
        place = path.relative_to(TREE)
        parts = place.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name not in TOOL_CIRCLE:
            found.append((name, path, str(place)))
    return found


def library(whole: bool) -> list[Module]:
    """Give what stands for modules of the standard library, or those that the full initialisation needs."""
    if not whole:
        return [("_io", NATIVE / "static" / "_io.py", "_io.py")]
    root = Path(sysconfig.get_path("stdlib"))
    return [(name, root / path, path) for name, path in WHOLE.items()]


def array(name: str, path: Path, shown: str) -> tuple[str, str]:
    """Give a module's code as an array, and its entry in a table."""
    code = compile(path.read_bytes(), shown, "exec", dont_inherit=True, optimize=2)
    # A second round, because the first one says which objects this program holds twice.
    data = marshal.dumps(marshal.loads(marshal.dumps(code)))
    label = "frozen_" + name.replace(".", "_")
    rows = "\n".join(
        "    " + "".join(f"{byte}," for byte in data[at : at + 32]) for at in range(0, len(data), 32)
    )
    package = "true" if path.name == "__init__.py" else "false"
    return (
        f"static const unsigned char {label}[] = {{\n{rows}\n}};\n",
        f'    {{"{name}", {label}, {len(data)}, {package}, NULL}},\n',
    )


def table(name: str, modules: list[Module]) -> str:
    """Give the arrays of some modules and the table that lists them."""
    pairs = [array(*module) for module in modules]
    entries = "".join(entry for _, entry in pairs)
    return "".join(text for text, _ in pairs) + (
        f"static const struct _frozen {name}[] = {{\n{entries}    {{NULL, NULL, 0, false, NULL}}\n}};\n"
    )


def main(target: Path, whole: bool) -> None:
    """Write the tables that stand for those of libpython's frozen.o."""
    bootstrap = NATIVE / "static" / "bootstrap.py"
    text = "#include <Python.h>\n#include <stdbool.h>\n"
    text += table("bootstrap", [("_frozen_importlib", bootstrap, "<frozen importlib._bootstrap>")])
    text += table("modules", [*library(whole), *package()])
    text += table("none", [])
    text += (
        "const struct _frozen *_PyImport_FrozenBootstrap = bootstrap, *PyImport_FrozenModules = modules;\n"
        "const struct _frozen *_PyImport_FrozenStdlib = none, *_PyImport_FrozenTest = none;\n"
        "static const char *const aliases[2];\nconst void *_PyImport_FrozenAliases = aliases;\n"
    )
    target.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "whole" in sys.argv[2:])
