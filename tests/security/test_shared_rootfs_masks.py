"""Masks hold in a root file system that somebody else changes while the container is made.

A root file system may be shared: another container renames the directory that procfs was just mounted on, and puts an
empty one in its place.  Whoever then resolves ``/proc/kcore`` from the container's root finds nothing to mask, and the
container sees all of procfs by its new name.  So the paths are resolved from the descriptor of the mount that they
lie in.  A hook stands for the other container here: it runs between the mounts and the masks.
"""

import errno

import pytest

from tests.helpers_host import mounts_of

pytestmark = pytest.mark.requires("root")
USERS = [pytest.param(False, id="host"), pytest.param(True, id="userns", marks=pytest.mark.requires("userns"))]


def meanwhile(bundle, script):
    """Run a script in the root file system on the host once everything is mounted."""
    hook = {"path": "/bin/sh", "args": ["sh", "-ec", f"cd {bundle.rootfs}; {script}"], "env": ["PATH=/usr/bin:/bin"]}
    bundle.config["hooks"] = {"createRuntime": [hook]}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("script", ["mv proc moved; mkdir proc", "mv proc moved; ln -s moved/sys proc", "mv proc moved"])
def test_proc_that_was_swapped(runtime, bundle, script, user):
    if user:
        bundle.user_namespace()
    meanwhile(bundle, script)
    bundle.linux["maskedPaths"] = ["/proc/version", "/proc/irq"]
    bundle.linux["readonlyPaths"] = ["/proc/fs", "/proc/sys"]
    version, irq, written, mounts = runtime.probe(
        bundle,
        ["read", "/moved/version"],
        ["list", "/moved/irq"],
        ["write", "/moved/sys/kernel/domainname", "x"],
        ["read", "/moved/self/mountinfo"],
    )
    assert (version["text"], irq["names"], written["errno"]) == ("", [], errno.EROFS)
    assert [mount for mount in mounts_of(mounts["text"]) if mount.point == "/moved/fs" and "ro" in mount.options]


def test_a_mask_on_the_mount_itself(runtime, bundle):
    meanwhile(bundle, "mv data moved; mkdir data")
    (bundle.rootfs / "data").mkdir()
    bundle.mount("/data", type="tmpfs", source="x", options=["mode=700"])
    bundle.linux["maskedPaths"] = ["/data"]
    assert runtime.probe(bundle, ["write", "/moved/x", "x"])[0]["errno"] == errno.EROFS


def test_a_mount_that_another_name_has_hidden(runtime, bundle):
    """The text says that the path lies in the first mount; what the container sees there is the second."""
    (bundle.rootfs / "data").mkdir()
    (bundle.rootfs / "alias").symlink_to("data")
    for name in ("first", "second"):
        (bundle.path / name).mkdir()
        (bundle.path / name / "secret").write_text(name)
    bundle.mount("/data", type="bind", source=str(bundle.path / "first"), options=["bind"])
    bundle.mount("/alias", type="bind", source=str(bundle.path / "second"), options=["bind"])
    bundle.linux["maskedPaths"] = ["/data/secret"]
    assert runtime.probe(bundle, ["read", "/data/secret"])[0]["text"] == ""


def test_a_link_that_leads_out_of_the_mount(runtime, bundle):
    own = bundle.path / "own"
    own.mkdir()
    (own / "link").symlink_to("/etc/key")
    (own / "up").symlink_to("../etc/lock")
    for name in ("key", "lock"):
        (bundle.rootfs / "etc" / name).write_text("secret")
    bundle.mount("/data", type="bind", source=str(own), options=["bind"])
    bundle.linux["maskedPaths"] = ["/data/link", "/data/up"]
    key, lock = runtime.probe(bundle, ["read", "/etc/key"], ["read", "/etc/lock"])
    assert (key["text"], lock["text"]) == ("", "")


def test_masks_behind_a_read_only_path_that_is_the_mount(runtime, bundle):
    """A read-only copy covers the mount; the masks must be on what is seen."""
    bundle.linux["readonlyPaths"] = ["/proc/sys", "/proc", "/sys"]
    bundle.linux["maskedPaths"] = ["/proc/version", "/proc/irq", "/sys/kernel"]
    version, irq, kernel = runtime.probe(bundle, ["read", "/proc/version"], ["list", "/proc/irq"], ["list", "/sys/kernel"])
    assert (version["text"], irq["names"], kernel["names"]) == ("", [], [])
