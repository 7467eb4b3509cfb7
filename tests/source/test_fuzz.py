"""The decoders of untrusted bytes, with the compiler's sanitizers: a while of the fuzzers in native/fuzz."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.source.tree import TREE

FUZZ = TREE / "native" / "fuzz"
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DFUZZ_MAIN"]
ROUNDS = "200000"

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")


def fuzzer(place: Path, name: str, *sources: str) -> Path:
    """Compile one of the fuzzers with its own main."""
    target = place / name
    parts = [str(FUZZ / f"{name}.c"), *(str(TREE / "native" / source) for source in sources)]
    subprocess.run(["gcc", "-std=gnu11", *SANITIZERS, "-o", target, *parts], check=True, timeout=120)
    return target


def test_the_json_reader_survives_changed_documents(tmp_path: Path) -> None:
    documents = [*sorted((TREE / "spec").glob("*.json")), *sorted((TREE / "bundles").glob("*/config.json"))]
    program = fuzzer(tmp_path, "fuzz_json", "ext/json.c", "ext/json_text.c")
    done = subprocess.run([program, "--mutate", "1500", *documents], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def test_the_stage_survives_plans_made_by_chance(tmp_path: Path) -> None:
    program = fuzzer(tmp_path, "fuzz_plan", "stage/check.c", "stage/shapes.c")
    done = subprocess.run([program, ROUNDS], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    plans, accepted, never = (int(word) for word in done.stdout.split() if word.isdigit())
    assert plans == int(ROUNDS) and accepted > plans // 1000 and never == 0, done.stdout
