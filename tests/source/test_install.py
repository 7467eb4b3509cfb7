"""The build, the installation and its launcher: what root can trust, from anywhere, under any environment."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cffi
import pytest

from tests.source.tree import TREE

# Stands in for the interpreter: writes what it was given into the file that its last argument names.
PROBE = r"""
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv, char **env)
{
    char name[32], target[64] = "";
    FILE *out = fopen(argv[argc - 1], "we");
    for (; *argv; argv++)
        fprintf(out, "arg %s\n", *argv);
    for (; *env; env++)
        fprintf(out, "env %s\n", *env);
    for (int fd = 0; fd <= 2; fd++) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(name, target, sizeof target - 1);
        fprintf(out, "fd %d %.*s\n", fd, length < 0 ? 0 : (int)length, target);
    }
    fprintf(out, "umask %o\n", umask(0));
    return fclose(out);
}
"""


def install(prefix: Path) -> Path:
    """Install the launcher form into a prefix; give the launcher."""
    command = [sys.executable, "native/install.py", str(prefix), "--launcher"]
    subprocess.run(command, cwd=TREE, check=True, timeout=120)
    return prefix / "bin" / "pyoci"


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command and take what it says."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("install") / "prefix")


@pytest.fixture
def own(launcher: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil; it also shows that an installation can be moved."""
    shutil.copytree(launcher.parent.parent, tmp_path / "own")
    return tmp_path / "own" / "bin" / "pyoci"


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    """Return a directory whose Python modules all leave a mark when they run."""
    directory = tmp_path / "hostile"
    mark = tmp_path / "mark"
    for name in (
        "pyoci",
        "encodings",
        "site",
        "sitecustomize",
        "usercustomize",
        "os",
        "codecs",
        "_cffi_backend",
    ):
        (directory / name).mkdir(parents=True)
        (directory / name / "__init__.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    (directory / "x.pth").write_text(f"import sys; open({str(mark)!r}, 'w').close()\n")
    (directory / "pyvenv.cfg").write_text(f"home = {directory}\n")
    yield directory
    assert not mark.exists(), "a foreign module was run"


def test_works_from_anywhere_with_an_empty_environment(launcher: Path) -> None:
    shown = run(launcher, "--version", env={}, cwd="/")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("pyoci version ")


def test_foreign_modules_and_variables_have_no_effect(own: Path, hostile: Path) -> None:
    wanted = run(own, "--version", env={}).stdout
    environment = {
        name: str(hostile) for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "GCONV_PATH", "LOCPATH")
    }
    environment |= {
        "PYTHONSTARTUP": str(hostile / "site" / "__init__.py"),
        "LD_PRELOAD": "/nonexistent.so",
        "LD_LIBRARY_PATH": str(hostile),
        "PYTHONINSPECT": "1",
        "PYTHONVERBOSE": "1",
        "LC_ALL": "nonsense",
    }
    for place in (own.parent, own.parent.parent):
        shutil.copy(hostile / "pyvenv.cfg", place)
    shown = run(own, "--version", env=environment, cwd=hostile)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, wanted, "")


