"""The tool circle from the static file: in the package that is installed beside it, and what the file does alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source.test_install import run
from tests.source.tree import TREE

PYOCI = TREE / "build" / "pyoci"
WRONG = {"ociVersion": "1.3.0", "root": {"path": "r"}, "hostnam": "x", "hostname": 7}
TOLD = ["/hostnam: is not in the specification", "/hostname: expected a string"]
# Stands in for jsonschema where the launcher's Python finds it.
OPINION = """
class Error:
    message, absolute_path, absolute_schema_path = "seen", ["root"], []
class Draft202012Validator:
    def __init__(self, schema): pass
    def iter_errors(self, value): return [Error]
"""


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Demand the static file; where it cannot be built there is nothing to hand over."""
    if PYOCI.is_symlink():
        pytest.skip("requires libpython3.x.a: the build could not make the static file")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("tools") / "prefix"
    subprocess.run([sys.executable, "native/install.py", str(prefix)], cwd=TREE, check=True, timeout=120)
    return prefix


@pytest.fixture
def own(installed: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil."""
    return Path(shutil.copytree(installed, tmp_path / "own"))


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Return a configuration with errors and warnings."""
    (tmp_path / "config.json").write_text(json.dumps(WRONG))
    return tmp_path / "config.json"


def said(shown: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the pointers and the beginnings of the messages."""
    return [line.split(": ", 1)[1].removeprefix("warning: ").split(",")[0] for line in shown.stdout.splitlines()]


@pytest.mark.parametrize("place", ["bin/pyoci", "pyoci"])
def test_runs_in_the_installed_package(own: Path, wrong: Path, place: str) -> None:
    """The static file has the package beside it, or in its own directory, as in the tree."""
    if place != "bin/pyoci":
        shutil.move(own / "bin" / "pyoci", own / place)
    assert (own / place).read_bytes()[:4] == b"\x7fELF" != (own / "libexec" / "pyoci").read_bytes()
    shown = run(own / place, "--root", "/x y", "validate", "--config", wrong, env={"PYTHONPATH": "/x"}, cwd="/")
    assert (shown.returncode, shown.stderr) == (1, "")
    assert [told.startswith(wanted) for told, wanted in zip(said(shown), TOLD, strict=True)] == [True, True]
    (wrong.parent / "config.json").write_text(json.dumps({"ociVersion": "1.3.0", "root": {"path": "r"}}))
    shown = run(own / place, "validate", cwd=wrong.parent)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_words_are_passed_on_unchanged(own: Path) -> None:
    name = os.fsdecode(b"latin-\xe4 '$x")
    shown = run(own / "bin" / "pyoci", "validate", "--config", name, cwd=own)
    assert shown.returncode == 1
    assert shown.stderr.startswith("pyoci: reading ")
    assert "latin-" in shown.stderr and "'$x: No such file" in shown.stderr


def test_in_the_tree() -> None:
    shown = run(PYOCI, "validate", "--bundle", TREE / "bundles" / "hello")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """Return the file without anything beside it."""
    (tmp_path / "bin").mkdir()
    return Path(shutil.copy(PYOCI, tmp_path / "bin"))


def test_alone_it_validates(alone: Path, wrong: Path) -> None:
    """What create refuses it knows itself; what only the schema knows it does not."""
    shown = run(alone, "validate", "--config", wrong, env={})
    assert (shown.returncode, shown.stderr) == (1, "")
    assert [told.split(":")[0] for told in said(shown)] == ["/hostname"]
    many = {"ociVersion": "1.3.0", "root": {"path": "r"}, "process": {"cwd": "x", "args": ["a"], "user": {"uid": 0}}}
    wrong.write_text(json.dumps(many | {"domainname": None, "hooks": {"prestart": [{"path": "relative"}]}}))
    shown = run(alone, "validate", "--format", "json", "--config", wrong, env={})
    found = json.loads(shown.stdout)
    assert [(each["severity"], each["pointer"]) for each in found] == [
        ("error", "/process/cwd"),
        ("warning", "/process/user/gid"),
        ("warning", "/domainname"),
        ("error", "/hooks/prestart/0/path"),
    ]
    shown = run(alone, "validate", "--bundle", TREE / "bundles" / "hello", env={})
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
    assert run(alone, "validate", "--nonsense").stderr == "pyoci: validate: unknown option --nonsense\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_alone_it_completes(alone: Path, shell: str) -> None:
    shown = run(alone, "completion", shell, env={})
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == run(sys.executable, "-m", "pyoci", "completion", shell, cwd=TREE).stdout


@pytest.mark.parametrize("spoiled", ["libexec", "libexec/pyoci", "lib/pyoci", "lib/pyoci/pyoci/tools/validate.py", "."])
def test_refuses_what_others_can_write(own: Path, spoiled: str) -> None:
    path = own / spoiled
    path.chmod(path.stat().st_mode | 0o002)
    shown = run(own / "bin" / "pyoci", "validate")
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (1, "", 1)
    assert "others can write it; refusing to run" in shown.stderr
    assert path.name in shown.stderr
    assert run(own / "bin" / "pyoci", "--version").returncode == 0, "the file itself needs none of it"


@pytest.mark.parametrize("spoiled", ["libexec", "libexec/pyoci"])
def test_refuses_a_link(own: Path, spoiled: str) -> None:
    (own / spoiled).rename(own / "moved")
    (own / spoiled).symlink_to(own / "moved")
    shown = run(own / "bin" / "pyoci", "validate")
    assert shown.returncode == 1
    assert shown.stderr == f"pyoci: {own / spoiled}: is a symbolic link; refusing to run it\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
@pytest.mark.parametrize("given", ["libexec", "libexec/pyoci", "lib/pyoci/pyoci/tools/config.schema.json"])
def test_refuses_what_belongs_to_another_user(own: Path, given: str) -> None:
    os.chown(own / given, 12345, 0)
    shown = run(own / "bin" / "pyoci", "validate")
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
    assert "belongs to another user" in shown.stderr


def test_a_launcher_without_a_package_says_what_is_missing(own: Path) -> None:
    shutil.rmtree(own / "lib" / "pyoci")
    shown = run(own / "bin" / "pyoci", "validate")
    assert (shown.returncode, shown.stderr) == (1, f"pyoci: {own}/lib/pyoci: No such file or directory\n")


def test_site_packages_are_seen_and_their_hooks_are_not(installed: Path, tmp_path: Path) -> None:
    """As the launcher starts Python, with a host's site packages that a test can fill."""
    packages = tmp_path / "packages"
    (packages / "jsonschema").mkdir(parents=True)
    (packages / "jsonschema" / "__init__.py").write_text(OPINION)
    for name in ("x.pth", "sitecustomize.py", "usercustomize.py"):
        (packages / name).write_text(f"import posix; posix.mkdir({str(tmp_path / 'mark')!r})\n")
    code = (
        f"import sys; sys.path.insert(0, {str(installed / 'lib' / 'pyoci')!r})\n"
        f"import site; site.getsitepackages = lambda: [{str(packages)!r}]\n"
        "from pyoci.tools import jsonschema_check\n"
        "print(list(jsonschema_check.violations({}, {})))\n"
    )
    interpreter = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    shown = run(interpreter, "-I", "-S", "-c", code, cwd=tmp_path)
    assert (shown.stdout, shown.stderr) == ("[('/root', 'does not match the schema: seen')]\n", "")
    packages.chmod(0o777)
    assert run(interpreter, "-I", "-S", "-c", code).stdout == "[]\n"
    assert not (tmp_path / "mark").exists()
