"""features: the document of features.md, and that what it says is so."""

import json
import shutil
import subprocess

import pytest

from tests.property.strategies import SCHEMAS, validator

LINUX = SCHEMAS["features.schema.json"]["properties"]["linux"]["properties"]
ARCHITECTURES = LINUX["seccomp"]["properties"]["archs"]["items"]["enum"]
FLAGS = LINUX["seccomp"]["properties"]["knownFlags"]["items"]["enum"]
LISTENER_FLAG = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
# What is not in the table of mount options: data of one file system, what only fstab(5) knows, and no option at all.
FOREIGN = ("size=1m", "acl", "noacl", "nofail", "user", "x-systemd.automount", "rshare", "RO", "ro ")


@pytest.fixture
def features(runtime):
    return json.loads(runtime.call("features").ok().out)


def planned(runtime, bundle):
    """The steps of create: nothing is made, so the kernel has no say."""
    return runtime.call("plan", "--bundle", bundle.write(), bundle.id)


def test_the_document_follows_the_schema_and_leaves_nothing_open(features):
    validator("features.schema.json").validate(features)
    schema = SCHEMAS["features.schema.json"]

    def complete(value, rule):
        if "properties" in rule:
            assert set(value) == set(rule["properties"])
            for name, below in rule["properties"].items():
                complete(value[name], below)

    complete(features, schema)
    assert all(isinstance(value, str) for value in features["annotations"].values())


def test_no_list_has_an_entry_twice(features):
    def lists(value):
        if isinstance(value, dict):
            return [found for item in value.values() for found in lists(item)]
        return [value] if isinstance(value, list) else []

    assert all(len(set(each)) == len(each) for each in lists(features))


@pytest.mark.requires("root")
def test_both_ends_of_the_versions_are_taken(runtime, bundle, features):
    numbers = [[int(part) for part in features[f"ociVersion{end}"].split(".")] for end in ("Min", "Max")]
    assert numbers[0] <= numbers[1]
    for end in ("Min", "Max"):
        bundle.config["ociVersion"] = features[f"ociVersion{end}"]
        assert planned(runtime, bundle).status == 0
    assert f"spec: {features['ociVersionMax']}\n" in runtime.call("--version").ok().out


def test_every_mount_option_that_is_listed_is_understood(runtime, bundle, features):
    """A bind mount has no file system that could understand an option in its place."""
    maps = [{"containerID": 0, "hostID": 1000, "size": 1}]
    for option in features["mountOptions"]:
        mapped = {"uidMappings": maps, "gidMappings": maps} if "idmap" in option else {}
        bundle.without_mount("/m").mount("/m", type="none", source="/tmp", options=["bind", option], **mapped)
        planned(runtime, bundle).ok()


@pytest.mark.parametrize("option", FOREIGN)
def test_a_mount_option_that_is_not_listed_is_refused(runtime, bundle, features, option):
    assert option not in features["mountOptions"]
    bundle.mount("/m", type="none", source="/tmp", options=["bind", option])
    runtime.refuses(bundle, "unknown mount option", "/options/1")


def test_every_hook_that_is_listed_is_planned_or_run_by_the_host(runtime, bundle, features):
    assert features["hooks"] == SCHEMAS["features.schema.json"]["properties"]["hooks"]["items"]["enum"]
    for kind in features["hooks"]:
        bundle.config["hooks"] = {kind: [{"path": "relative"}]}
        runtime.refuses(bundle, f"/hooks/{kind}/0/path")


@pytest.mark.requires("root", "timens", "cgroupns")
def test_every_namespace_that_is_listed_can_be_had(runtime, bundle, features):
    assert set(features["linux"]["namespaces"]) == set(LINUX["namespaces"]["items"]["enum"])
    bundle.user_namespace()
    bundle.linux["namespaces"] = [{"type": kind} for kind in features["linux"]["namespaces"]]
    runtime.run(bundle.args("true")).ok()


@pytest.mark.requires("root")
def test_every_capability_that_is_listed_is_known(runtime, bundle, features):
    bundle.process["capabilities"] = {"bounding": features["linux"]["capabilities"]}
    runtime.run(bundle.args("true")).ok()  # unknown ones would be told
    bundle.process["capabilities"] = {"bounding": ["CAP_NO_SUCH"]}
    assert "CAP_NO_SUCH" in runtime.run(bundle.args("true")).err