def test_works_through_a_symlink(launcher: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(launcher)
    assert run(tmp_path / "link", "--version", env={}).returncode == 0


@pytest.mark.parametrize("spoiled", ["lib/pyoci", "lib/pyoci/pyoci", "lib/pyoci/pyoci/cli.py", "lib", "."])
@pytest.mark.parametrize("bit", [0o020, 0o002])
def test_refuses_code_that_others_can_write(own: Path, spoiled: str, bit: int) -> None:
    path = own.parent.parent / spoiled
    path.chmod(path.stat().st_mode | bit)
    shown = run(own, "--version")
    assert shown.returncode == 1
    assert shown.stdout == ""
    assert shown.stderr.count("\n") == 1
    assert path.name in shown.stderr
    assert "others can write it" in shown.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
@pytest.mark.parametrize("given", ["lib/pyoci/pyoci/errors.py", "lib/pyoci", "."])
def test_refuses_code_of_another_user(own: Path, given: str) -> None:
    os.chown(own.parent.parent / given, 12345, 0)
    shown = run(own, "--version")
    assert shown.returncode == 1
    assert "belongs to another user" in shown.stderr


def test_refuses_a_symlink_among_the_modules(own: Path, hostile: Path) -> None:
    (own.parent.parent / "lib" / "pyoci" / "site").symlink_to(hostile / "site")
    shown = run(own, "--version")
    assert shown.returncode == 1
    assert "site" in shown.stderr


def test_a_sticky_directory_above_is_fine(own: Path) -> None:
    above = own.parent.parent.parent
    above.chmod(0o1777)
    assert run(own, "--version").returncode == 0


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the launcher for PROBE as its interpreter."""
    directory = tmp_path_factory.mktemp("probed")
    for name in ("bin", "lib", "lib/pyoci"):
        (directory / name).mkdir(mode=0o755)
    (directory / "probe.c").write_text(PROBE)
    subprocess.run(["cc", "-o", directory / "probe", directory / "probe.c"], check=True, timeout=60)
    defines = [f'-DPYOCI_INTERPRETER="{directory}/probe"', f'-DPYOCI_STDLIB="{directory}"']
    launcher = directory / "bin" / "pyoci"
    subprocess.run(["cc", *defines, "-o", launcher, TREE / "native" / "launcher.c"], check=True, timeout=60)
    return launcher


def test_what_reaches_the_interpreter(probed: Path, tmp_path: Path) -> None:
    kept = {
        "XDG_RUNTIME_DIR": "",
        "LISTEN_FDS": "1",
        "PATH": "/p",
        "HOME": "/h",
        "TERM": "t",
        "NOTIFY_SOCKET": "/n",
    }
    dropped = {"PYTHONPATH": "/x", "LD_PRELOAD": "", "_OCI_SYNCPIPE": "3", "PATHS": "/x", "LC_ALL": "de_DE"}
    out = tmp_path / "out"
    shown = run(probed, "create", "", "--x", out, env=kept | dropped, umask=0o137)
    assert shown.returncode == 0, shown.stderr
    lines = out.read_text().splitlines()
    arguments = [line[4:] for line in lines if line.startswith("arg ")]
    prefix = probed.parent.parent
    assert arguments[:7] == [str(prefix / "probe"), "-I", "-S", "-B", "-X", "utf8", "-c"]
    assert arguments[-5:] == [str(prefix / "lib" / "pyoci"), "create", "", "--x", str(out)]
    passed = {line[4:] for line in lines if line.startswith("env ")}
    assert passed == {f"{name}={value}" for name, value in kept.items()} | {"LC_ALL=POSIX"}
    assert lines[-1] == "umask 137"


def test_closed_descriptors_are_filled(probed: Path, tmp_path: Path) -> None:
    """Else the next file that is opened becomes the standard error output, and messages land in it."""
    out = tmp_path / "out"
    assert run("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", probed, out).returncode == 0
    lines = out.read_text().splitlines()
    assert [line for line in lines if line.startswith("fd ")] == [f"fd {fd} /dev/null" for fd in range(3)]


def test_destdir(tmp_path: Path) -> None:
    command = [sys.executable, "native/install.py", "/usr", "--destdir", str(tmp_path)]
    subprocess.run(command, cwd=TREE, check=True, timeout=120)
    assert run(tmp_path / "usr" / "bin" / "pyoci", "--version", env={}).returncode == 0


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("native", "pyoci"):
        shutil.copytree(TREE / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    commit = re.findall("(?m)^commit: (.*)$", run(sys.executable, "-m", "pyoci", "--version", cwd=TREE).stdout)[0]
    environment = os.environ | {"PYOCI_COMMIT": commit}
    command = [sys.executable, tmp_path / "native" / "build.py"]
    subprocess.run(command, check=True, timeout=300, cwd="/", env=environment)
    ours = TREE / "pyoci" / "_native.abi3.so"
    assert (tmp_path / "pyoci" / ours.name).read_bytes() == ours.read_bytes(), (
        "or the tree's build is stale: run make"
    )


def clean_copy(directory: Path) -> Path:
    """Return the tree without what a build leaves in it."""
    ignored = shutil.ignore_patterns("build", ".git", "*.so", "rootfs", "__pycache__", "*.egg-info", ".*_cache")
    return Path(shutil.copytree(TREE, directory / "copy", ignore=ignored, symlinks=True))


def test_pip_builds_a_wheel(tmp_path: Path) -> None:
    copy = clean_copy(tmp_path)
    source = Path("build", "native", "static", f"cffi-{cffi.__version__}")  # is not to be fetched again
    if (TREE / source).exists():
        shutil.copytree(TREE / source, copy / source)
    shown = run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        tmp_path,
        copy,
    )
    assert shown.returncode == 0, shown.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert "-cp311-abi3-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        scripts = [archive.read(name) for name in names if name.endswith(".data/scripts/pyoci")]
        entries = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
        archive.extractall(tmp_path / "unpacked")
    assert "pyoci/_native.abi3.so" in names
    assert not [name for name in names if name.startswith(("tests/", "native/"))]
    if (TREE / "build" / "pyoci").is_symlink():  # there is no static file here
        assert "pyoci = pyoci.__main__:entry" in "".join(entries)
    else:
        assert [script[:4] for script in scripts] == [b"\x7fELF"]
        assert not entries
    tool = [sys.executable, "-m", "pyoci", "validate", "--bundle", TREE / "bundles" / "hello"]
    shown = run(*tool, cwd=tmp_path / "unpacked")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_pip_installs_the_static_file(tmp_path: Path) -> None:
    """Into a fresh environment, by a build that is isolated: what it needs, pyproject.toml names."""
    if (TREE / "build" / "pyoci").is_symlink():
        pytest.skip("requires libpython3.x.a: the build could not make the static file")
    python = tmp_path / "venv" / "bin" / "python"
    interpreter = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    subprocess.run([interpreter, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", clean_copy(tmp_path)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=400, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    pyoci = python.parent / "pyoci"
    assert pyoci.read_bytes()[:4] == b"\x7fELF"
    shown = run(pyoci, "--version", env={}, cwd="/")
    assert shown.returncode == 0 and "\nform: static\n" in shown.stdout
    for words in (["validate", "--bundle", TREE / "bundles" / "hello"], ["completion", "bash"], ["features"]):
        shown = run(pyoci, *words, env={}, cwd="/")
        assert (shown.returncode, shown.stderr) == (0, ""), words
    shown = run(python, "-m", "pyoci", "--version", cwd="/")
    assert shown.returncode == 0 and "\nform: package\n" in shown.stdout


def test_pip_fails_where_the_static_file_could_be_made_but_for_its_sources(tmp_path: Path) -> None:
    """Another form than the one that was asked for must not take its place in silence."""
    if (TREE / "build" / "pyoci").is_symlink():
        pytest.skip("requires libpython3.x.a: the build could not make the static file")
    without_index = os.environ | {"PIP_NO_INDEX": "1"}
    shown = run(sys.executable, "setup.py", "--name", cwd=clean_copy(tmp_path), env=without_index)
    assert shown.returncode != 0 and shown.stdout == ""
    last = shown.stderr.splitlines()[-1]
    assert last.startswith("setup: the static file cannot be made: the source of cffi ") and "fetched" in last
