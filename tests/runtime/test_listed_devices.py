"""linux.devices beside the default devices: what is listed wins, whether nodes are made or bound."""


import pytest

pytestmark = pytest.mark.requires("root")
FULL = {"path": "/dev/full", "type": "c", "major": 1, "minor": 7}
USERS = [pytest.param(False, id="host"), pytest.param(True, id="userns", marks=pytest.mark.requires("userns"))]


@pytest.fixture(params=USERS)
def shaped(request, bundle):
    """A bundle without a user namespace, and with one."""
    return bundle.user_namespace() if request.param else bundle


def described(runtime, bundle, path):
    """Owner, mode and number that a path has in the container."""
    found = runtime.probe(bundle, ["lstat", path])[0]
    return [found.get(key) for key in ("type", "major", "minor", "uid", "gid", "mode")]


@pytest.mark.parametrize("spelled", ["/dev/full", "//dev/full", "/dev/./full", "/dev/shm/../full"])
def test_a_listed_device_wins_over_the_default_one(runtime, shaped, spelled):
    shaped.linux["devices"] = [{**FULL, "path": spelled, "uid": 7, "gid": 8, "fileMode": 0o620}]
    assert described(runtime, shaped, "/dev/full") == ["c", 1, 7, 7, 8, 0o620]


def test_a_listed_device_may_be_another_than_the_default_one(runtime, shaped):
    shaped.linux["devices"] = [{**FULL, "minor": 5}]
    assert described(runtime, shaped, "/dev/full") == ["c", 1, 5, 0, 0, 0o666]


def test_all_default_devices_listed(runtime, shaped):
    """As engines list the host's devices for a privileged container."""
    numbers = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "tty": (5, 0), "random": (1, 8), "urandom": (1, 9)}
    shaped.linux["devices"] = [
        {"path": f"/dev/{name}", "type": "c", "major": major, "minor": minor, "fileMode": 0o666}
        for name, (major, minor) in numbers.items()
    ]
    found = runtime.report(shaped)["dev"]
    assert {name: (found[name]["major"], found[name]["minor"]) for name in numbers} == numbers


def test_the_same_device_listed_twice(runtime, shaped):
    shaped.linux["devices"] = [FULL, {**FULL, "path": "/dev//full"}]
    assert described(runtime, shaped, "/dev/full") == ["c", 1, 7, 0, 0, 0o666]


def test_dev_of_the_host_gets_no_listed_device(runtime, bundle):
    """A /dev that was bound belongs to whoever made it: nothing is made in it."""
    own = bundle.own_dev()
    bundle.linux["devices"] = [FULL]
    runtime.run(bundle.args("true")).ok()
    assert [entry.name for entry in own.iterdir()] == ["null"]
