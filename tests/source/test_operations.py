"""The table of operations against the C that comes from it, and against the kernel's headers; by the compiler."""

import re
import shutil
import struct
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.source.tree import TREE
from tests.stage.encoder import FORMS, HEAD, OPERATIONS, SPEC, STEP, WORDS, number

CONSTANTS: dict[str, dict[str, Any]] = tomllib.loads((SPEC / "constants.toml").read_text())

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")


def require(place: Path, includes: list[str], facts: list[str]) -> None:
    """Compile a file that asserts the facts; the compiler names those that do not hold."""
    lines = [f"#include {name}" for name in ("<stddef.h>", "<stdint.h>", f'"{TREE}/native/plan.h"')]
    lines.append("#undef __GLIBC__")  # linux/stat.h leaves to that library what it defines otherwise
    lines += [f"#include {name}" for name in includes]
    lines += [f'_Static_assert({fact}, "{fact}");' for fact in facts]
    source = place / "facts.c"
    source.write_text("\n".join(lines) + "\n")
    done = subprocess.run(["gcc", "-std=c11", "-fsyntax-only", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def layout() -> list[str]:
    """Say what the table says of every number, flag, size and offset."""
    facts = [f"sizeof(struct plan) == {HEAD.size}", f"sizeof(struct step) == {STEP.size + 8 * WORDS}"]
    for name, operation in OPERATIONS.items():
        facts.append(f"OP_{name.upper()} == {operation.number}")
        facts += [f"{name.upper()}_{flag.upper()} == {operation.flag(flag)}" for flag in operation.flags]
        at = STEP.size
        for operand, kind in operation.operands.items():
            size = struct.calcsize("=" + FORMS[kind][0])
            facts.append(f"offsetof(struct step, {name}.{operand}) == {at}")
            facts.append(f"sizeof(((struct step *)0)->{name}.{operand}) == {size}")
            at += size
    return [*facts, f"OP_COUNT == {len(OPERATIONS)}"]


def test_steps_lie_in_memory_as_the_table_says(tmp_path: Path) -> None:
    require(tmp_path, [f'"{TREE}/native/operations.h"'], layout())


def test_the_extension_has_the_same_layout() -> None:
    native = pytest.importorskip("pyoci._native", reason="the extension is not built")
    for name, operation in OPERATIONS.items():
        assert getattr(native.lib, f"OP_{name.upper()}") == operation.number
        at = STEP.size
        for operand, kind in operation.operands.items():
            assert native.ffi.offsetof("struct step", name, operand) == at, (name, operand)
            at += struct.calcsize("=" + FORMS[kind][0])
    assert native.ffi.sizeof("struct step") == STEP.size + 8 * WORDS


@pytest.mark.parametrize("group", CONSTANTS)
def test_constants_are_those_of_the_headers(group: str, tmp_path: Path) -> None:
    entry = CONSTANTS[group]
    header = re.search(r"linux/\w+\.h", entry["source"])
    assert header or entry.get("own"), "the source names a header of the kernel, or the numbers are pyoci's own"
    include = f"<{header[0]}>" if header else f'"{TREE}/native/operations.h"'
    require(tmp_path, [include], [f"{entry['prefix']}{name} == {value}" for name, value in entry["values"].items()])


def test_a_fact_that_does_not_hold_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="PLAN_VERSION == 0"):
        require(tmp_path, [], ["PLAN_VERSION == 0", f"PLAN_VERSION == {number('PLAN_VERSION')}"])


def test_what_has_no_header_is_the_only_thing_of_our_own() -> None:
    assert [name for name, entry in CONSTANTS.items() if entry.get("own")] == ["barrier"]
