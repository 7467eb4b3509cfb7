"""Freeze the runtime's modules: ``python -X no_debug_ranges native/freeze.py TARGET.c [whole]``.

Every module of the package is compiled and written as an array of C, but for the tool circle, whose verbs need
the standard library.  Nobody waits for them to be read: they are imported when the file is built, see
native/static/snapshot.c.

What is left out: docstrings and assertions, as by -OO, and the columns that a traceback could show.  The names of
files are relative: a traceback shows them, and they must not be this machine's.

*whole* adds what CPython's full initialisation imports, see native/executable.py.
"""

import marshal
import sys
import sysconfig
from pathlib import Path
from types import CodeType

NATIVE = Path(__file__).resolve().parent
TREE = NATIVE.parent
TOOL_CIRCLE = "pyoci.tools"
WHOLE = {
    "abc": "abc.py",
    "codecs": "codecs.py",
    "encodings": "encodings/__init__.py",
    "encodings.aliases": "encodings/aliases.py",
    "encodings.utf_8": "encodings/utf_8.py",
    "io": "io.py",
}


def compiled(path: Path, shown: str) -> CodeType:
    """Compile a module."""
    code: CodeType = compile(path.read_bytes(), shown, "exec", dont_inherit=True, optimize=2)
    return code


def package() -> dict[str, CodeType]:
    """Give the modules of the runtime circle by their names."""
    found = {}
    for path in sorted((TREE / "pyoci").rglob("*.py")):
        place = path.relative_to(TREE)
        parts = place.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not f"{name}.".startswith(f"{TOOL_CIRCLE}."):
            found[name] = compiled(path, str(place))
    if lost := {name.rpartition(".")[0] for name in found} - {"", *found}:
        raise SystemExit(f"freeze: no __init__.py in {', '.join(sorted(lost))}")
    return found


def library(whole: bool) -> dict[str, CodeType]:
    """Give what stands for modules of the standard library, or those that the full initialisation needs."""
    if not whole:
        return {"_io": compiled(NATIVE / "static" / "_io.py", "_io.py")}
    root = Path(sysconfig.get_path("stdlib"))
    return {name: compiled(root / path, path) for name, path in WHOLE.items()}


def rehearsal() -> dict[str, CodeType]:
    """Give what is imported last, and only when the file is built."""
    return {"_rehearsal": compiled(NATIVE / "static" / "rehearsal.py", "rehearsal.py")}


def array(label: str, code: CodeType) -> tuple[str, int]:
    """Give code as an array, and its size."""
    # A second round, because the first one says which objects this program holds twice.
    data = marshal.dumps(marshal.loads(marshal.dumps(code)))
    rows = (data[at : at + 32] for at in range(0, len(data), 32))
    text = "\n".join("    " + "".join(f"{byte}," for byte in row) for row in rows)
    return f"static const unsigned char {label}[] = {{\n{text}\n}};\n", len(data)


def table(name: str, modules: dict[str, CodeType]) -> str:
    """Give an array for each module, and the table that names them."""
    text, entries = "", ""
    for number, (module, code) in enumerate(modules.items()):
        label = f"{name}_{number}"
        words, size = array(label, code)
        text += words
        entries += f'    {{"{module}", {label}, {size}, false, NULL}},\n'
    return text + f"static const struct _frozen {name}[] = {{\n{entries}    {{NULL, NULL, 0, false, NULL}}\n}};\n"


def main(target: Path, whole: bool) -> None:
    """Write the tables that stand for those of libpython's frozen.o."""
    bootstrap = compiled(NATIVE / "static" / "bootstrap.py", "<frozen importlib._bootstrap>")
    target.write_text(
        "#include <Python.h>\n#include <stdbool.h>\n"
        + table("bootstrap", {"_frozen_importlib": bootstrap})
        + table("modules", package() | library(whole) | rehearsal())
        + table("none", {})
        + "const struct _frozen *_PyImport_FrozenBootstrap = bootstrap, *PyImport_FrozenModules = modules;\n"
        "const struct _frozen *_PyImport_FrozenStdlib = none, *_PyImport_FrozenTest = none;\n"
        "static const char *const aliases[2];\nconst void *_PyImport_FrozenAliases = aliases;\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), "whole" in sys.argv[2:])
