"""Make an installation that stands alone: ``python native/install.py PREFIX [--destdir DIR] [--launcher]``.

    PREFIX/bin/pyoci            the static file (native/static/executable.py), or the launcher (native/launcher.c)
    PREFIX/libexec/pyoci        beside a static file the launcher, for the verbs that the file lacks
    PREFIX/lib/pyoci/pyoci/     the package, its schemas, its byte code and the extension
    PREFIX/lib/pyoci/_cffi_backend*.so

The launcher is installed where no static file could be built, and by --launcher.  The installation can be
moved as a whole.  Byte code is shipped because the launcher forbids writing it, and is not checked against the
sources, whose times mean nothing after a copy.  A PREFIX of ``build`` is the installation inside the source tree.
"""

import argparse
import os
import py_compile
import shutil
import sys
import sysconfig
from pathlib import Path

import _cffi_backend

from build import COMMON, HARDENING, LINK, NATIVE, STAGE, TREE, WARNINGS, WORK, run, static_compiler

DEVELOPMENT = TREE / "build"
STATIC = DEVELOPMENT / "pyoci"


def launcher(target: Path, development: bool) -> None:
    """Compile the launcher for the interpreter that runs this program's environment."""
    interpreter = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    WORK.mkdir(parents=True, exist_ok=True)
    fresh = WORK / f"launcher.{os.getpid()}"
    defines = [f'-DPYOCI_INTERPRETER="{interpreter}"', f'-DPYOCI_STDLIB="{stdlib}"']
    if development:
        defines.append("-DPYOCI_DEVELOPMENT")
    command = [
        *static_compiler(),
        *COMMON,
        *WARNINGS,
        *HARDENING,
        *STAGE,
        *defines,
        "-static",
        "-no-pie",
        *LINK,
    ]
    run([*command, str(NATIVE / "launcher.c"), "-o", str(fresh)])
    place(fresh, target, 0o755)
    fresh.unlink()


def place(source: Path, target: Path, mode: int) -> None:
    """Copy a file and rename it into place, so that a running pyoci keeps its own."""
    fresh = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, fresh)
    fresh.chmod(mode)
    fresh.rename(target)


def library(target: Path) -> None:
    """Make PREFIX/lib/pyoci anew and put it where the old one was."""
    fresh = target.with_name(f".pyoci.new.{os.getpid()}")
    for source in sorted((TREE / "pyoci").rglob("*")):
        if source.suffix not in (".py", ".json", ".so"):
            continue
        copy = fresh / "pyoci" / source.relative_to(TREE / "pyoci")
        copy.parent.mkdir(parents=True, exist_ok=True)
        place(source, copy, 0o755 if source.suffix == ".so" else 0o644)
    backend = Path(_cffi_backend.__file__)
    place(backend, fresh / backend.name, 0o755)
    for source in sorted(fresh.rglob("*.py")):
        # The name inside the byte code is what a traceback shows; it must not be this machine's.
        py_compile.compile(
            str(source),
            dfile=str(source.relative_to(fresh)),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    old = target.with_name(f".pyoci.old.{os.getpid()}")
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    """Install below DESTDIR/PREFIX."""
    parser = argparse.ArgumentParser(description="install pyoci below PREFIX")
    parser.add_argument("prefix", type=Path)
    parser.add_argument("--destdir", default="")
    parser.add_argument("--launcher", action="store_true", help="the launcher, even if there is a static file")
    options = parser.parse_args()
    prefix = Path(options.destdir + str(options.prefix.absolute()))
    os.umask(0o022)
    for name in ("bin", "lib", "libexec"):
        (prefix / name).mkdir(parents=True, exist_ok=True)
    library(prefix / "lib" / "pyoci")
    static = STATIC.is_file() and not STATIC.is_symlink() and not options.launcher
    command = prefix / "bin" / "pyoci"
    if static:
        place(STATIC, command, 0o755)
    else:
        launcher(command, development=prefix == DEVELOPMENT)
    if static or prefix == DEVELOPMENT:
        launcher(prefix / "libexec" / "pyoci", development=prefix == DEVELOPMENT)


if __name__ == "__main__":
    main()
