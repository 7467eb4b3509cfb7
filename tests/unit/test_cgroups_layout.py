"""Finding the hierarchies, and placing a container's cgroup in them."""

import pytest

from pyoci.cgroups.cgroup import Cgroup, from_state
from pyoci.cgroups.layout import Layout, make_layout, ownership_wanted, parse_mounts, plan_cgroup
from pyoci.config.model import Mount, Namespace
from pyoci.config.resources import Memory, Pids, Resources
from pyoci.errors import ConfigError, Error, KernelError, UsageError

PURE_V2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,seclabel,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
HYBRID_OWN = "4:memory:/outer/inner\n3:cpu,cpuacct:/\n1:name=systemd:/user.slice\n0::/user.slice/one.scope\n"


@pytest.mark.parametrize(
    ("mountinfo", "own", "mode"),
    [
        (PURE_V2, "0::/\n", "v2"),
        (HYBRID, HYBRID_OWN, "hybrid"),
        ("", "0::/\n", "none"),
        (HYBRID.replace("cgroup2", "tmpfs"), HYBRID_OWN, "v1"),
    ],
)
def test_modes(mountinfo: str, own: str, mode: str) -> None:
    assert make_layout(mountinfo, own).mode == mode


def test_joined_controllers_and_systemd_have_mounts() -> None:
    layout = make_layout(HYBRID, HYBRID_OWN)
    assert layout.mounts == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "name=systemd": "/sys/fs/cgroup/systemd",
        "": "/sys/fs/cgroup/unified",
    }
    assert layout.own["memory"] == "/outer/inner"
    assert layout.own["cpu"] == ""


def test_a_later_mount_hides_what_lies_under_it() -> None:
    layout = make_layout(HYBRID + PURE_V2, HYBRID_OWN)
    assert layout.mounts == {"": "/sys/fs/cgroup"}


def test_a_mount_outside_of_the_usual_place_does_not_win() -> None:
    elsewhere = "99 23 0:26 / /srv/cg rw - cgroup2 cgroup2 rw\n"
    assert make_layout(elsewhere + PURE_V2, "0::/\n").mounts == {"": "/sys/fs/cgroup"}
    assert make_layout(elsewhere, "0::/\n").mounts == {"": "/srv/cg"}


def test_the_root_of_a_partial_mount_is_taken_off() -> None:
    mountinfo = "29 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert make_layout(mountinfo, "0::/docker/abc/sub\n").own == {"": "/sub"}
    assert make_layout(mountinfo, "0::/docker/abcd\n").own == {"": "/docker/abcd"}


def test_escapes_in_mount_points() -> None:
    (mount,) = parse_mounts("29 23 0:26 / /a\\040b\\134040 rw - cgroup2 cgroup2 rw\n")
    assert mount.point == "/a b\\040"


LAYOUT = make_layout(HYBRID, HYBRID_OWN)


