"""Where no device node can be made, the host's is bound: it must be the device that is meant, on nothing but its own node.

A container in a user namespace gets its devices like that.  What the image has at their paths is not trusted, and
neither is the name on the host.
"""

import os
import stat

import pytest

from tests.helpers_host import MS_BIND, mount, unmount

pytestmark = pytest.mark.requires("root", "userns")


@pytest.fixture
def image_dev(bundle):
    """The /dev of the image, on which nothing is mounted, in a container with a user namespace."""
    for point in ("/dev/pts", "/dev/shm", "/dev"):
        bundle.without_mount(point)
    bundle.user_namespace()
    return bundle.rootfs / "dev"


@pytest.mark.parametrize("there", ["other device", "block device", "directory", "fifo"])
def test_another_file_of_the_image_is_not_covered(runtime, bundle, image_dev, there):
    node = image_dev / "full"
    if there == "directory":
        node.mkdir()
    elif there == "fifo":
        os.mkfifo(node)
    else:
        kind, numbers = (stat.S_IFCHR, (1, 5)) if there == "other device" else (stat.S_IFBLK, (1, 7))
        os.mknod(node, kind | 0o666, os.makedev(*numbers))
    before = node.lstat()
    runtime.refuses(bundle.args("true"), "/dev/full")
    assert node.lstat() == before


@pytest.mark.parametrize("target", ["/etc/victim", "/dev/victim"])
def test_a_link_of_the_image_is_not_followed(runtime, bundle, image_dev, target):
    victim = bundle.rootfs / target[1:]
    victim.write_text("content")
    (image_dev / "full").symlink_to(target)
    runtime.refuses(bundle.args("true"), "/dev/full", "a different file is already there")
    assert victim.read_text() == "content"


def test_another_device_by_that_name_on_the_host(runtime, bundle):
    """Here /dev/full of the host is its /dev/zero, in the tests' own mount namespace."""
    bundle.user_namespace()
    mount("/dev/zero", "/dev/full", flags=MS_BIND)
    try:
        runtime.refuses(bundle.args("true"), "/dev/full", "the host has another device by that name")
    finally:
        unmount("/dev/full")


def test_the_same_device_and_a_regular_file_may_be_there(runtime, bundle, image_dev):
    """An earlier container may have left them."""
    os.mknod(image_dev / "full", stat.S_IFCHR | 0o600, os.makedev(1, 7))
    (image_dev / "null").write_text("")
    found = runtime.report(bundle)["dev"]
    assert [(found[name]["type"], found[name]["major"], found[name]["minor"]) for name in ("full", "null")] == [("c", 1, 7), ("c", 1, 3)]
