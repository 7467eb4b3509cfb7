"""What the administrator has mounted read-only, nosuid, nodev or noexec, or over something, stays so in a user namespace.

The kernel locks these when a mount namespace is copied for another user namespace, but not on a tree that was cloned
outside and handed in.  And of what happens to mounts in such a container nothing may reach the host: neither a new mount
nor the end of one (mount_namespaces(7), "Restrictions on mount namespaces" and "Shared subtrees").
"""

import errno

import pytest

from tests.helpers_host import MS_BIND, MS_PRIVATE, MS_REC, MS_SHARED, mount, mounts_of, unmount
from tests.helpers_mounts import at, host_mounts

pytestmark = pytest.mark.requires("root", "userns")
MS_REMOUNT, MS_NOATIME, MS_STRICTATIME = 0x20, 0x400, 1 << 24
FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
OPPOSITES = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec"}
ATIMES = {"noatime": MS_NOATIME, "strictatime": MS_STRICTATIME}


@pytest.fixture
def volume(source):
    """Return a function that makes a mount of the host with given flags: itself read-write below, with another on sub."""
    mount(str(source), source, flags=MS_BIND)
    mount("none", source, flags=MS_PRIVATE)
    mount("inner", source / "sub", "tmpfs")

    def flag(flags):
        for place in (source, source / "sub"):
            mount("none", place, flags=MS_REMOUNT | MS_BIND | flags)
        return source

    yield flag
    unmount(source / "sub")
    unmount(source)


def binding(bundle, source, *options, user=True):
    """Bind the volume on /x, in a container whose root may mount."""
    if user:
        bundle.user_namespace()
    bundle.capabilities("CAP_SYS_ADMIN")
    bundle.mount("/x", type="bind", source=str(source), options=["rbind", *options])
    return bundle


@pytest.mark.parametrize("bind", ["rbind", "bind"])
@pytest.mark.parametrize("option", ["", *OPPOSITES, *FLAGS])
@pytest.mark.parametrize("flag", FLAGS)
def test_flags_of_the_host_are_not_taken_off(runtime, bundle, volume, flag, option, bind):
    """Whatever is asked for: the flag is there, or the container is refused."""
    source = volume(FLAGS[flag])
    if bind == "bind":
        source = source / "sub"
    bundle.user_namespace()
    bundle.mount("/x", type="bind", source=str(source), options=[bind, *([option] if option else [])])
    if OPPOSITES.get(option) == flag:
        refused_or_kept(runtime, bundle, flag)
        return
    found = at(runtime.report(bundle), "/x").options
    assert {flag, *({option} & FLAGS.keys())} <= found


def refused_or_kept(runtime, bundle, flag):
    """Take one of the two outcomes that are no hole."""
    result = runtime.run(bundle)
    if result.status:
        assert "not permitted" in result.failed()
    else:
        assert flag in at(result.lines[-1], "/x").options


@pytest.mark.parametrize("option", [*OPPOSITES])
def test_flags_of_the_host_are_taken_off_without_a_user_namespace(runtime, bundle, volume, option):
    """Root of the host may do this, and the configuration speaks for it."""
    source = volume(FLAGS[OPPOSITES[option]])
    bundle.mount("/x", type="bind", source=str(source), options=["rbind", option])
    assert OPPOSITES[option] not in at(runtime.report(bundle), "/x").options


@pytest.mark.parametrize("option", ["", "relatime", "noatime", "strictatime"])
@pytest.mark.parametrize("atime", [*ATIMES])
def test_access_times_of_the_host_stay(runtime, bundle, volume, atime, option):
    source = volume(ATIMES[atime])
    binding(bundle, source, *([option] if option else []))
    result = runtime.run(bundle)
    if result.status:
        assert option not in ("", atime)
        return
    found = at(result.lines[-1], "/x").options & {"noatime", "relatime"}
    assert found == {"noatime": {"noatime"}, "strictatime": set()}[atime]


@pytest.mark.parametrize("joined", [False, True], ids=["new", "joined"])
@pytest.mark.parametrize("flag", FLAGS)
def test_a_remount_inside_takes_no_flag_off(runtime, bundles, volume, flag, joined):
    """Not even with CAP_SYS_ADMIN in the user namespace, on the mount nor on that below."""
    bundle = bundles()
    binding(bundle, volume(FLAGS[flag]))
    if joined:
        join(runtime, bundle, bundles())
    steps = [["mount", "x", path, "x", MS_BIND | MS_REMOUNT] for path in ("/x", "/x/sub")]
    assert [line["errno"] for line in runtime.probe(bundle, *steps)] == [errno.EPERM] * 2


