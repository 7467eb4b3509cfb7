"""What pip cannot know from pyproject.toml: native/ has its own build, and the command of a wheel is its static file.

Where that file cannot be made, and in an editable installation, the command is the package's entry point.
"""

import sys
from pathlib import Path

from setuptools import Command, Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path(__file__).resolve().parent / "native"
sys.path[:0] = [str(NATIVE), str(NATIVE / "static")]
import executable  # noqa: E402

import build as native  # noqa: E402


class BuildNative(build_ext):
    """Hand the work over, with the place where setuptools wants the result."""

    def build_extension(self, ext: Extension) -> None:
        """Build the one extension there is."""
        target = Path(self.get_ext_fullpath(ext.name)).absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        native.build(target)


class BuildStatic(Command):
    """Make the static file where setuptools would copy scripts and correct their first lines."""

    user_options = [("build-dir=", "d", "where the scripts go")]  # noqa: RUF012

    def initialize_options(self) -> None:
        """Know nothing yet."""
        self.build_dir: str | None = None

    def finalize_options(self) -> None:
        """Ask the command that calls this one."""
        self.set_undefined_options("build", ("build_scripts", "build_dir"))

    def run(self) -> None:
        """Build it."""
        self.mkpath(str(self.build_dir))
        executable.build(Path(str(self.build_dir)).absolute() / "pyoci")

    def get_source_files(self) -> list[str]:
        """Name none: MANIFEST.in does."""
        return []


def has_static_file() -> bool:
    """Tell whether the command is the static file.

    Raises:
        SystemExit: it would be, but what it is made of cannot be had.
    """
    if "editable_wheel" in sys.argv:
        return False
    try:
        executable.needs()
    except executable.NotFetched as reason:
        raise SystemExit(f"setup: the static file cannot be made: {reason}") from None
    except executable.NotHere as reason:
        print(f"setup: no static file: {reason}", file=sys.stderr)
        return False
    return True


STATIC = has_static_file()
setup(
    ext_modules=[Extension("pyoci._native", sources=[], py_limited_api=True)],
    scripts=["build/pyoci"] if STATIC else [],
    entry_points={} if STATIC else {"console_scripts": ["pyoci = pyoci.__main__:entry"]},
    cmdclass={"build_ext": BuildNative} | ({"build_scripts": BuildStatic} if STATIC else {}),
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