@pytest.mark.requires("seccomp")
@pytest.mark.parametrize("kind", ["actions", "operators"])
def test_seccomp_words_that_are_listed_make_a_filter(runtime, bundle, features, kind):
    rule = {"names": ["swapon"], "action": "SCMP_ACT_LOG"}
    for word in features["linux"]["seccomp"][kind]:
        if kind == "actions":
            rule["action"] = word
        else:
            rule["args"] = [{"index": 0, "value": 1, "valueTwo": 1, "op": word}]
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x", "syscalls": [rule]}
        planned(runtime, bundle).ok()


@pytest.mark.requires("seccomp")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_filter_takes_the_architectures_that_are_listed_and_no_other(runtime, bundle, features, architecture):
    listed = architecture in features["linux"]["seccomp"]["archs"]
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [architecture]}
    assert (planned(runtime, bundle).status == 0) == listed


@pytest.mark.requires("root", "seccomp")
@pytest.mark.parametrize("flag", FLAGS)
def test_the_kernel_takes_the_flags_that_are_listed_as_supported_and_no_other(runtime, bundle, features, flag):
    known, supported = (features["linux"]["seccomp"][kind] for kind in ("knownFlags", "supportedFlags"))
    assert flag in known and set(supported) <= set(known)
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "flags": [flag]}
    planned(runtime, bundle).ok()
    if flag != LISTENER_FLAG:  # means nothing without a listener
        assert (runtime.run(bundle.args("true")).status == 0) == (flag in supported)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("intelRdt", {"closID": "x"}),
        ("netDevices", {"eth0": {}}),
        ("memoryPolicy", {"mode": "MPOL_LOCAL"}),
    ],
)
def test_what_is_said_to_be_off_is_refused(runtime, bundle, features, member, value):
    said = features["linux"][member]
    assert not any(said.values())
    bundle.linux[member] = value
    runtime.refuses(bundle, f"/linux/{member}", "not supported")


def test_the_systemd_driver_is_not_claimed_before_it_is_there(runtime, bundle, features):
    assert not features["linux"]["cgroup"]["systemd"] and not features["linux"]["cgroup"]["systemdUser"]
    bundle.linux["cgroupsPath"] = "system.slice:pyoci:x"
    runtime.call("create", "--bundle", bundle.write(), bundle.id, options=("--systemd-cgroup",)).failed("systemd")


def test_what_engines_look_for(features):
    """Docker: rro.  containerd and CRI-O for user namespaces: the namespace, and mounts with mapped ids."""
    assert "rro" in features["mountOptions"]
    assert "user" in features["linux"]["namespaces"]
    assert features["linux"]["mountExtensions"]["idmap"]["enabled"] is True
    assert {"idmap", "ridmap"} <= set(features["mountOptions"])


@pytest.mark.requires("root")
@pytest.mark.skipif(not shutil.which("runc"), reason="requires runc: it is not installed")
def test_the_shape_is_that_of_runc(features):
    """Each member that runc has, of the same type."""
    theirs = subprocess.run(["runc", "features"], capture_output=True, text=True, timeout=30, check=False)
    if theirs.returncode:
        pytest.skip("requires runc: it is older than its features")

    def compare(mine, other, at=""):
        assert type(mine) is type(other), at
        if isinstance(other, dict) and at != "/annotations":
            for name, value in other.items():
                assert name in mine, f"{at}/{name}"
                compare(mine[name], value, f"{at}/{name}")

    compare(features, json.loads(theirs.stdout))


@pytest.mark.requires("root", "rootless")
def test_an_ordinary_user_gets_the_same(runtime, features):
    runtime.command = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", *runtime.command]
    assert json.loads(runtime.call("features").ok().out) == features


@pytest.mark.requires("root")
@pytest.mark.usefixtures("one_file")
def test_it_needs_nothing_of_the_host(runtime, bundle, features):
    """Neither /proc nor anything else; the root is empty but for the file."""
    root = bundle.path / "alone"
    root.mkdir()
    shutil.copy(runtime.command[0], root / "pyoci")
    runtime.command = ["chroot", str(root), "/pyoci"]
    assert json.loads(runtime.call("features").ok().out) == features


def test_it_takes_no_words(runtime):
    runtime.call("features", "x").failed("unexpected argument")
