"""What pip cannot know from pyproject.toml: the extension is compiled by native/build.py."""

import runpy
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildNative(build_ext):
    """Hand the work over, with the place where setuptools wants the result."""

    def build_extension(self, ext: Extension) -> None:
        """Build the one extension there is."""
        build = runpy.run_path(str(Path(__file__).parent / "native" / "build.py"))["build"]
        target = Path(self.get_ext_fullpath(ext.name)).absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        build(target)


setup(
    ext_modules=[Extension("pyoci._native", sources=[], py_limited_api=True)],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
