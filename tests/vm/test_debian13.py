"""The static file with CPython 3.13: it is built on Debian 13, and drives a part of the runtime tier here."""

import os
import shutil
import subprocess

import pytest

from tests.vm import debian13, tier

# The file differs by its Python only: what that could change is in these.
TESTS = ("lifecycle", "exec", "signals", "output", "debug", "cgroups", "hooks")
DEADLINE = 1200


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for debootstrap")
@pytest.mark.skipif(not shutil.which("debootstrap"), reason="requires debootstrap: not installed")
def test_runtime_tier(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    if request.config.getoption("--oci-runtime"):
        pytest.skip("the file is built from this tree")
    pyoci = debian13.TREE / "build" / "pyoci-debian13"
    debian13.build(pyoci)
    shown = subprocess.run([pyoci, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "\nform: static\n" in shown
    assert "\npython: 3.13." in shown
    tests = [f"tests/runtime/test_{name}.py" for name in TESTS]
    variables = {"OCI_RUNTIME": str(pyoci), "PYOCI_TEST_PLACE": "host"}
    tier.run_here(tier.command(*tests), variables, capsys, "debian13", DEADLINE)