def test_an_absolute_path_starts_at_the_mount_points() -> None:
    paths = plan_cgroup("/pods//./one/", "id", LAYOUT, "cgroupfs").paths()
    assert paths["memory"] == "/sys/fs/cgroup/memory/pods/one"
    assert paths["cpu"] == paths["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct/pods/one"
    assert paths[""] == "/sys/fs/cgroup/unified/pods/one"


@pytest.mark.parametrize(("given", "name"), [("one", "one"), ("", "id"), (None, "id"), ("a/b", "a/b")])
def test_a_relative_path_starts_at_the_own_cgroup_and_in_v2_at_its_parent(
    given: str | None, name: str
) -> None:
    paths = plan_cgroup(given, "id", LAYOUT, "cgroupfs").paths()
    assert paths["memory"] == f"/sys/fs/cgroup/memory/outer/inner/{name}"
    assert paths["cpu"] == f"/sys/fs/cgroup/cpu,cpuacct/{name}"
    assert paths[""] == f"/sys/fs/cgroup/unified/user.slice/{name}"


@pytest.mark.parametrize("path", ["/", "//", "/.", "..", "/a/../../b", "a/.."])
def test_a_path_that_names_no_cgroup_below_a_root_is_an_error(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_cgroup(path, "id", LAYOUT, "cgroupfs")
    assert caught.value.problems[0].pointer == "/linux/cgroupsPath"


def test_no_relative_path_from_outside_of_the_cgroup_namespace() -> None:
    layout = Layout(mounts={"": "/sys/fs/cgroup"}, own={"": "/../other"})
    assert plan_cgroup("/x", "id", layout, "cgroupfs").paths() == {"": "/sys/fs/cgroup/x"}
    with pytest.raises(Error, match="cgroup namespace"):
        plan_cgroup("x", "id", layout, "cgroupfs")


def test_managers() -> None:
    assert plan_cgroup("/x", "id", LAYOUT, "disabled").paths() == {}
    assert plan_cgroup("/x", "id", Layout(), "disabled").paths() == {}
    with pytest.raises(UsageError, match="elephant"):
        plan_cgroup("/x", "id", LAYOUT, "elephant")
    with pytest.raises(KernelError, match="cgroup-manager=disabled"):
        plan_cgroup("/x", "id", Layout(), "cgroupfs")


def test_the_state_gives_the_cgroup_back() -> None:
    cgroup = Cgroup({"": "/g/x", "memory": "/m/x"}, made=["/g/x"])
    assert from_state(cgroup.saved()).saved() == cgroup.saved()
    assert from_state({}).paths() == {}


def test_the_cgroup_of_a_disabled_manager_does_nothing() -> None:
    cgroup = from_state({})
    assert (cgroup.pids(), cgroup.frozen(), cgroup.descriptor(), cgroup.main) == ([], False, None, "")
    cgroup.apply(None)
    cgroup.add(1)
    cgroup.kill(9)
    cgroup.thaw()
    cgroup.delete()
    with pytest.raises(KernelError, match="freezer"):
        cgroup.freeze()
    cgroup.apply(Resources(devices=(), memory=Memory(limit=-1)))
    cgroup.apply(Resources(), update=True)
    for given in (Resources(memory=Memory(limit=4096)), Resources(pids=Pids(limit=9))):
        for update in (False, True):
            with pytest.raises(Error, match="no cgroup"):
                cgroup.apply(given, update=update)


@pytest.mark.parametrize("path", ["..", "a/../..", "/.."])
def test_a_sub_cgroup_stays_below(path: str) -> None:
    with pytest.raises(Error, match="not below"):
        Cgroup({"": "/g/x"}).sub(path)


def test_sub_cgroup() -> None:
    assert Cgroup({"": "/g/x"}).sub("/a//b/").paths() == {"": "/g/x/a/b"}


NEW = Namespace(type="cgroup")
WRITABLE = Mount(destination="/sys/fs/cgroup", source="cgroup", type="cgroup2", options=("nosuid", "rw"))


@pytest.mark.parametrize(
    ("namespaces", "mounts", "wanted"),
    [
        ([NEW], [WRITABLE], True),
        ([Namespace(type="cgroup", path="/proc/1/ns/cgroup")], [WRITABLE], False),
        ([Namespace(type="pid")], [WRITABLE], False),
        ([NEW], [], False),
        ([NEW], [Mount(destination="/sys/fs/cgroup", source="cgroup", options=("ro",))], False),
        ([NEW], [Mount(destination="/sys/fs/cgroup", source="none")], False),
        ([NEW], [Mount(destination="/mnt", source="cgroup")], False),
    ],
)
def test_ownership_is_wanted_under_three_conditions(
    namespaces: list[Namespace], mounts: list[Mount], wanted: bool
) -> None:
    """config-linux.md#cgroup-ownership: a new cgroup namespace, and a writable mount of source cgroup there."""
    assert ownership_wanted(namespaces, mounts) is wanted
