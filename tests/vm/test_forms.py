"""The runtime tier once more, with pyoci as a package: an ordinary interpreter runs the same modules from the tree."""

import shlex

import pytest

from tests.helpers_runtime import default_command, package_command
from tests.vm import tier

DEADLINE = 1200


def test_runtime_tier(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    if request.config.getoption("--oci-runtime") or default_command() == package_command():
        pytest.skip("the package is not another form of the runtime under test")
    variables = {"OCI_RUNTIME": shlex.join(package_command()), "PYOCI_TEST_PLACE": "package"}
    tier.run_here(tier.command(*tier.RUNTIME), variables, capsys, "package", DEADLINE)
