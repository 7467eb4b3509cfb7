"""The static file: what is in it and what is not, and that nothing around it can reach the Python inside."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import cffi
import pytest

from pyoci import cli
from tests.bench.process import Output, peak_kib
from tests.source.test_layers import IN_C
from tests.source.tree import TREE

PYOCI = TREE / "build" / "pyoci"
WORK = TREE / "build" / "native" / "static"
HELLO = TREE / "bundles" / "hello"
TRIALS = Path(__file__).parent / "trials.py"
MIB = 1024 * 1024

# What the frozen modules import in turn.
MODULES = IN_C | {"_cffi_backend", "_imp", "_warnings", "builtins", "pyoci._native"}
MODULES |= {"_abc", "_codecs", "_collections", "_functools", "_io", "_operator", "_signal", "_sre", "_stat", "_thread"}
MODULES |= {"_weakref", "posix"}

# Names that must not come back: code from files, name services, threads, consoles.
ABSENT = re.compile(
    r"_*(dlopen|dlsym|dlmopen|libc_dlopen.*|dl_open|getpw.*|getgr(nam|gid|ent).*|nss_.*|getaddrinfo|gethostby.*"
    r"|start_thread|pthread_create_.*|readline|XML_.*|deflate|inflate|PyInit__socket|_Py_get_.*_toplevel)"
)

def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command and take what it says."""
    options = {"stdin": subprocess.DEVNULL, "errors": "surrogateescape"} | options
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def tool(*command: str | Path) -> str:
    """Return what a tool of binutils prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Demand the static file; where it cannot be built there is a link to the launcher."""
    if PYOCI.is_symlink():
        pytest.skip("requires libpython3.x.a: the build could not make the static file")
    assert PYOCI.exists(), "run make"


def test_needs_no_other_file() -> None:
    headers = tool("readelf", "-lW", PYOCI)
    assert "INTERP" not in headers and "DYNAMIC" not in headers and " RWE " not in headers
    assert "not a dynamic executable" in run("ldd", PYOCI, env={"PATH": os.environ["PATH"]}).stderr


def test_is_small() -> None:
    assert PYOCI.stat().st_size <= 16 * MIB
    assert " .symtab " not in tool("readelf", "-SW", PYOCI)


def test_what_is_left_out() -> None:
    names = {line.split()[-1] for line in tool("nm", WORK / "pyoci").splitlines()}
    assert len(names) > 5000
    assert not {name for name in names if ABSENT.fullmatch(name)}


def test_what_is_built_in() -> None:
    table = (TREE / "native" / "static" / "modules.h").read_text()
    assert set(re.findall(r'^MODULE\("([\w.]+)", ', table, re.MULTILINE)) == MODULES - {"builtins", "sys"}


def test_the_version_names_what_it_is_made_of() -> None:
    lines = run(PYOCI, "--version").stdout.splitlines()
    assert re.fullmatch(r"pyoci version \S+", lines[0])
    assert [line for line in lines if "version" in line] == lines[:1], "Docker reads the line with this word"
    parts = dict(line.split(": ") for line in lines if ": " in line)
    assert re.fullmatch(r"unknown|[0-9a-f]{40}(-dirty)?", parts["commit"])
    assert re.fullmatch(r"[0-9.]+", parts["spec"])
    assert parts["form"] == "static"
    assert parts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(r"\d+\.\d+\.\d+", parts["libseccomp"])


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    """Return a directory with pyoci in bin, and around it all that a CPython could look for."""
    directory = tmp_path / "hostile"
    (directory / "bin").mkdir(parents=True)
    shutil.copy(PYOCI, directory / "bin" / "pyoci")
    mark = tmp_path / "mark"
    code = f"import posix; posix.mkdir({str(mark)!r})\n"
    for place in ("", "bin", "lib/python3.11", "lib/pyoci"):
        for name in ("pyoci", "encodings", "site", "sitecustomize", "os", "codecs", "_cffi_backend", "io"):
            (directory / place / name).mkdir(parents=True, exist_ok=True) if name != "pyoci" or place != "bin" else None
            if (directory / place / name).is_dir():
                (directory / place / name / "__init__.py").write_text(code)
        for name in ("pyvenv.cfg", "pybuilddir.txt", "pyoci._pth", "x.pth"):
            (directory / place / name).write_text(f"home = {directory}\n{code}")
    yield directory
    assert not mark.exists(), "a foreign module was run"


