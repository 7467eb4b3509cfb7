"""Build the static file on Debian 13, whose Python is 3.13: ``python -m tests.vm.debian13 TARGET``.

The system is a directory in build/, made by debootstrap(8) and kept.  It needs root.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
SYSTEM = TREE / "build" / "debian13"
PLACE = Path("root", "pyoci")
SUITE = "trixie"
# What pip may need to reach what this machine reaches.
SETTINGS = ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf", "etc/resolv.conf", "etc/hosts")
ENTER = 'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && exec chroot "$1" sh -ec "$2"'
BUILD = f"""
cd /{PLACE}
[ -e build/venv/done ] || {{
    python3 -m venv build/venv
    build/venv/bin/python native/extras.py build
    touch build/venv/done
}}
build/venv/bin/python native/build.py
build/venv/bin/python native/static/executable.py
"""


def packages() -> list[str]:
    """Return the Debian packages that the build needs."""
    lines = (TREE / "native" / "deps").read_text().splitlines()
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def make_system() -> None:
    """Install Debian 13 into a directory, if it is not there."""
    if (SYSTEM / "done").exists():
        return
    shutil.rmtree(SYSTEM, ignore_errors=True)
    include = f"--include={','.join(packages())}"
    subprocess.run(["debootstrap", "--variant=minbase", include, SUITE, SYSTEM], check=True, stdout=subprocess.DEVNULL)
    (SYSTEM / "done").touch()


def copy_sources() -> None:
    """Copy what the build reads; what it made before stays there."""
    place = SYSTEM / PLACE
    for name in ("native", "pyoci"):
        shutil.rmtree(place / name, ignore_errors=True)
        shutil.copytree(TREE / name, place / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy2(TREE / "pyproject.toml", place)
    for name in SETTINGS:
        if Path("/", name).is_file():
            shutil.copy(Path("/", name), SYSTEM / name)
    for source in (TREE / "build" / "native" / "static").glob("cffi-*/"):  # is not to be fetched again
        shutil.copytree(source, place / "build" / "native" / "static" / source.name, dirs_exist_ok=True)


def build(target: Path) -> None:
    """Build the file and copy it to *target*."""
    make_system()
    copy_sources()
    shown = subprocess.run([TREE / "build" / "pyoci", "--version"], capture_output=True, text=True, check=True).stdout
    commit = re.findall("(?m)^commit: ([0-9a-f].*)$", shown)
    environment = os.environ | {"PYOCI_COMMIT": "".join(commit)}
    subprocess.run(["unshare", "--mount", "sh", "-c", ENTER, "sh", SYSTEM, BUILD], check=True, env=environment)
    fresh = target.with_name(f".{target.name}.new")
    shutil.copy(SYSTEM / PLACE / "build" / "pyoci", fresh)
    fresh.rename(target)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
