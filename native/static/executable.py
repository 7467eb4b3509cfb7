"""Build ``build/pyoci``: CPython, cffi's backend, the extension and the runtime's modules in one static file.

    pyoci/**/*.py --freeze.py--> frozen.c           cffi's sdist (cffi.txt) --> _cffi_backend.c
    *.c, frozen.c, _cffi_backend.c, and what native/build.py compiles --(cc)--> objects
    objects, libpython3.x.a, libseccomp.a, libffi.a --(cc -static)--> pyoci with symbols, which starts Python
    pyoci --strip--> bare; bare, the memory that pyoci writes --snapshot.py--> build/pyoci

Where it cannot be made (no static libpython, another version of Python than those whose insides this directory
stands for, no source of cffi), the reason is printed and the launcher form takes its place, as a link to the
installation in build/.

``python native/static/executable.py`` builds into the tree.
"""

import os
import platform
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import cffi

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from snapshot import agreed, fill, ranges  # noqa: E402

from build import (  # noqa: E402
    COMMON,
    HARDENING,
    LINK,
    NATIVE,
    TREE,
    WARNINGS,
    WORK,
    archive,
    bindings,
    build_stage,
    compile_objects,
    compiler,
    embed,
    newer,
    run,
    with_directories,
    write,
)

TARGET = TREE / "build" / "pyoci"
PLACE = WORK / "static"
VERSIONS = ((3, 11), (3, 13))
# $SNAPSHOT=0: without the recording, each start is CPython's whole one.
SNAPSHOT = os.environ.get("SNAPSHOT", "1") != "0"
# Fixed addresses: relocating the tables of CPython's types would touch each page of them at every start.
EXECUTABLE = ["-O2", "-fno-pie", "-D_FORTIFY_SOURCE=2"]
ABSENT = [f"-D{name}=absent_{name}" for name in ("dlopen", "dlsym", "dlclose", "dlerror")]
# Functions that main.c, snapshot.c and absent.c have their own for.
WRAPPED = (
    "__register_frame_info",
    "__deregister_frame_info",
    "PyErr_CheckSignals",
    "_Py_FatalErrorFormat",
    "_Py_FatalErrorFunc",
    *("malloc", "calloc", "realloc", "free"),
)
# Sections that are segments of their own: the byte code, of which a recording has no need, and the memory (snapshot.c).
SECTIONS = {".frozen": "0x8000000", ".snapshot": "0x10000000"}
# Modules that modules.h lists and that not every build of CPython has in its library.
BUILT_IN = {"_struct", "fcntl", "select"}
MACHINES = ("aarch64", "x86_64")  # crash.c
BACKEND = ["-DUSE__THREAD", "-DHAVE_SYNC_SYNCHRONIZE", *ABSENT, "-w"]


class NotHere(Exception):
    """The static file cannot be made on this machine; the text says why."""


class NotFetched(NotHere):
    """It could be made, but what it is made of could not be had: a failure to tell, not a property of the machine."""


def needed(name: str) -> str:
    """Return the path of a library's archive."""
    path = archive(name)
    if not path:
        raise NotHere(f"{name} is not installed")
    return path


def libpython() -> str:
    """Return the archive of the interpreter that runs this program."""
    if platform.machine() not in MACHINES:
        raise NotHere(f"{platform.machine()} is not a machine it was written for")
    if sys.version_info[:2] not in VERSIONS:
        raise NotHere(f"Python {sys.version_info.major}.{sys.version_info.minor} is not one it was written for")
    if apart := sorted(BUILT_IN - set(sys.builtin_module_names)):
        raise NotHere(f"this Python has {', '.join(apart)} in files beside it, not in its library")
    path = Path(sysconfig.get_config_var("LIBPL") or "", sysconfig.get_config_var("LIBRARY") or "")
    if path.suffix != ".a" or not path.is_file():
        raise NotHere("Python's libpython3.x.a is not installed (Debian: libpython3-dev)")
    return str(path)