def test_environment_and_planted_files_have_no_effect(hostile: Path, tmp_path: Path) -> None:
    wanted = run(PYOCI, "--version", env={}).stdout
    environment = {
        name: str(hostile)
        for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "GCONV_PATH", "LOCPATH", "LD_LIBRARY_PATH", "TZDIR")
    }
    environment |= {
        "LC_ALL": "de_DE.ISO-8859-1",
        "LD_PRELOAD": "/nonexistent.so",
        "PYTHONDUMPREFS": "1",
        "PYTHONINSPECT": "1",
        "PYTHONMALLOC": "debug",
        "PYTHONSTARTUP": str(hostile / "site" / "__init__.py"),
        "PYTHONTRACEMALLOC": "5",
        "PYTHONVERBOSE": "1",
        "TZ": ":/nonexistent",
    }
    trace = tmp_path / "trace"
    strace = ["strace", "-o", str(trace), "-e", "trace=%file"]
    strace += [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
    shown = run(*strace, hostile / "bin" / "pyoci", "--version", cwd=hostile)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, wanted, "")
    calls = [line for line in trace.read_text().splitlines() if not line.startswith(("execve", "+++"))]
    assert [call for call in calls if '"/proc/self/exe"' not in call] == []  # which glibc asks for


CALLS = {
    "help": ("--help",),
    "list": ("list",),
    "state": ("state", "nobody"),
    "kill": ("kill", "nobody"),
    "delete": ("delete", "nobody"),
    "start": ("start", "nobody"),
    "exec": ("exec", "nobody", "true"),
    "plan": ("plan", "--bundle", str(HELLO)),
    "bad": ("--log", "LOG", "--debug", "create", "--bundle", "/proc", "nobody"),
}


@pytest.mark.parametrize("call", CALLS)
def test_which_files_a_verb_opens(call: str, tmp_path: Path) -> None:
    """Those of containers and of the kernel: nothing of Python's, no library, no locale, no time zone, no NSS."""
    trace = tmp_path / "trace"
    words = [str(tmp_path / "log") if word == "LOG" else word for word in CALLS[call]]
    strace = ("strace", "-o", trace, "-e", "trace=%file")
    run(*strace, PYOCI, "--root", tmp_path / "root", *words)
    paths = re.findall(r'^(?!execve)\w+\([^"]*"([^"]*)"', trace.read_text(), re.MULTILINE)
    allowed = ("/proc/", "/sys/fs/cgroup", str(tmp_path), str(HELLO))
    assert [path for path in paths if path.startswith("/") and not path.startswith(allowed)] == []
    assert [path for path in paths if re.search(r"\.(py|pyc|so|pth|cfg)\b", path)] == []


# The life of a container, in a root that has the file, a proc and a null device.
ROOT = """\
mount --make-rprivate / && mount --bind "$1" "$1" && mount -t proc proc "$1/proc" &&
mount --bind /dev/null "$1/dev/null" && cd "$1" && exec chroot . /pyoci --root /r --cgroup-manager disabled $2
"""
LIFE = (
    "completion bash",
    "features",
    "validate --bundle /b",
    "plan --bundle /b",
    "create --bundle /b c",
    "state c",
    "start c",
    "exec c /bin/true",
    "ps --format json c",
    "pause c",
    "resume c",
    "update --memory 1G c",
    "list",
    "kill c KILL",
    "delete --force c",
    "run --bundle /b --detach d",
    "delete --force d",
    "spec --bundle /r",
)
NEED_CGROUPS = {"pause c", "resume c", "update --memory 1G c"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chroot(2)")
def test_each_verb_in_an_empty_root(tmp_path: Path) -> None:
    """Whatever a verb imports at run time is in the file."""
    assert {words.split()[0] for words in LIFE} == set(cli.VERBS)
    for name in ("b", "dev", "proc"):
        (tmp_path / name).mkdir()
    (tmp_path / "dev" / "null").touch()
    subprocess.run([TREE / "bundles" / "rootfs", tmp_path / "b" / "rootfs"], check=True, timeout=60)
    shutil.copy(PYOCI, tmp_path / "pyoci")
    subprocess.run([PYOCI, "spec", "--bundle", tmp_path / "b"], check=True, timeout=60)
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    config["process"] |= {"args": ["/bin/sleep", "1000"], "terminal": False}
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    shown = {}
    for words in LIFE:
        with (tmp_path / "output").open("w+") as output:  # no pipe: a container keeps it
            command = ["unshare", "--mount", "sh", "-c", ROOT, "sh", str(tmp_path), words]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60, check=False)
            output.seek(0)
            shown[words] = output.read()
    assert {words for words, text in shown.items() if text.startswith("pyoci: ")} == NEED_CGROUPS
    assert {words: text for words, text in shown.items() if "internal error" in text} == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chroot(2)")
