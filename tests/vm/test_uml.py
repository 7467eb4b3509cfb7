"""The runtime tier in User-Mode Linux: all capabilities, pure cgroup v2 with controllers, and AppArmor."""

import pytest

from tests.vm import boot, tier


def run_inside(
    request: pytest.FixtureRequest,
    capture: pytest.CaptureFixture[str],
    *tests: str,
    lsm: str | None = None,
    cgroups: str = "v2",
    deadline: float,
) -> None:
    """Boot the virtual machine, run tests of this tree in it, and judge them."""
    place = "uml" if cgroups == "v2" else f"uml-{cgroups}"
    try:
        outcome = boot.boot(
            tier.command(*tests),
            env=tier.environment(request.config, place),
            lsm=lsm,
            cgroups=cgroups,
            deadline=deadline,
        )
    except boot.Unavailable as error:
        pytest.skip(str(error))
    output = outcome.output
    if outcome.status is None:
        output += f"\nthe virtual machine ended before the tests; its console:\n{outcome.console}"
    tier.judge(outcome.status, output, capture, f"{place} lsm={lsm}")


def test_status_and_output_come_back() -> None:
    try:
        outcome = boot.boot(["sh", "-c", "cat /proc/self/cgroup; exit 37"], deadline=60)
    except boot.Unavailable as error:
        pytest.skip(str(error))
    assert (outcome.status, outcome.output) == (37, "0::/init\n"), outcome.console


def test_runtime_tier(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    run_inside(request, capsys, *tier.RUNTIME, deadline=2400)


def test_cgroup_files(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    run_inside(request, capsys, "tests/stage/test_cgroups_kernel.py", "tests/stage/test_cgroup_limits_kernel.py", deadline=300)


def test_cgroup_v1(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    tests = [f"tests/runtime/test_{name}.py" for name in ("cgroups", "cgroup_entry", "lifecycle", "update", "killed", "faults")]
    run_inside(request, capsys, *tests, "tests/security/test_default_devices.py", cgroups="v1", deadline=900)


def test_apparmor(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    run_inside(request, capsys, "tests/vm/inside", "tests/runtime/test_own_files.py", lsm="apparmor", deadline=300)