def backend() -> Path:
    """Return the source of cffi's backend, of the version that wrote the bindings; pip checks its hash."""
    pinned = HERE / "cffi.txt"
    if f"cffi=={cffi.__version__} " not in pinned.read_text():
        raise NotFetched(f"native/static/cffi.txt does not list cffi {cffi.__version__}")
    name = f"cffi-{cffi.__version__}"
    source = PLACE / name / "src" / "c" / "_cffi_backend.c"
    if newer(source, [pinned]):
        PLACE.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        pip += ["--no-binary", ":all:", "--require-hashes", "-r", str(pinned), "-d", str(PLACE)]
        if subprocess.run(pip, check=False).returncode:
            raise NotFetched(f"the source of cffi {cffi.__version__} could not be fetched")
        with tarfile.open(PLACE / f"{name}.tar.gz") as sdist:
            sdist.extractall(PLACE, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        source.touch()
    return source


def frozen() -> Path:
    """Write the frozen modules as C, if one of them has changed."""
    target = PLACE / "frozen.c"
    sources = [*(TREE / "pyoci").rglob("*.py"), *HERE.rglob("*.py")]
    if newer(target, [Path(__file__), *sources, *{path.parent for path in sources}]):
        fresh = target.with_suffix(".new")
        # Of a fixed seed: the order of a set's items is part of the code.
        os.environ["PYTHONHASHSEED"] = "0"
        run([sys.executable, "-X", "no_debug_ranges", str(HERE / "freeze.py"), str(fresh)])
        fresh.rename(target)
    return target


def objects(command: list[str], source: Path) -> list[Path]:
    """Compile all parts; our own with warnings."""
    ours = [*command, *WARNINGS]
    steps = [path for path in sorted((NATIVE / "stage").glob("*.c")) if path.name != "main.c"]
    cpython = HERE / f"cpython{sys.version_info.major}{sys.version_info.minor}.c"
    others = set(HERE.glob("cpython*.c")) - {cpython}
    parts = (
        ("main", ours, [path for path in sorted(HERE.glob("*.c")) if path not in others]),
        ("ext", ours, [*sorted((NATIVE / "ext").glob("*.c")), embed(build_stage())]),
        ("steps", ours, steps),
        ("generated", command, [bindings(), frozen()]),
        ("backend", [*command, *BACKEND], [source]),
    )
    here = Path(__file__)
    return [path for name, how, what in parts for path in compile_objects(how, what, PLACE / name, here)]


def without_mimalloc(library: str) -> list[str]:
    """Return the member of libpython that has its allocators, without the start of mimalloc, which nobody uses.

    Since 3.13 that runs before main(): it would ask the host, and find in a recording that it had run already.
    """
    if sys.version_info < (3, 13):
        return []
    target = PLACE / "libpython" / "obmalloc.o"
    if newer(target, [Path(library)]):
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(subprocess.run(["ar", "p", library, target.name], stdout=subprocess.PIPE, check=True).stdout)
        run(["objcopy", "--remove-section=.init_array", str(target)])
    return [str(target)]


def needs() -> tuple[list[str], Path]:
    """Return the archives, and the source of cffi's backend.

    Raises:
        NotHere: this machine lacks something.
    """
    return [libpython(), *(needed(f"lib{name}.a") for name in ("seccomp", "ffi", "m"))], backend()


def build(target: Path) -> None:
    """Make the static file.

    Raises:
        NotHere: this machine lacks something.
    """
    libraries, source = needs()
    PLACE.mkdir(parents=True, exist_ok=True)
    include = sysconfig.get_path("include")
    command = [compiler(), *COMMON, *HARDENING, *EXECUTABLE, f"-I{NATIVE}", "-isystem", include]
    command += ["-isystem", f"{include}/internal"]
    parts = [*map(str, objects(command, source)), *without_mimalloc(libraries[0])]
    whole, link_map = PLACE / "pyoci", PLACE / "map"
    if newer(whole, [*with_directories(list(map(Path, parts))), *map(Path, libraries)]):
        link = [option for option in LINK if option != "-s"]
        link += [f"-Wl,--wrap={name}" for name in WRAPPED]
        link += [f"-Wl,--section-start={name}={place}" for name, place in SECTIONS.items()]
        link += [f"-Wl,-Map={link_map}"]
        run([compiler(), "-static", "-no-pie", *link, *parts, *libraries, "-o", str(whole)])
    form = write(PLACE / "form", f"recorded: {SNAPSHOT}\n")
    if newer(target, [whole, form, HERE / "snapshot.py"]):
        bare = PLACE / "bare"
        run(["strip", "-o", str(bare), str(whole)])
        if SNAPSHOT:
            pieces = agreed(whole, ranges(link_map, {*parts, *libraries}))
            started = PLACE / "pyoci.started"
            started.write_bytes(fill(whole.read_bytes(), pieces, short=False))
            started.chmod(0o755)
            bare.write_bytes(fill(bare.read_bytes(), pieces, short=True))
        os.replace(bare, target)


if __name__ == "__main__":
    try:
        build(TARGET)
    except NotHere as reason:
        print(f"build: no static file: {reason}; build/pyoci is the launcher", file=sys.stderr)
        TARGET.unlink(missing_ok=True)
        TARGET.symlink_to("bin/pyoci")
