"""A link of the image must not lead a mount of the configuration to /dev.

The host's own /dev, bound to another place of the container, would get its device nodes, and lose its ptmx, when the image
has a symbolic link to /dev at that place.
"""

import os

import pytest

pytestmark = pytest.mark.requires("root")


@pytest.fixture
def device_directory(tmp_path):
    """What stands for the host's /dev: a directory with a ptmx of its own."""
    directory = tmp_path / "dev"
    directory.mkdir()
    (directory / "ptmx").write_text("the host's")
    return directory


@pytest.mark.parametrize("user", [False, pytest.param(True, marks=pytest.mark.requires("userns"))], ids=["host", "userns"])
def test_nothing_is_made_in_what_a_link_has_led_to_dev(runtime, bundle, device_directory, user):
    (bundle.rootfs / "hostdev").symlink_to("/dev")
    bundle.mount("/hostdev", type="bind", source=str(device_directory), options=["rbind"])
    if user:
        bundle.user_namespace()
    runtime.refuses(bundle.args("true"), "/dev", "EXDEV", "a symbolic link of the root file system")
    assert os.listdir(device_directory) == ["ptmx"]
    assert (device_directory / "ptmx").read_text() == "the host's"


@pytest.mark.parametrize("place", ["/hostdev", "/dev/below"])
def test_other_places_are_as_they_were(runtime, bundle, device_directory, place):
    bundle.mount(place, type="bind", source=str(device_directory), options=["rbind"])
    assert runtime.probe(bundle, ["lstat", f"{place}/ptmx"])[0]["errno"] == 0
    assert os.listdir(device_directory) == ["ptmx"]


def test_devices_that_are_mounts_themselves(runtime, bundle):
    """Engines without the right to make nodes list each."""
    bundle.mount("/dev/null", type="bind", source="/dev/null", options=["bind"])
    assert runtime.probe(bundle, ["lstat", "/dev/null"])[0]["errno"] == 0
