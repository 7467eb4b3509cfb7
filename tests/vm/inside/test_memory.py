"""A container starts in very little memory: what enters its cgroup is small."""

import pytest

from tests.helpers_bundle import Bundle
from tests.helpers_runtime import Runtime

MEBIBYTE = 1 << 20


@pytest.mark.requires("memory")
def test_two_mebibytes_are_enough_to_start(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"memory": {"limit": 2 * MEBIBYTE, "swap": 2 * MEBIBYTE}}
    runtime.run(bundle.args("true")).ok()


@pytest.mark.requires("pids")
def test_one_process_is_enough_to_start(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"] = {"pids": {"limit": 1}}
    runtime.run(bundle.args("true")).ok()
