"""Without root: an ordinary user with one id of his own (features that need no helper programs)."""

import os
import subprocess

import pytest

from tests.helpers_bundle import Bundle

pytestmark = pytest.mark.requires("root", "rootless")
USER = 1000


@pytest.fixture
def mine(runtime, bundle: Bundle):
    """A bundle and a state root that belong to an ordinary user; the runtime is called as him."""
    for top, directories, files in os.walk(bundle.path):
        for name in [top, *(f"{top}/{n}" for n in directories + files)]:
            os.chown(name, USER, USER, follow_symlinks=False)
    runtime.root.mkdir(mode=0o700)
    os.chown(runtime.root, USER, USER)
    runtime.command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *runtime.command]
    bundle.namespace("user")
    del bundle.linux["cgroupsPath"]
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": USER, "size": 1}]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": USER, "size": 1}]
    bundle.write()
    os.chown(bundle.path / "config.json", USER, USER)
    return bundle


def test_report(runtime, mine):
    report = runtime.report(mine)
    assert report["uids"] == [0, 0, 0]
    assert report["uid_map"].split() == ["0", str(USER), "1"]
    assert report["setgroups"] == "deny\n"
    assert report["pid"] == 1


def test_lifecycle(runtime, mine):
    container = runtime.waiting(mine)
    with open(f"/proc/{container.init}/status") as status:
        assert f"Uid:\t{USER}\t{USER}" in status.read()
    assert container.exec_report()["uids"] == [0, 0, 0]
    container.kill("TERM")
    assert container.wait() == 143
    container.delete().ok()


def test_root_of_a_user_namespace_records_below_the_runtime_directory(runtime, tmp_path):
    """Rootless callers run us as root of their user namespace, which must not meet the host's containers."""
    (tmp_path / "pyoci").write_text("")
    environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path)}
    command = ["unshare", "--user", "--map-root-user", *runtime.command, "list"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert f"{tmp_path}/pyoci: Not a directory" in shown.stderr


def test_groups_cannot_be_set(runtime, mine):
    mine.process["user"]["additionalGids"] = [5]
    runtime.refuses(mine)


def test_root_is_not_reachable(runtime, mine):
    """A file that only the host's root may read stays closed."""
    secret = mine.path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    os.chown(secret, 0, 0)
    mine.mount("/secret", type="bind", source=str(secret), options=["bind"])
    result = runtime.run(mine.args(["read", "/secret"]))
    assert "errno\":13" in result.out or result.status == 1
