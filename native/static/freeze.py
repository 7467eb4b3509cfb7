"""Freeze the modules of the static file: ``python -X no_debug_ranges native/static/freeze.py TARGET.c``.

Every module of the package but the tool circle, and the modules of the standard library listed here, are compiled and
written as arrays of C.  All of them are imported when the file is built, see snapshot.c, so an import
costs nothing at run time.

Docstrings and assertions are left out, as by -OO, and so are the columns that a traceback could show.  File names are
relative: a traceback shows them, and they must not be those of the build machine.
"""

import marshal
import sys
import sysconfig
from pathlib import Path
from types import CodeType

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
TOOL_CIRCLE = "pyoci.tools"
# What the runtime circle may import of the standard library, besides modules in C that main.c lists.  A module belongs
# here if importing it asks the host for nothing, and if it works when its recording goes on in another process.
LIBRARY = (
    "abc",
    "bisect",
    "collections",
    "collections.abc",
    "contextlib",
    "copy",
    "dataclasses",
    "difflib",
    "enum",
    "functools",
    "io",
    "keyword",
    "operator",
    "os",
    "os.path",
    "re",
    "reprlib",
    "signal",
    "stat",
    "struct",
    "types",
    "typing",
    "warnings",
    "weakref",
)
# What those, and the initialisation of CPython, import in turn.
SUPPORT = (
    "_collections_abc",
    "_weakrefset",
    "codecs",
    "copyreg",
    "encodings",
    "encodings.aliases",
    "encodings.utf_8",
    "genericpath",
    "heapq",
    "posixpath",
    "re._casefix",
    "re._compiler",
    "re._constants",
    "re._parser",
)
# Other modules make these: os, and collections since 3.13.
ALIASES = {"os.path", "collections.abc"} if sys.version_info >= (3, 13) else {"os.path"}

Modules = dict[str, tuple[CodeType, bool]]  # by their names; the code, and whether it is a package


def compiled(path: Path, shown: str) -> CodeType:
    """Compile a module."""
    code: CodeType = compile(path.read_bytes(), shown, "exec", dont_inherit=True, optimize=2)
    return code


def package() -> Modules:
    """Return the modules of the runtime circle."""
    found = {}
    for path in sorted((TREE / "pyoci").rglob("*.py")):
        place = path.relative_to(TREE)
        parts = place.with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        if not f"{name}.".startswith(f"{TOOL_CIRCLE}."):
            found[name] = compiled(path, str(place)), is_package
    if lost := {name.rpartition(".")[0] for name in found} - {"", *found}:
        raise SystemExit(f"freeze: no __init__.py in {', '.join(sorted(lost))}")
    return found


def library() -> Modules:
    """Return the modules of the standard library, and inside/inspect.py, which stands for one of them."""
    root = Path(sysconfig.get_path("stdlib"))
    found = {"inspect": (compiled(HERE / "inside" / "inspect.py", "inspect.py"), False)}
    for name in sorted({*LIBRARY, *SUPPORT} - ALIASES):
        path = Path(*name.split("."))
        is_package = (root / path).is_dir()
        path = path / "__init__.py" if is_package else path.with_suffix(".py")
        found[name] = compiled(root / path, str(path)), is_package
    return found


def rehearsal() -> Modules:
    """Return what is imported last, and only when the file is built."""
    return {"_rehearsal": (compiled(HERE / "inside" / "rehearsal.py", "rehearsal.py"), False)}


def array(label: str, code: CodeType) -> tuple[str, int]:
    """Return code as an array, and its size."""
    # A second round, because the first one says which objects this program holds twice.
    data = marshal.dumps(marshal.loads(marshal.dumps(code)))
    rows = (data[at : at + 32] for at in range(0, len(data), 32))
    text = "\n".join("    " + "".join(f"{byte}," for byte in row) for row in rows)
    return f"FROZEN static const unsigned char {label}[] = {{\n{text}\n}};\n", len(data)


def table(name: str, modules: Modules) -> str:
    """Return an array for each module, and the table that names them."""
    text, entries = "", ""
    for number, (module, (code, is_package)) in enumerate(modules.items()):
        label = f"{name}_{number}"
        words, size = array(label, code)
        text += words
        entries += f'    {{"{module}", {label}, {size}, .is_package = {int(is_package)}}},\n'
    return text + f"const struct _frozen frozen_{name}[] = {{\n{entries}    {{.name = NULL}}\n}};\n"


def main(target: Path) -> None:
    """Write the tables that cpython.h declares."""
    bootstrap = compiled(HERE / "inside" / "bootstrap.py", "<frozen importlib._bootstrap>")
    target.write_text(
        '#include "static/cpython.h"\n#define FROZEN __attribute__((section(".frozen")))\n'
        + table("bootstrap", {"_frozen_importlib": (bootstrap, False)})
        + table("modules", library() | package() | rehearsal())
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
