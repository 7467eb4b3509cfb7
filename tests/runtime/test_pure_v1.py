"""Where no cgroup2 is mounted, on any host that has the freezer of version 1: a view of the host without that mount.

A process that the freezer of version 1 holds does not even end by SIGKILL until it is thawed.
"""

from pathlib import Path

import pytest

from tests.helpers_cgroups import membership
from tests.helpers_host import controllers, mounts_of
from tests.helpers_leaks import reap

pytestmark = pytest.mark.requires("root", "freezer")


@pytest.fixture
def pure_v1(runtime):
    """Hide every cgroup2 from the runtime."""
    if controllers().get("freezer", (2,))[0] != 1:
        pytest.skip("requires cgroup_v1: its freezer is not mounted")
    unified = [m.point for m in mounts_of(Path("/proc/self/mountinfo").read_text()) if m.type == "cgroup2"]
    script = "".join(f"umount {point} && " for point in unified) + 'exec "$@"'
    runtime.command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *runtime.command]


def freezer_state(container):
    """What the container's freezer says."""
    return (membership(container.init)["freezer"] / "freezer.state").read_text().strip()


@pytest.mark.usefixtures("pure_v1")
def test_pause_and_resume(runtime, bundle):
    container = runtime.waiting(bundle)
    container.call("pause").ok()
    assert (freezer_state(container), container.status) == ("FROZEN", "paused")
    container.call("resume").ok()
    assert (freezer_state(container), container.status) == ("THAWED", "running")


@pytest.mark.usefixtures("pure_v1")
@pytest.mark.parametrize("words", [("kill", "ID", "KILL"), ("kill", "--all", "ID", "KILL"), ("delete", "--force", "ID")], ids=" ".join)
@pytest.mark.parametrize("own_pids", [True, False], ids=["own pids", "shared pids"])
def test_a_paused_container_ends_by_sigkill(runtime, bundle, words, own_pids):
    if not own_pids:
        bundle.without_namespace("pid")
    container = runtime.waiting(bundle, before=("spawn",))
    container.call("pause").ok()
    assert freezer_state(container) == "FROZEN"
    runtime.call(*[bundle.id if word == "ID" else word for word in words], meanwhile=reap if words[0] == "delete" else None).ok()
    if words[0] == "kill":
        assert container.wait(10) == 137
        container.delete().ok()
    assert runtime.entries() == []
