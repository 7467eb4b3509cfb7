"""Compile the stage and the extension ``pyoci._native``.

    native/stage/*.c --(musl-gcc, static)--> stage ELF --> embed.c: an array in the extension's .rodata
    native/plan.h, operations.h, ext/*.h --cffi--> _native.c: the bindings
    native/ext/*.c, native/stage/*.c without main.c, embed.c, _native.c --(cc, PIC)--> pyoci/_native.abi3.so

The stage's steps are linked into the extension a second time, so that host-side steps and tests can run
them in process.  Only what changed is compiled again, and the same sources give the same bytes: no
paths, times or host names go into the output.

``python native/build.py`` builds into the tree; ``setup.py`` calls build() for pip.
"""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent
TREE = NATIVE.parent
WORK = TREE / "build" / "native"

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
HARDENING = ["-fstack-protector-strong", "-fno-strict-overflow", "-fno-delete-null-pointer-checks"]
COMMON = ["-std=c11", "-g0", f"-ffile-prefix-map={TREE}=.", "-ffunction-sections", "-fdata-sections"]
LINK = ["-Wl,--gc-sections", "-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,--build-id=none", "-s"]
# No relocations at start and nothing to unwind: the stage is born on every create and every exec.
STAGE = ["-Os", "-fno-pie", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
EXTENSION = ["-O2", "-fPIC", "-fvisibility=hidden", "-D_FORTIFY_SOURCE=2", "-DPy_LIMITED_API=0x030b0000"]

# What embed() defines for Python.
CONSTANTS = "extern const char pyoci_version[];\nextern const char pyoci_commit[];\n"


def version() -> str:
    """Read the one place that holds the version, without importing the package."""
    text = (TREE / "pyoci" / "__init__.py").read_text()
    match = re.search(r'^__version__(?:: \w+)? = "([^"]+)"', text, re.MULTILINE)
    if not match:
        raise SystemExit("build: pyoci/__init__.py has no __version__")
    return match[1]


def commit() -> str:
    """Name what is built: $PYOCI_COMMIT, or git's HEAD, with "-dirty" behind it when the sources differ; or ""."""
    if "PYOCI_COMMIT" in os.environ or not (TREE / ".git").exists():
        return os.environ.get("PYOCI_COMMIT", "")
    git = ["git", "-c", f"safe.directory={TREE}", "-C", str(TREE)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        status = [*git, "status", "--porcelain", "--", "pyoci", "native"]
        changes = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.strip() + ("-dirty" if changes else "")


def run(command: list[str]) -> None:
    """Run a tool; what it prints is the message when it fails."""
    environment = os.environ | {"LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise SystemExit("build: failed: " + " ".join(command))


def newer(target: Path, inputs: list[Path]) -> bool:
    """Return whether the target is missing or older than one of its inputs."""
    if not target.exists():
        return True
    made = target.stat().st_mtime_ns
    return any(path.stat().st_mtime_ns > made for path in inputs)


def headers() -> list[Path]:
    """Return every file whose change touches all objects; this one holds the flags."""
    return [Path(__file__), *sorted(NATIVE.rglob("*.h"))]


def write(path: Path, text: str) -> Path:
    """Write a generated file, leaving its time alone when nothing changed."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def compile_objects(
    compiler: list[str], sources: list[Path], directory: Path, flags: Path | None = None
) -> list[Path]:
    """Compile each source that changed, two at a time, and give all objects; *flags* is where the options stand."""
    directory.mkdir(parents=True, exist_ok=True)
    objects = [directory / (source.stem + ".o") for source in sources]
    for leftover in set(directory.glob("*.o")) - set(objects):
        leftover.unlink()
    common = [*headers(), *([flags] if flags else [])]
    stale = [(s, o) for s, o in zip(sources, objects, strict=True) if newer(o, [s, *common])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda pair: run([*compiler, "-c", str(pair[0]), "-o", str(pair[1])]), stale))
    return objects


def with_directories(objects: list[Path]) -> list[Path]:
    """Add the directories, whose times tell that an object was taken away."""
    return [*objects, *{path.parent for path in objects}]


def compiler() -> str:
    """Return the C compiler of the extension: $CC, or cc."""
    return os.environ.get("CC", "cc")


def static_compiler() -> list[str]:
    """Choose musl when it is there: its ELF of 20 KiB starts ten times sooner than glibc's of 760 KiB."""
    if not shutil.which("musl-gcc"):
        return [compiler()]
    command = [compiler(), "-print-multiarch"]
    multiarch = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return ["musl-gcc", "-idirafter", "/usr/include", "-idirafter", f"/usr/include/{multiarch}"]


def build_stage() -> Path:
    """Make the static program that becomes the container."""
    target = WORK / "pyoci-stage"
    command = [*static_compiler(), *COMMON, *WARNINGS, *HARDENING, *STAGE]
    objects = compile_objects(command, sorted((NATIVE / "stage").glob("*.c")), WORK / "stage")
    if newer(target, with_directories(objects)):
        run([*command, "-static", "-no-pie", *LINK, *map(str, objects), "-o", str(target)])
    return target


def embed(stage: Path) -> Path:
    """Write the stage's ELF, the version and the commit as C."""
    data = stage.read_bytes()
    rows = "\n".join(
        "    " + "".join(f"{byte}," for byte in data[at : at + 32]) for at in range(0, len(data), 32)
    )
    return write(
        WORK / "embed.c",
        (
            "#include <stddef.h>\n"
            "extern const unsigned char pyoci_stage_elf[];\nextern const size_t pyoci_stage_size;\n"
            f"{CONSTANTS}"
            f'const char pyoci_version[] = "{version()}";\n'
            f'const char pyoci_commit[] = "{commit()}";\n'
            f"const size_t pyoci_stage_size = {len(data)};\n"
            f"const unsigned char pyoci_stage_elf[] = {{\n{rows}\n}};\n"
        ),
    )


def is_boundary(header: Path) -> bool:
    """Distinguish the headers that Python sees from the private ones, which have include guards."""
    return not re.search("^#", header.read_text(), re.MULTILINE)


def bindings() -> Path:
    """Let cffi write the module from the headers, which are its cdef and C's includes at once."""
    plan = [NATIVE / "plan.h", NATIVE / "operations.h"]
    boundary = [*plan, *sorted(filter(is_boundary, (NATIVE / "ext").glob("*.h")))]
    ffi = FFI()
    ffi.cdef("\n".join(path.read_text() for path in boundary) + "\n" + CONSTANTS)
    includes = [
        "<stddef.h>",
        "<stdint.h>",
        "<sys/types.h>",
        *(f'"{path.relative_to(NATIVE)}"' for path in boundary),
    ]
    ffi.set_source(
        "pyoci._native",
        "".join(f"#include {name}\n" for name in includes) + CONSTANTS,
    )
    fresh = WORK / "_native.new.c"
    WORK.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(None):
        ffi.emit_c_code(str(fresh))
    return write(WORK / "_native.c", fresh.read_text())


def archive(name: str) -> str:
    """Return the path of a static library that the compiler finds, "" if it finds none."""
    command = [compiler(), f"-print-file-name={name}"]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return path if os.path.isabs(path) else ""


def libseccomp() -> list[str]:
    """Prefer the archive: the extension then needs no library that the host might lack."""
    path = archive("libseccomp.a")
    return [path, "-Wl,--exclude-libs,ALL"] if path else ["-lseccomp"]


def build(target: Path) -> None:
    """Make the extension at *target*, whose name ends in .abi3.so."""
    command = [
        compiler(),
        *COMMON,
        *HARDENING,
        *EXTENSION,
        f"-I{NATIVE}",
        f"-I{sysconfig.get_path('include')}",
    ]
    stage = build_stage()
    steps = [path for path in sorted((NATIVE / "stage").glob("*.c")) if path.name != "main.c"]
    ours = [*sorted((NATIVE / "ext").glob("*.c")), embed(stage)]
    objects = [
        *compile_objects([*command, *WARNINGS], ours, WORK / "ext"),
        *compile_objects([*command, *WARNINGS], steps, WORK / "steps"),
        *compile_objects(command, [bindings()], WORK / "bindings"),
    ]
    if newer(target, with_directories(objects)):
        run([*command, "-shared", *LINK, *map(str, objects), *libseccomp(), "-o", str(target)])


if __name__ == "__main__":
    if sys.platform != "linux" or platform.python_implementation() != "CPython":
        raise SystemExit("build: pyoci needs CPython on Linux")
    build(TREE / "pyoci" / "_native.abi3.so")
