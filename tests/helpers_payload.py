"""Builds tests/payload, the program that tests put into containers."""

import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "payload"
FLAGS = ["-std=c11", "-O2", "-static", "-Wall", "-Wextra"]


def build_probe(directory: Path) -> Path:
    """Compile the probe into *directory* with musl's compiler where there is one; give the program's path.

    Raises:
        RuntimeError: no compiler makes a static program here.
    """
    target = directory / "probe"
    complaints = []
    for compiler in ("musl-gcc", "cc", "gcc"):
        if shutil.which(compiler) is None:
            continue
        command = [compiler, *FLAGS, "-o", str(target), *map(str, sorted(SOURCES.glob("*.c")))]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode == 0:
            return target
        complaints.append(f"{compiler}: {done.stderr}")
    raise RuntimeError("no static program can be built (packages gcc and musl-tools): " + "\n".join(complaints))
