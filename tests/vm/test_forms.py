"""The runtime tier once more, with pyoci as a package: an ordinary interpreter runs the same modules from the tree."""

import os
import shlex
import subprocess

import pytest

from tests.helpers_runtime import default_command, package_command
from tests.vm import tier

DEADLINE = 1200


def test_runtime_tier(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    if request.config.getoption("--oci-runtime") or default_command() == package_command():
        pytest.skip("the package is not another form of the runtime under test")
    env = {**os.environ, "OCI_RUNTIME": shlex.join(package_command()), "PYOCI_TEST_PLACE": "package"}
    done = subprocess.run(
        tier.command("tests/runtime"),
        cwd=tier.TREE,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    tier.judge(done.returncode, done.stdout, capsys, "package")
