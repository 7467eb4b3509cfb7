"""Imports point down, and the runtime circle needs only modules that the static file has."""

import runpy
import subprocess
import sys
from pathlib import Path

import _cffi_backend

from pyoci import __main__, cli
from tests.source.tree import MODULES, TREE, imports

# Top to bottom, as docs/architecture.md draws it.  A name stands for itself and all below it.
LAYERS = (
    ("pyoci.__main__",),
    ("pyoci.commands", "pyoci.tools"),
    ("pyoci.cli", "pyoci.container"),
    ("pyoci.lifecycle",),
    ("pyoci.plan",),
    ("pyoci.stage",),
    ("pyoci.steps",),
    ("pyoci.operations",),
    ("pyoci.cgroups",),
    ("pyoci.options", "pyoci.kernel"),
    ("pyoci.config",),
    ("pyoci.programs",),
    ("pyoci.signals", "pyoci.process"),
    ("pyoci.native",),
    ("pyoci.files", "pyoci.log", "pyoci.undo"),
    ("pyoci.codec",),
    ("pyoci.errors",),
    ("pyoci.members", "pyoci.linux"),
    ("pyoci",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# The boundary to C has two doors: calls, and the JSON reader, which must not drag the other in.
IMPORT_THE_EXTENSION = {"pyoci.native", "pyoci.codec"}
FREEZE = runpy.run_path(str(TREE / "native" / "static" / "freeze.py"))
# The package whose verbs may use the whole standard library; everything else belongs to the runtime circle.
TOOL_CIRCLE: str = FREEZE["TOOL_CIRCLE"]
HAND_OVER = "pyoci.commands.validate"
# What the runtime circle may import: modules of the standard library that are frozen, and some that are in C.
IN_C = {"_struct", "errno", "fcntl", "gc", "itertools", "marshal", "select", "sys", "time"}
LIBRARY = IN_C | set(FREEZE["LIBRARY"])


def layer(module: str) -> int:
    """Return the rank of a module: that of the longest name in LAYERS that it lies in."""
    names = [name for name in RANK if module == name or module.startswith(name + ".") and name != "pyoci"]
    assert names, f"{module} is in no layer: add it to LAYERS and to docs/architecture.md"
    return RANK[max(names, key=len)]


def own_imports(module: str, types: bool = False) -> set[str]:
    """Return the modules of pyoci that one of them imports."""
    return {
        name for name in imports(MODULES[module], types) if name.split(".")[0] == "pyoci" and name in MODULES
    }


def test_imports_point_down() -> None:
    upward = {
        module: found
        for module in MODULES
        if (found := {name for name in own_imports(module, types=True) if layer(name) < layer(module)})
    }
    assert not upward


def test_no_part_of_a_package_is_in_another_layer() -> None:
    assert not {name: above for name in RANK if (above := name.rpartition(".")[0]) in RANK and above != "pyoci"}


def test_verbs_do_not_import_each_other() -> None:
    verbs = {name for name in MODULES if name.startswith("pyoci.commands.")} - {"pyoci.commands.common"}
    mixed = {name: others for name in verbs if (others := own_imports(name, types=True) & verbs)}
    assert not mixed


def test_only_the_hand_over_knows_the_tool_circle() -> None:
    tools = {name for name in MODULES if name.startswith(TOOL_CIRCLE)}
    assert {name for name in set(MODULES) - tools if own_imports(name, types=True) & tools} == {HAND_OVER}
    verbs = {verb for verb in cli.VERBS if __main__.RUN[verb].__module__ == HAND_OVER}
    assert own_imports(HAND_OVER) & tools == {f"{TOOL_CIRCLE}.{verb}" for verb in verbs}


def test_no_module_imports_itself_in_a_circle() -> None:
    finished: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in finished:
            for name in sorted(own_imports(module) - {module}):
                visit(name, (*trail, module))
            finished.add(module)

    for module in MODULES:
        visit(module, ())


def test_two_modules_talk_to_the_extension() -> None:
    assert {
        name for name, path in MODULES.items() if "pyoci._native" in imports(path)
    } <= IMPORT_THE_EXTENSION


def test_runtime_circle_imports_what_the_static_file_has() -> None:
    foreign = {
        module: found
        for module, path in MODULES.items()
        if not module.startswith(TOOL_CIRCLE)
        and (found := {name for name in imports(path) if name.split(".")[0] != "pyoci"} - LIBRARY)
    }
    assert not foreign


def test_each_module_of_the_package_form_can_be_imported_alone() -> None:
    """In an interpreter without site packages, as the launcher starts it; in the static file all are there at once."""
    code = "import sys; sys.path[:0] = sys.argv[1:3]\nfor name in sys.argv[3:]:\n    __import__(name)\n    "
    code += "for other in [other for other in sys.modules if other.startswith('pyoci')]:\n        del sys.modules[other]"
    backend = str(Path(_cffi_backend.__file__).parent)
    shown = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(TREE), backend, *sorted(set(MODULES) - {"pyoci.__main__"})],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
