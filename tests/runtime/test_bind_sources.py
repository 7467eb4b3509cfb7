"""config.md, mounts: a source below the container's own root is what is there by then; and ids that are mapped there."""

import os

import pytest

from tests.helpers_bundle import HOST_ID, ID_COUNT
from tests.helpers_mounts import at

pytestmark = pytest.mark.requires("root")
USER = pytest.mark.parametrize(
    "user", [False, pytest.param(True, marks=pytest.mark.requires("userns"))], ids=["", "user namespace"]
)


def own(bundle, user):
    """Give the container a user namespace, or not."""
    return bundle.user_namespace() if user else bundle


def filled(bundle, *names):
    """Make files in a directory of the host, and mount it on /made."""
    directory = bundle.path / "filled"
    directory.mkdir()
    for name in names:
        (directory / name).write_text(name)
    bundle.mount("/made", type="bind", source=str(directory), options=["bind"])
    return directory


@USER
@pytest.mark.parametrize("spelled", ["{root}/made", "{root}/./made/", "{root}//made", "{root}/tmp/../made", "rootfs/made"])
def test_it_shows_what_was_mounted_before_it(runtime, bundle, user, spelled):
    own(bundle, user)
    filled(bundle, "file")
    bundle.mount("/again", type="bind", source=spelled.format(root=bundle.rootfs), options=["bind"])
    assert runtime.probe(bundle, ["read", "/again/file"])[0]["text"] == "file"


@USER
def test_it_does_not_show_what_is_mounted_behind_it(runtime, bundle, user):
    own(bundle, user)
    (bundle.rootfs / "made").mkdir()
    (bundle.rootfs / "made/below").write_text("below")
    bundle.mount("/again", type="bind", source=str(bundle.rootfs / "made"), options=["bind"])
    filled(bundle, "file")
    assert runtime.probe(bundle, ["read", "/again/below"])[0]["text"] == "below"


@USER
@pytest.mark.parametrize("options", [["rbind"], ["rbind", "ro"]])
def test_a_file_system_of_the_container(runtime, bundle, user, options):
    own(bundle, user)
    bundle.mount("/again", type="bind", source=str(bundle.rootfs / "dev/shm"), options=options)
    report = runtime.report(bundle)
    assert at(report, "/again").type == "tmpfs"
    assert ("ro" in at(report, "/again").options) == ("ro" in options)
    assert "rw" in at(report, "/dev/shm").options


@USER
def test_its_links_are_those_of_the_container(runtime, bundle, user):
    """An image cannot lead out of itself, whatever it holds."""
    (bundle.path / "secret").write_text("of the host")
    (bundle.rootfs / "link").symlink_to(bundle.path / "secret")
    (bundle.rootfs / "up").symlink_to("../" * 20 + str(bundle.path)[1:])
    own(bundle, user)
    for name in ("link", "up/secret"):
        bundle.config["mounts"] = bundle.config["mounts"][:5]
        bundle.mount("/x", type="bind", source=str(bundle.rootfs / name), options=["bind"])
        runtime.refuses(bundle, "ENOENT", "/mounts/5/source")


@USER
def test_the_root_itself(runtime, bundle, user):
    own(bundle, user)
    bundle.mount("/x", type="bind", source=str(bundle.rootfs), options=["rbind" if user else "bind"])
    assert runtime.probe(bundle, ["stat", "/x/bin/probe"])[0]["errno"] == 0


def test_what_only_begins_like_the_root_lies_outside(runtime, bundle):
    other = bundle.path / "rootfs2"
    other.mkdir()
    (other / "file").write_text("x")
    bundle.mount("/x", type="bind", source=str(other), options=["bind"])
    assert runtime.probe(bundle, ["stat", "/x/file"])[0]["errno"] == 0


@pytest.mark.requires("idmapped_mounts")
@USER
def test_ids_of_a_source_in_the_root_are_mapped(runtime, bundle, user):
    own(bundle, user)
    os.chown(filled(bundle, "file") / "file", 1000, 1000)
    maps = [{"containerID": 1000, "hostID": HOST_ID + 7, "size": 1}]
    source = str(bundle.rootfs / "made")
    bundle.mount("/again", type="bind", source=source, options=["bind", "idmap"], uidMappings=maps, gidMappings=maps)
    assert runtime.probe(bundle, ["stat", "/again/file"])[0]["uid"] == (7 if user else HOST_ID + 7)


@pytest.mark.requires("idmapped_mounts", "userns")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
@pytest.mark.parametrize("inside", [False, True], ids=["", "in the root"])
def test_ids_of_a_joined_user_namespace(runtime, bundles, option, inside):
    """A mount without mappings of its own has those of the namespace, wherever they were written."""
    first, second = bundles().user_namespace(), bundles().user_namespace()
    owner = runtime.waiting(first)
    for member in ("uidMappings", "gidMappings"):
        del second.linux[member]
    second.namespace("user", path=f"/proc/{owner.init}/ns/user")
    directory = filled(second, "file")
    os.chown(directory / "file", 5, 6)
    source = str(second.rootfs / "made") if inside else str(directory)
    second.mount("/x", type="bind", source=source, options=["rbind", option])
    found = runtime.probe(second, ["stat", "/x/file"])[0]
    assert (found["uid"], found["gid"]) == (5, 6)


@pytest.mark.requires("idmapped_mounts", "userns")
@pytest.mark.parametrize("joined", [False, True], ids=["new", "joined"])
def test_ids_of_a_new_file_system_in_a_user_namespace(runtime, bundles, joined):
    """Mappings of its own, which are not the namespace's."""
    first, bundle = bundles().user_namespace(), bundles().user_namespace()
    if joined:
        for member in ("uidMappings", "gidMappings"):
            del bundle.linux[member]
        bundle.namespace("user", path=f"/proc/{runtime.waiting(first).init}/ns/user")
    maps = [{"containerID": 0, "hostID": HOST_ID + 9, "size": ID_COUNT - 9}]
    bundle.mount("/x", type="tmpfs", source="x", options=["mode=755"], uidMappings=maps, gidMappings=maps)
    assert runtime.probe(bundle, ["stat", "/x"])[0]["uid"] == 9