def join(runtime, bundle, other):
    """Let a bundle's container join the user namespace of another's."""
    owner = runtime.waiting(other.user_namespace())
    for member in ("uidMappings", "gidMappings"):
        del bundle.linux[member]
    bundle.namespace("user", path=f"/proc/{owner.init}/ns/user")


def test_what_the_host_has_mounted_over_something_stays_there(runtime, bundle, volume):
    (volume(0) / "sub/over").write_text("x")
    binding(bundle, volume(0))
    gone, still = runtime.probe(bundle, ["umount", "/x/sub"], ["open", "/x/sub/over"])
    assert (gone["errno"], still["errno"]) == (errno.EINVAL, 0)


def test_a_plain_bind_does_not_uncover_what_the_host_has_covered(runtime, bundle, volume):
    """A bind without what is mounted below would show it: refused, or nothing of it is to be seen."""
    bundle.user_namespace()
    bundle.mount("/x", type="bind", source=str(volume(0)), options=["bind"])
    runtime.refuses(bundle.args(["open", "/x/sub/inner"]), "EINVAL", "/mounts/5", "rbind")


def test_the_hosts_sysfs_keeps_its_locks(runtime, bundle):
    """It is bound where the network namespace is the host's."""
    bundle.user_namespace().without_namespace("network").capabilities("CAP_SYS_ADMIN")
    report = runtime.report(bundle)
    below = [m.point for m in mounts_of(report["mountinfo"]) if m.point.startswith("/sys/")]
    gone = runtime.probe(bundle, *[["umount", point] for point in ["/sys/kernel", *below]])
    assert {line["errno"] for line in gone} == {errno.EINVAL}


# ---- nothing reaches the host


@pytest.fixture
def shared(source):
    """A volume of the host that is shared, with another mount in it."""
    mount(str(source), source, flags=MS_BIND)
    mount("none", source, flags=MS_PRIVATE)
    mount("inner", source / "sub", "tmpfs")
    mount("none", source, flags=MS_SHARED | MS_REC)
    yield source
    for point in reversed([point for point in points() if point.startswith(str(source))]):
        unmount(point)


def points():
    """Where something is mounted on the host, in the order of mounting."""
    return [mounted.point for mounted in mounts_of(host_mounts())]


@pytest.mark.parametrize("option", ["", "rshared", "rslave", "rprivate"])
@pytest.mark.parametrize("propagation", [None, "rshared", "shared", "rslave"])
def test_no_mount_and_no_umount_reaches_the_host(runtime, bundle, shared, propagation, option):
    if propagation:
        bundle.linux["rootfsPropagation"] = propagation
    binding(bundle, shared, *([option] if option else []))
    bundle.linux["devices"] = [{"path": "/dev/nil", "type": "c", "major": 1, "minor": 3}]
    before = sorted(points())
    steps = [["mount", "x", target, "tmpfs", 0] for target in ("/x/sub", "/x")]
    steps += [["mount", "/dev/null", target, "x", MS_BIND] for target in ("/dev/nil", "/dev/full", "/x/file")]
    steps += [["umount", "/x/sub"], ["umount", "/x"], ["umount", "/x"], ["mount", "x", "/x", "x", MS_REC | MS_SHARED]]
    runtime.probe(bundle, *steps, "true")
    assert sorted(points()) == before


@pytest.mark.parametrize("propagation", ["rshared", "rslave"])
def test_mounts_of_the_host_still_arrive(runtime, bundle, shared, propagation):
    bundle.linux["rootfsPropagation"] = propagation
    container = runtime.waiting(binding(bundle, shared, "rslave"))
    mount("later", shared / "sub", "tmpfs")
    (shared / "sub/later").write_text("x")
    assert container.exec(["open", "/x/sub/later"]).ok().lines[0]["errno"] == 0


def test_a_shared_bind_without_a_user_namespace_carries_mounts_out(runtime, bundle, shared):
    """What Kubernetes calls Bidirectional."""
    bundle.linux["rootfsPropagation"] = "rshared"
    binding(bundle, shared, "rshared", user=False)
    assert runtime.probe(bundle, ["mount", "x", "/x/sub", "tmpfs", 0])[0]["errno"] == 0
    assert points().count(str(shared / "sub")) == 2
