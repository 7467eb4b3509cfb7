"""config.md, process: who the program is, its user, groups and capabilities."""

import os

import pytest

from tests.helpers_bundle import CAPABILITIES
from tests.helpers_host import missing
from tests.helpers_identity import bits, capability_sets

pytestmark = pytest.mark.requires("root")


# ---- user


def test_user_and_groups(runtime, bundle):
    bundle.process["user"] = {"uid": 1234, "gid": 5678, "additionalGids": [42, 0, 7]}
    report = runtime.report(bundle)
    assert report["uids"] == [1234] * 3
    assert report["gids"] == [5678] * 3
    assert sorted(set(report["groups"]) - {5678}) == [0, 7, 42]


def test_largest_ids(runtime, bundle):
    largest = 2**32 - 2
    bundle.process["user"] = {"uid": largest, "gid": largest, "additionalGids": [largest - 1]}
    report = runtime.report(bundle)
    assert (report["uids"], report["gids"]) == ([largest] * 3, [largest] * 3)
    assert set(report["groups"]) - {largest} == {largest - 1}


def test_groups_of_the_caller_are_dropped(runtime, bundle):
    report = runtime.report(bundle, extra_groups=[7, 8])
    assert set(report["groups"]) <= {0}


@pytest.mark.parametrize("umask", [0, 0o22, 0o77, 0o777])
def test_umask(runtime, bundle, umask):
    bundle.process["user"]["umask"] = umask
    assert runtime.report(bundle)["umask"] == umask


def test_umask_unset_is_the_callers(runtime, bundle):
    assert runtime.report(bundle, umask=0o37)["umask"] == 0o37


def test_umask_of_the_caller_does_not_reach_the_setup(runtime, bundle):
    bundle.process["user"]["umask"] = 0o22
    report = runtime.report(bundle, umask=0o777)
    assert report["dev"]["null"]["mode"] == 0o666
    assert report["dev"]["pts"]["mode"] & 0o555 == 0o555


def test_stdio_is_given_to_the_user(runtime, bundle):
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    container = runtime.start(bundle)
    container.wait()
    assert os.fstat(container.stdout.fd).st_uid == 1000


def test_dev_null_of_the_host_keeps_its_owner(runtime, bundle):
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    before = os.stat("/dev/null")
    runtime.report(bundle)
    after = os.stat("/dev/null")
    assert (before.st_uid, before.st_mode) == (after.st_uid, after.st_mode)


# ---- capabilities


def test_capability_sets(runtime, bundle):
    bundle.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_AUDIT_WRITE"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
        "inheritable": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
        "ambient": ["CAP_CHOWN"],
    }
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    sets = capability_sets(runtime.report(bundle))
    assert sets["Bnd"] == bits("CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_AUDIT_WRITE")
    assert sets["Inh"] == bits("CAP_CHOWN", "CAP_KILL")
    # execve(2) by a user that is not root leaves of the rest what is ambient (capabilities(7)).
    assert sets["Prm"] == sets["Eff"] == sets["Amb"] == bits("CAP_CHOWN")


def test_capabilities_of_root_after_exec(runtime, bundle):
    sets = capability_sets(runtime.report(bundle))
    assert sets["Bnd"] == sets["Prm"] == sets["Eff"] == bits(*CAPABILITIES)
    assert sets["Amb"] == 0


def test_no_capabilities(runtime, bundle):
    del bundle.process["capabilities"]
    sets = capability_sets(runtime.report(bundle))
    assert (sets["Amb"], sets["Inh"]) == (0, 0)
    bundle.process["capabilities"] = {}
    assert set(capability_sets(runtime.report(bundle)).values()) == {0}


def test_capabilities_at_the_gate(runtime, bundle):
    """A created container is as limited as a running one."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    container = runtime.create(bundle)
    with open(f"/proc/{container.init}/status") as status:
        sets = capability_sets({"status": status.read()})
    assert sets["Bnd"] == bits(*CAPABILITIES)


def test_unknown_capability_is_a_warning(runtime, bundle):
    bundle.capabilities("CAP_KILL", "CAP_TO_FLY")
    container = runtime.container(bundle)
    assert container.create().status == 0
    container.start()
    container.wait()
    assert capability_sets(container.lines[-1])["Bnd"] == bits("CAP_KILL")


def test_ungrantable_ambient_capability_is_no_error(runtime, bundle):
    bundle.process["capabilities"]["ambient"] = ["CAP_SYS_ADMIN"]
    container = runtime.container(bundle)
    assert container.create().status == 0


def test_ambient_capabilities_that_are_not_inheritable_are_told_as_information(runtime, bundle, tmp_path):
    """Builders of images ask for them each time: the program has what the other sets say."""
    bundle.process["capabilities"]["ambient"] = CAPABILITIES
    options = ("--log", str(tmp_path / "log"), "--log-level", "info")
    runtime.container(bundle)
    assert runtime.call("run", "--bundle", bundle.write(), bundle.id).ok().err == ""
    runtime.call("run", "--bundle", bundle.write(), bundle.id, options=options).ok()
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if "CAP_KILL" in line]
    assert "level=info" in line


@pytest.mark.parametrize(("where", "name"), [("bounding", "CAP_TO_FLY"), ("ambient", "CAP_TO_FLY")])
def test_warning_of_a_capability_names_it(runtime, bundle, tmp_path, where, name):
    bundle.process["capabilities"].setdefault(where, []).append(name)
    assert runtime.container(bundle).create().err.startswith("pyoci: warning: ")
    container = runtime.containers[-1]
    container.delete().ok()
    options = ("--log", str(tmp_path / "log"), "--log-level", "warning")
    runtime.call("create", "--bundle", bundle.write(), bundle.id, options=options).ok()
    assert name in (tmp_path / "log").read_text()


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges(runtime, bundle, wanted):
    bundle.process["noNewPrivileges"] = wanted
    assert runtime.report(bundle)["noNewPrivs"] == int(wanted)


@pytest.mark.parametrize("option", [(), ("--no-new-keyring",)])
def test_selinux_label_without_selinux(runtime, bundle, option):
    if not missing("selinux"):
        pytest.skip("SELinux is enabled")
    container = runtime.waiting(bundle)
    container.exec("true", options=("--process-label", "a:b:c:d")).failed("SELinux is not enabled", "--process-label", status=255)
    container.delete("--force").ok()
    bundle.process["selinuxLabel"] = "system_u:system_r:container_t:s0:c1,c2"
    runtime.refuses(bundle, "/process/selinuxLabel", "SELinux is not enabled", options=option)
