"""The files in /proc that make a process what the configuration says, with and without a user namespace.

They belong to the host's root once nobody may look into the process, whoever it is by then.
"""

import os

import pytest

from tests.helpers_bundle import HOST_ID, ID_COUNT

pytestmark = pytest.mark.requires("root")
KINDS = ["none", *[pytest.param(kind, marks=pytest.mark.requires("userns")) for kind in ("root", "mapped", "joined")]]


@pytest.fixture(params=KINDS)
def box(request, runtime, bundles):
    """A bundle without a user namespace, with one whose root is the host's or another user, or one that is joined."""
    bundle = bundles()
    if request.param == "none":
        return bundle
    bundle.user_namespace(host=0 if request.param == "root" else HOST_ID)
    if request.param == "joined":
        owner = runtime.waiting(bundles().user_namespace())
        for member in ("uidMappings", "gidMappings"):
            del bundle.linux[member]
        bundle.namespace("user", path=f"/proc/{owner.init}/ns/user")
    return bundle


@pytest.mark.parametrize("user", [0, 7])
def test_oom_score_adj(runtime, box, user):
    box.process.update(oomScoreAdj=678, user={"uid": user, "gid": user})
    container = runtime.waiting(box)
    assert container.oom_scores() == ("678\n", "678\n")


@pytest.mark.requires("timens")
def test_timens_offsets(runtime, box):
    box.namespace("time")
    box.linux["timeOffsets"] = {"monotonic": {"secs": 172800, "nanosecs": 5}, "boottime": {"secs": 604800}}
    report = runtime.report(box)
    offsets = {line.split()[0]: line.split()[1:] for line in report["timens_offsets"].splitlines()}
    assert offsets == {"monotonic": ["172800", "5"], "boottime": ["604800", "0"]}
    assert report["monotonic"] >= 172800


@pytest.mark.requires("timens")
def test_a_time_namespace_without_offsets(runtime, box):
    box.namespace("time")
    assert runtime.report(box)["namespaces"]["time"] != os.readlink("/proc/self/ns/time")


@pytest.mark.requires("timens")
def test_offsets_that_cannot_be(runtime, box):
    box.namespace("time")
    box.linux["timeOffsets"] = {"boottime": {"secs": -(10**9)}}
    runtime.refuses(box, "ERANGE", "/linux/timeOffsets")


def test_setgroups(runtime, box):
    """It stays allowed: root writes the mappings."""
    box.process["user"] = {"uid": 7, "gid": 7, "additionalGids": [8, 9]}
    assert runtime.report(box)["groups"] == [8, 9]


def test_id_maps(runtime, box):
    report = runtime.report(box)
    user = any(namespace["type"] == "user" for namespace in box.linux["namespaces"])
    host = box.linux["uidMappings"][0]["hostID"] if "uidMappings" in box.linux else HOST_ID
    expected = ["0", str(host), str(ID_COUNT)] if user else ["0", "0", str(2**32 - 1)]
    assert report["uid_map"].split() == report["gid_map"].split() == expected


@pytest.mark.requires("apparmor")
def test_attr_apparmor_exec(runtime, box):
    box.process["apparmorProfile"] = "unconfined"
    assert runtime.report(box)["attr_current"].strip("\0\n") == "unconfined"


def test_loginuid_is_the_callers(runtime, box):
    with open("/proc/self/loginuid") as own:
        expected = own.read()
    container = runtime.waiting(box)
    with open(f"/proc/{container.init}/loginuid") as file:
        assert file.read() == expected


def test_nobody_owns_the_files_of_a_waiting_container(runtime, box):
    """But the host's root: it is hidden."""
    container = runtime.create(box)
    assert os.stat(f"/proc/{container.init}/oom_score_adj").st_uid == 0
    assert os.stat(f"/proc/{container.init}/environ").st_uid == 0
