"""Without root: an ordinary user with one id of his own (features that need no helper programs)."""

import errno
import json
import os
import subprocess

import pytest

from tests.helpers_bundle import Bundle

pytestmark = pytest.mark.requires("root", "rootless")
USER = 1000


def called_as(program, user, group=None):
    """The words that call the runtime as a user, with one additional group or none."""
    groups = "--clear-groups" if group is None else f"--groups={group}"
    return ["setpriv", f"--reuid={user}", f"--regid={user}", groups, *program]


@pytest.fixture
def program(runtime):
    """The words that call the runtime as who we are."""
    return list(runtime.command)


@pytest.fixture
def mine(runtime, program, bundle: Bundle):
    """A bundle and a state root that belong to an ordinary user; the runtime is called as him."""
    for top, directories, files in os.walk(bundle.path):
        for name in [top, *(f"{top}/{n}" for n in directories + files)]:
            os.chown(name, USER, USER, follow_symlinks=False)
    runtime.root.mkdir(mode=0o700)
    os.chown(runtime.root, USER, USER)
    runtime.command = called_as(program, USER)
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


def test_no_groups_are_no_error(runtime, mine):
    """setgroups(2) is denied there: the caller's groups stay, which the kernel wants."""
    mine.process["user"]["additionalGids"] = []
    assert runtime.report(mine)["setgroups"] == "deny\n"


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
    assert runtime.probe(mine, ["read", "/secret"]) == [{"errno": errno.EACCES}]


# ---- what an ordinary user is told


def test_a_configuration_for_root(runtime, mine):
    mine.without_namespace("user")
    del mine.linux["uidMappings"], mine.linux["gidMappings"]
    line = runtime.refuses(mine, "an ordinary user", "user namespace", "pyoci spec --rootless")
    assert "/linux/namespaces" in line


def test_the_configuration_that_spec_writes_runs(runtime, mine):
    (mine.path / "config.json").unlink()
    runtime.call("spec", "--rootless", "--bundle", mine.path).ok()
    config = json.loads((mine.path / "config.json").read_text())
    config["process"].update(terminal=False, args=["/bin/probe", "report"])
    mine.raw = json.dumps(config).encode()
    assert runtime.report(mine)["uids"] == [0, 0, 0]


def test_no_place_for_the_state(runtime, mine):
    command = [*runtime.command, "run", "--bundle", str(mine.write()), "never"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "XDG_RUNTIME_DIR" in done.stderr
    assert done.stderr.count("\n") == 1


# ---- the groups of the caller


KEEP = {"run.oci.keep_original_groups": "1"}


def test_an_ordinary_user_keeps_his_groups(runtime, mine, program):
    """They have no numbers in the user namespace, but the rights that they give."""
    private = mine.path / "private"
    private.write_text("for the group")
    os.chown(private, 0, 4321)
    private.chmod(0o640)
    mine.mount("/private", type="bind", source=str(private), options=["bind"])
    mine.config["annotations"] = KEEP
    runtime.command = called_as(program, USER, 4321)
    assert runtime.probe(mine, ["read", "/private"])[0]["text"] == "for the group"


@pytest.mark.parametrize("user", [False, True], ids=["host", "userns"])
def test_the_groups_of_root_are_not_for_a_container(runtime, bundle, program, user, tmp_path):
    private = bundle.path / "private"
    private.write_text("for the group")
    os.chown(private, 12345, 4321)
    private.chmod(0o040)
    bundle.mount("/private", type="bind", source=str(private), options=["bind"])
    if user:
        bundle.user_namespace()
    bundle.process["user"] = {"uid": 1, "gid": 1, "additionalGids": [7]}
    bundle.process["capabilities"] = {}
    bundle.config["annotations"] = KEEP
    runtime.command = called_as(program, 0, 4321)
    log = tmp_path / "log"
    options = ("--log", str(log), "--log-level", "warning")
    read, report = runtime.run(bundle.args(["read", "/private"], "report"), options=options).lines
    assert (read["errno"], report["groups"]) == (errno.EACCES, [7])
    assert "run.oci.keep_original_groups" in log.read_text()


def test_files_of_its_own_in_proc(runtime, mine):
    """What is written there belongs to the user until the process hides itself."""
    mine.process["oomScoreAdj"] = 678
    container = runtime.waiting(mine)
    assert container.oom_scores() == ("678\n", "678\n")


@pytest.mark.requires("timens")
def test_time_offsets(runtime, mine):
    mine.namespace("time")
    mine.linux["timeOffsets"] = {"boottime": {"secs": 604800}}
    assert "boottime       604800         0" in runtime.report(mine)["timens_offsets"]


def test_a_pid_namespace_is_not_joined_on_the_way_into_a_user_namespace(runtime, mine, bundles):
    """Whoever is in there could look into the process while its id mappings are written."""
    mine.namespace("pid", path="/proc/self/ns/pid")
    runtime.refuses(mine, "/linux/namespaces", "PID namespace")
