"""The runtime tier in User-Mode Linux: all capabilities, pure cgroup v2 or v1 with controllers, and AppArmor.

A virtual machine has one CPU, so that two of them run at once.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.vm import boot, tier

AT_ONCE, PARTS = 2, 4
HERE = Path(__file__)
FILES = sorted(str(file.relative_to(boot.TREE)) for place in tier.RUNTIME for file in (boot.TREE / place).glob("test_*.py"))
V1 = ("cgroups", "cgroup_entry", "lifecycle", "update", "killed", "faults", "pure_v1")


class Run(NamedTuple):
    """One virtual machine, and what runs in it."""

    tests: list[str]
    deadline: float
    cgroups: str = "v2"
    lsm: str | None = None


RUNS = {
    **{f"{part + 1} of {PARTS}": Run(FILES[part::PARTS], 1800) for part in range(PARTS)},
    "v1": Run([f"tests/runtime/test_{name}.py" for name in V1] + ["tests/security/test_default_devices.py"], 1200, cgroups="v1"),
    "cgroup files": Run(["tests/stage/test_cgroups_kernel.py", "tests/stage/test_cgroup_limits_kernel.py"], 600),
    "apparmor": Run(["tests/vm/inside", "tests/runtime/test_own_files.py"], 600, lsm="apparmor"),
}


def start(config: pytest.Config, run: Run) -> boot.Outcome:
    """Boot a virtual machine and wait for its end."""
    environment = tier.environment(config, place(run))
    return boot.boot(
        tier.command(*run.tests), env=environment, lsm=run.lsm, cgroups=run.cgroups, deadline=run.deadline
    )


def place(run: Run) -> str:
    """Return the name of the place, as skips-allowed.txt has it."""
    return "uml" if run.cgroups == "v2" else f"uml-{run.cgroups}"


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[str, "Future[boot.Outcome]"]]:
    """Start those that are wanted, as many at once as there are CPUs for."""
    names = [item.callspec.params["name"] for item in request.session.items if item.path == HERE and hasattr(item, "callspec")]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {name: pool.submit(start, request.config, RUNS[name]) for name in names}
    pool.shutdown(cancel_futures=True)


def test_status_and_output_come_back() -> None:
    try:
        outcome = boot.boot(["sh", "-c", "cat /proc/self/cgroup; exit 37"], deadline=60)
    except boot.Unavailable as error:
        pytest.skip(str(error))
    assert (outcome.status, outcome.output) == (37, "0::/init\n"), outcome.console


@pytest.mark.parametrize("name", RUNS)
def test_tier(name: str, outcomes: dict[str, "Future[boot.Outcome]"], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        outcome = outcomes[name].result()
    except boot.Unavailable as error:
        pytest.skip(str(error))
    output = outcome.output
    if outcome.status is None:
        output += f"\nthe virtual machine ended before the tests; its console:\n{outcome.console}"
    tier.judge(outcome.status, output, capsys, f"{place(RUNS[name])} {name}")
