"""The runtime tier in other forms of pyoci.

As a package: an ordinary interpreter runs the same modules from the tree.  And the static file as it is without the
recording of its start (make SNAPSHOT=0).  Both start slowly, so that only a part of the tier runs with them.
"""

import shlex

import pytest

from tests.helpers_runtime import default_command, package_command
from tests.vm import tier

DEADLINE = 1200
# What runs in the recorder if it is not asked to record: the same program, with its symbols.
WITHOUT_RECORDING = tier.TREE / "build" / "native" / "static" / "pyoci"
STARTS = ("lifecycle", "signals", "output")
PACKAGE = ("embedding", "exec", "hooks", "lifecycle", "mounts", "output", "spec")


def files(names: tuple[str, ...]) -> list[str]:
    """Return files of the runtime tier by their names."""
    return [f"tests/runtime/test_{name}.py" for name in names]


def test_runtime_tier(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    if request.config.getoption("--oci-runtime") or default_command() == package_command():
        pytest.skip("the package is not another form of the runtime under test")
    variables = {"OCI_RUNTIME": shlex.join(package_command()), "PYOCI_TEST_PLACE": "package"}
    tier.run_here(tier.command(*files(PACKAGE)), variables, capsys, "package", DEADLINE)


def test_static_file_without_the_recording(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    if request.config.getoption("--oci-runtime") or not WITHOUT_RECORDING.exists():
        pytest.skip("requires libpython3.x.a: the build could not make the static file")
    variables = {"OCI_RUNTIME": str(WITHOUT_RECORDING), "PYOCI_TEST_PLACE": "host"}
    tier.run_here(tier.command(*files(STARTS)), variables, capsys, "without the recording", DEADLINE)