@pytest.mark.parametrize("closed", ["", "<&- >&- 2>&-"])
def test_works_in_an_empty_root(tmp_path: Path, closed: str) -> None:
    """No /proc, no /dev/null; a closed standard output cannot take the version, and that is an error."""
    shutil.copy(PYOCI, tmp_path / "pyoci")
    shown = run("sh", "-c", f'exec "$@" {closed}', "sh", "chroot", tmp_path, "/pyoci", "--version")
    assert shown.returncode == (1 if closed else 0)
    assert shown.stdout.startswith("" if closed else "pyoci version ")


def test_closed_descriptors_are_filled() -> None:
    """Else the next file that is opened becomes the standard output, and the text lands in it."""
    shown = run("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", PYOCI, "--version")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_a_deleted_directory_is_an_error_only_when_it_is_asked_for(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    assert run("sh", "-c", script, "sh", gone, PYOCI, "--version").returncode == 0
    gone.mkdir()
    shown = run("sh", "-c", script, "sh", gone, PYOCI, "create", "x")
    assert shown.returncode == 1
    assert shown.stderr == "pyoci: finding the current directory: No such file or directory (ENOENT)\n"


@pytest.mark.parametrize("name", ["bündel-日本-😀", os.fsdecode(b"latin-\xe4")])
def test_names_in_any_encoding(tmp_path: Path, name: str) -> None:
    bundle = tmp_path / name
    bundle.mkdir()
    shown = run(PYOCI, "spec", "--bundle", bundle, env={"LC_ALL": "C"})
    assert (shown.returncode, shown.stderr) == (0, "")
    shown = run(PYOCI, "--root", bundle / "root", "state", name)
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
    shown = run(PYOCI, "create", "--bundle", bundle / "nothing", "x")
    assert shown.returncode == 1
    assert name.encode("utf-8", "backslashreplace").decode() in shown.stderr


def test_lack_of_memory_is_one_line(tmp_path: Path) -> None:
    """From the size at which the C library can start up to one at which all is well."""
    loaded = re.findall(r"^ +LOAD +\w+ \w+ \w+ \w+ (\w+)", tool("readelf", "-lW", PYOCI), re.MULTILINE)
    statuses, size = [], sum(int(each, 16) for each in loaded) // 1024
    for kib in range(size + 600, size + 5000, 200):
        script = f'ulimit -v {kib} && exec "$@"'
        shown = run("sh", "-c", script, "sh", PYOCI, "--root", tmp_path, "plan", "--bundle", HELLO)
        statuses.append(shown.returncode)
        if shown.returncode:
            assert (shown.returncode, shown.stdout) == (1, "")
            assert re.fullmatch(r"pyoci: (cannot start: no memory|(plan: )?out of memory)\n", shown.stderr)
    assert statuses[0] == 1
    assert statuses[-1] == 0


def test_peak_of_memory(tmp_path: Path) -> None:
    """``plan`` does in Python all that ``create`` does before it makes processes.

    Most of it are pages of the file that the kernel maps around those that are touched (64 KiB at once); they are shared.
    """
    peak = peak_kib([str(PYOCI), "plan", "--bundle", str(HELLO)], Output(tmp_path / "errors"), tmp_path)
    assert peak <= 14 * 1024


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the sources, and that of cffi, which needs no second download."""
    tree = tmp_path_factory.mktemp("static") / "tree"
    for name in ("native", "pyoci"):
        shutil.copytree(TREE / name, tree / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    name = f"cffi-{cffi.__version__}"
    shutil.copytree(WORK / name, tree / "build" / "native" / "static" / name)
    return tree


def build(tree: Path, **variables: str) -> Path:
    """Build the static file of a copy, with some signals ignored; return its path."""
    commit = re.findall("(?m)^commit: (.*)$", run(PYOCI, "--version").stdout)[0]
    commit = "" if commit == "unknown" else commit
    environment = os.environ | {"PYOCI_COMMIT": commit, "PYTHONHASHSEED": "random"} | variables
    command = ["sh", "-c", 'trap "" HUP USR1; exec "$@"', "sh", sys.executable, tree / "native" / "static" / "executable.py"]
    subprocess.run(command, check=True, timeout=300, cwd="/", env=environment)
    return tree / "build" / "pyoci"


def test_the_same_sources_give_the_same_bytes(copy: Path) -> None:
    assert build(copy).read_bytes() == PYOCI.read_bytes(), "or the tree's build is stale: run make"


def test_nothing_is_built_twice(copy: Path) -> None:
    before = build(copy).stat()
    assert build(copy).stat() == before


@pytest.fixture(scope="module")
def trial(copy: Path) -> Path:
    """Build a pyoci whose help tries things out; of the parts only the frozen modules are compiled again."""
    build(copy)
    (copy / "pyoci" / "commands" / "help.py").write_text(TRIALS.read_text())
    return build(copy)


@pytest.mark.parametrize("name", ["use_modules", "use_library", "make_types", "handle_signals", "use_foreign"])
def test_what_python_can_and_cannot_do(trial: Path, name: str) -> None:
    shown = run(trial, "help", name)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "fine\n", "")


GIVEN = {"HOME": b"/home\xff", "PATH": "", "TERM": "a=b", "OTHER": "x"}


def test_the_environment_is_that_of_the_start(trial: Path) -> None:
    shown = run(trial, "help", "read_environment", env=GIVEN)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "fine\n", "")


def test_memory_of_the_file_goes_with_memory_of_the_heap(trial: Path) -> None:
    """Side by side, as the kernel puts them when it takes no place at random."""
    shown = run("setarch", "--addr-no-randomize", trial, "help", "move_memory")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "fine\n", "")


def test_what_is_recorded_does_not_ask_the_host(tmp_path: Path) -> None:
    """What a module found out at import would be true for the machine that builds only.

    CPython asks whether descriptors 0 to 2 are open; they are not (fstat, fcntl).  _signal looks at the handlers of all
    signals, which have been reset (rt_sigaction; glibc blocks signals meanwhile).  glibc's qsort(3) asked for the size of
    the memory (sysinfo) until 2.36.
    """
    trace = tmp_path / "trace"
    run("strace", "-o", trace, WORK / "pyoci", "--snapshot", errors="replace")
    calls = trace.read_text(errors="replace").splitlines()
    began = next(at for at, call in enumerate(calls) if call.startswith("close(0)")) + 1
    names = {call.partition("(")[0] for call in calls[began:] if not call.startswith("+++")}
    by_version = {"fstat", "newfstatat", "rt_sigprocmask", "sysinfo"}
    assert names - by_version == {"dup2", "fcntl", "gettid", "rt_sigaction", "write", "exit_group"}
    asked = [call for call in calls[began:] if call.startswith(("fcntl", "fstat", "newfstatat"))]
    assert [call for call in asked if not call.endswith("= -1 EBADF (Bad file descriptor)")] == []
    handlers = [call for call in calls[began:] if call.startswith("rt_sigaction")]
    assert [call for call in handlers if "NULL, {sa_handler=SIG_DFL" not in call and "SIGINT" not in call] == []
    assert len(handlers) > 60


def test_nothing_of_the_build_is_in_it() -> None:
    """The recording begins without an environment; and it is the build's: the file has no such option."""
    content = PYOCI.read_bytes()
    assert str(TREE).encode() not in content
    assert os.environ["PATH"].encode() not in content
    shown = run(PYOCI, "--snapshot")
    assert (shown.returncode, shown.stdout) == (1, "")


def test_recursion_is_an_exception(trial: Path) -> None:
    shown = run(trial, "help", "recurse")
    assert (shown.returncode, shown.stderr) == (0, "")


def test_an_interrupt_is_an_exception(trial: Path) -> None:
    shown = run(trial, "help", "interrupt")
    assert (shown.returncode, shown.stderr) == (130, "pyoci: interrupted\n")


def test_a_defect_is_one_line_and_a_trace_in_the_log(trial: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    shown = run(trial, "--debug", "--log", log, "help", "nonsense")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == "pyoci: internal error: KeyError: 'nonsense'\n"
    assert re.search(r"at pyoci/__main__\.py:\d+ > pyoci/commands/help\.py:\d+", log.read_text())


def test_a_crash_is_one_line(trial: Path) -> None:
    shown = run(trial, "help", "crash")
    assert (shown.returncode, shown.stdout) == (1, "")
    line = r"pyoci: internal error: a crash \(signal 11 at 0x([0-9a-f]{16})\); this is a defect, or the executable is damaged\n"
    found = re.fullmatch(line, shown.stderr)
    assert found
    assert 0x400000 < int(found[1], 16) < 0x1000000, "in the code, whose addresses are fixed"


def test_a_file_that_is_cut_off_is_one_line(tmp_path: Path) -> None:
    """Anywhere in the memory that was recorded; with less of the file the kernel ends the process before it can say so."""
    whole = PYOCI.read_bytes()
    memory = re.search(r"LOAD +(0x\w+) 0x0*10000000 \S+ (0x\w+)", tool("readelf", "-lW", PYOCI))
    assert memory
    start, size = (int(word, 16) for word in memory.groups())
    cut = tmp_path / "pyoci"
    for length in (start, start + size // 3, start + size - 4096):
        cut.write_bytes(whole[:length])
        cut.chmod(0o755)
        shown = run(cut, "--version")
        line = "pyoci: the executable is damaged: a part of its file is missing or cannot be read\n"
        assert (shown.returncode, shown.stdout, shown.stderr) == (1, "", line)
    cut.write_bytes(whole[: start + size])
    assert run(cut, "--version").stdout == run(PYOCI, "--version").stdout


def test_a_defect_of_the_edge_is_one_line(trial: Path) -> None:
    shown = run(trial, "help", "collapse")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert re.fullmatch(r"pyoci: internal error: TypeError: .*\n", shown.stderr)


def test_the_same_file_without_the_recording(trial: Path, copy: Path, tmp_path: Path) -> None:
    assert trial.is_relative_to(copy)
    tree = tmp_path / "tree"
    shutil.copytree(copy, tree)
    (tree / "build" / "pyoci").unlink()
    plain = build(tree, SNAPSHOT="0")
    assert plain.stat().st_size < trial.stat().st_size / 1.5
    assert run(plain, "help", "use_modules").stdout == "fine\n"
    assert run(plain, "help", "read_environment", env=GIVEN).stdout == "fine\n"
    assert run(plain, "features").stdout == run(trial, "features").stdout


def test_the_launcher_takes_its_place_where_there_is_no_static_python(copy: Path, tmp_path: Path) -> None:
    """Told by a sysconfig that knows of no archive."""
    tree = tmp_path / "tree"
    shutil.copytree(copy, tree)
    (tree / "build" / "pyoci").unlink(missing_ok=True)
    code = (
        "import runpy, sys, sysconfig; real = sysconfig.get_config_var;"
        "sysconfig.get_config_var = lambda name: None if name == 'LIBRARY' else real(name);"
        f"sys.path.insert(0, {str(tree / 'native')!r});"
        f"runpy.run_path({str(tree / 'native' / 'static' / 'executable.py')!r}, run_name='__main__')"
    )
    assert sysconfig.get_config_var("LIBRARY")
    shown = run(sys.executable, "-c", code)
    assert shown.returncode == 0
    assert re.fullmatch(r"build: no static file: .*; build/pyoci is the launcher\n", shown.stderr)
    assert os.readlink(tree / "build" / "pyoci") == "bin/pyoci"


def test_is_installed(tmp_path: Path) -> None:
    """With the package beside it, for verbs that need the standard library."""
    subprocess.run([sys.executable, "native/install.py", str(tmp_path)], cwd=TREE, check=True, timeout=120)
    assert (tmp_path / "bin" / "pyoci").read_bytes() == PYOCI.read_bytes()
    assert (tmp_path / "lib" / "pyoci" / "pyoci" / "cli.py").exists()
