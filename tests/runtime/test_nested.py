"""pyoci inside a user namespace that its caller has made: root there, and still nobody on the host.

Rootless engines call it so.  The configuration names no user namespace, and what only the host's root may do is refused:
device nodes, file systems of namespaces that belong to the host, a lower oom_score_adj.
"""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.helpers_host import mounts_of
from tests.helpers_runtime import SMALL_ENVIRONMENT

pytestmark = pytest.mark.requires("root", "rootless")
USER = 1000
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "tty": (5, 0), "random": (1, 8), "urandom": (1, 9)}


@pytest.fixture(params=[0, USER], ids=["root", "user"])
def nested(request, runtime, bundle):
    """A bundle that belongs to somebody who calls the runtime in a user namespace of his, with one id."""
    user = request.param
    for top, directories, files in os.walk(bundle.path):
        for name in [top, *(f"{top}/{n}" for n in directories + files)]:
            os.chown(name, user, user, follow_symlinks=False)
    runtime.root.mkdir(mode=0o700)
    os.chown(runtime.root, user, user)
    caller = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "unshare", "--user", "--map-root-user"]
    bundle.caller, bundle.program = caller, list(runtime.command)
    runtime.command = [*caller, *runtime.command]
    del bundle.linux["cgroupsPath"]
    os.chown(bundle.write() / "config.json", user, user)
    return bundle


def at(report, point):
    """The uppermost mount on *point*."""
    return [mount for mount in mounts_of(report["mountinfo"]) if mount.point == point][-1]


def test_report(runtime, nested):
    report = runtime.report(nested)
    assert (report["pid"], report["uids"], report["gids"]) == (1, [0, 0, 0], [0, 0, 0])


def test_devices_are_the_hosts(runtime, nested):
    found = runtime.report(nested)["dev"]
    assert {name: (found[name]["major"], found[name]["minor"]) for name in DEVICES} == DEVICES
    lines = runtime.probe(nested, ["write", "/dev/null", "x"], ["open", "/dev/zero"], ["open", "/dev/urandom"])
    assert [line["errno"] for line in lines] == [0, 0, 0]


def test_listed_devices(runtime, nested):
    nested.linux["devices"] = [
        {"path": "/dev/full", "type": "c", "major": 1, "minor": 7},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
    ]
    full, pipe = runtime.probe(nested, ["lstat", "/dev/full"], ["lstat", "/dev/pipe"])
    assert (full["minor"], pipe["type"]) == (7, "p")


def test_a_device_that_the_host_does_not_have(runtime, nested):
    nested.linux["devices"] = [{"path": "/dev/nonesuch", "type": "c", "major": 1, "minor": 7}]
    runtime.refuses(nested, "/dev/nonesuch", "/linux/devices/0")


def test_a_device_that_is_another_on_the_host(runtime, nested):
    nested.linux["devices"] = [{"path": "/dev/zero", "type": "c", "major": 1, "minor": 7}]
    runtime.refuses(nested, "/dev/zero", "/linux/devices/0")


def test_sysfs_of_the_hosts_network(runtime, nested):
    nested.without_namespace("network")
    nested.mount("/dev/mqueue", type="mqueue", source="mqueue")
    found = at(runtime.report(nested), "/sys")
    assert found.type == "sysfs"
    assert {"ro", "nosuid", "nodev", "noexec"} <= found.options


def test_sysfs_of_a_network_of_its_callers_own(runtime, nested):
    """The caller's user namespace owns it, so it can be mounted, and shows only what is in there."""
    nested.without_namespace("network")
    runtime.command = [*nested.caller, "--net", *nested.program]
    seen = runtime.probe(nested, ["list", "/sys/class/net"], "report")
    assert seen[0]["names"] == ["lo"]
    assert at(seen[1], "/sys").root == "/"


def test_oom_score_that_cannot_be_lowered(runtime, nested):
    own = int(Path("/proc/self/oom_score_adj").read_text())
    nested.process["oomScoreAdj"] = own - 1
    log = nested.path / "log"
    result = runtime.run(nested.args(["read", "/proc/self/oom_score_adj"]), options=("--log", str(log), "--log-level", "warning"))
    assert result.lines[0]["text"] == f"{own}\n"
    assert f"setting oom_score_adj to {own - 1}" in log.read_text()


def test_oom_score_that_is_raised(runtime, nested):
    nested.process["oomScoreAdj"] = 999
    assert runtime.probe(nested, ["read", "/proc/self/oom_score_adj"])[0]["text"] == "999\n"


def test_device_rules_are_left_out(runtime, nested):
    nested.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    assert runtime.run(nested.args("true")).status == 0


def test_a_user_namespace_inside(runtime, nested):
    nested.namespace("user")
    nested.linux["uidMappings"] = nested.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    nested.linux["devices"] = [{"path": "/dev/full", "type": "c", "major": 1, "minor": 7}]
    report = runtime.report(nested)
    assert report["uid_map"].split() == ["0", "0", "1"]
    assert {"null", "full"} <= set(report["dev"])


def test_lifecycle(runtime, nested):
    """All verbs in one user namespace; in another one the processes of the first could not be entered."""
    runtime.container(nested)
    pyoci = f"{shlex.join(nested.program)} --root {runtime.root}"
    script = f"""
        {pyoci} create --bundle {nested.args("wait").write()} {nested.id}
        {pyoci} start {nested.id}
        {pyoci} exec {nested.id} /bin/probe echo executed
        {pyoci} kill {nested.id} KILL
        {pyoci} delete --force {nested.id}
    """
    command = [*nested.caller, "sh", "-ec", script]
    done = subprocess.run(command, env=SMALL_ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "executed" in done.stdout
