"""What pyoci does not support yet is refused in one line, and never ignored; the help promises none of it."""

import pytest

pytestmark = pytest.mark.requires("root")


@pytest.mark.parametrize(
    ("member", "value"),
    [("intelRdt", {}), ("intelRdt", {"closID": "x"}), ("netDevices", {"lo": {}}), ("memoryPolicy", {"mode": "MPOL_LOCAL"})],
    ids=str,
)
def test_what_is_not_supported_is_not_ignored(runtime, bundle, member, value):
    bundle.linux[member] = value
    runtime.refuses(bundle, f"/linux/{member}", "not supported")


def test_systemd_is_not_supported(runtime, bundle):
    bundle.linux["cgroupsPath"] = "system.slice:pyoci:x"
    for option in (("--systemd-cgroup",), ("--cgroup-manager", "systemd")):
        for verb in ("create", "run", "plan"):
            said = runtime.call(verb, "--bundle", bundle.write(), bundle.id, options=option)
            said.failed("systemd", "not supported yet", "SystemdCgroup = false")
    assert runtime.entries() == []


def test_the_help_does_not_promise_systemd(runtime):
    lines = [line for line in runtime.call("--help").ok().out.splitlines() if "systemd" in line]
    assert len(lines) == 2 and all("not supported yet" in line for line in lines)
