"""Paths stay in the root, whatever links the image holds; what is missing is made there."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stage.encoder import Plan, number
from tests.stage.harness import MS_PRIVATE, MS_REC, Stage

EXCHANGE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
where = os.open(sys.argv[1], os.O_RDONLY)
while True:
    libc.renameat2(where, b"dir", where, b"link", 2)
"""


def in_root() -> Plan:
    return Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=0)


def mkdir(plan: Plan, path: str) -> Plan:
    """Have a directory made, with those above it, for a FIFO in it."""
    return plan.step("device", path=f"{path}/node", type=stat.S_IFIFO, mode=0o600)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A directory of the host that must not change."""
    (tmp_path / "canary").mkdir()
    return tmp_path / "canary"


def tree(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def test_all_components_are_made_with_their_exact_mode(rootfs: Path) -> None:
    old = os.umask(0o077)
    try:
        with Stage(mkdir(in_root(), "/a//b/./c/").pause(), rootfs) as stage:
            stage.built()
    finally:
        os.umask(old)
    assert [stat.S_IMODE((rootfs / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")] == [0o755] * 3


def test_a_directory_that_is_there_is_left_alone(rootfs: Path) -> None:
    (rootfs / "etc").chmod(0o700)
    with Stage(mkdir(mkdir(in_root(), "/etc"), "").pause(), rootfs) as stage:
        stage.built()
    assert stat.S_IMODE((rootfs / "etc").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("link", "target", "made"),
    [
        ("var", "/run", "run/lock/x"),
        ("var", "run", "run/lock/x"),
        ("var", "../../../../run", "run/lock/x"),
        ("var", "etc/../run/", "run/lock/x"),
        ("var", "/missing/deep", "missing/deep/lock/x"),
        ("var", "link2", "end/lock/x"),
    ],
)
def test_links_are_resolved_in_the_root_and_dangling_ones_get_their_target(
    rootfs: Path, link: str, target: str, made: str
) -> None:
    (rootfs / "run").mkdir()
    (rootfs / "link2").symlink_to("/end")
    (rootfs / link).symlink_to(target)
    with Stage(mkdir(in_root(), "/var/lock/x").pause(), rootfs) as stage:
        stage.built()
    assert (rootfs / made).is_dir()
    assert (rootfs / link).is_symlink()


@pytest.mark.parametrize("up", ["{canary}", "../../../../../../../../../../../../../../../..{canary}", "out/{canary}"])
def test_links_to_the_host_lead_to_the_root(rootfs: Path, canary: Path, up: str) -> None:
    (rootfs / "out").symlink_to("../../..")
    (rootfs / "link").symlink_to(up.format(canary=canary))
    plan = mkdir(in_root(), "/link/x").step("device", path="/link/null", number=0x103, type=stat.S_IFCHR)
    with Stage(plan.step("symlink", text="/proc", path="/link/l").pause(), rootfs) as stage:
        stage.built()
    assert tree(canary) == []
    inside = rootfs / str(canary).lstrip("/")
    assert tree(inside) == ["l", "null", "x", "x/node"]


def test_a_loop_of_links_is_an_error(rootfs: Path) -> None:
    (rootfs / "one").symlink_to("two")
    (rootfs / "two").symlink_to("one")
    with Stage(mkdir(in_root(), "/one/x"), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.ELOOP, number("DETAIL_TARGET"))


def test_magic_links_are_not_followed(rootfs: Path) -> None:
    plan = in_root().step("fsmount", mount=1, type="proc").step("attach", mount=1, target="/proc", literal=True)
    with Stage(mkdir(plan, "/proc/self/root/tmp/x"), rootfs) as stage:
        assert stage.failed()[1:4] == (4, errno.ELOOP, number("DETAIL_TARGET"))


def test_a_file_on_the_way_is_an_error(rootfs: Path) -> None:
    with Stage(mkdir(in_root(), "/etc/hosts/x"), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.ENOTDIR, number("DETAIL_TARGET"))
    with Stage(mkdir(in_root(), "/etc/hosts"), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.ENOTDIR, number("DETAIL_TARGET"))


def test_dotdot_below_something_missing_is_refused(rootfs: Path) -> None:
    with Stage(mkdir(in_root(), "/none/../../x"), rootfs) as stage:
        assert stage.failed()[2:4] == (errno.ENOENT, number("DETAIL_TARGET"))


def test_names_and_paths_that_are_too_long_are_errors(rootfs: Path) -> None:
    for path in ("/" + "x" * 256, "/x" * 2048 + "/y", "/none/" + "x" * 4096):
        with Stage(mkdir(in_root(), path), rootfs) as stage:
            assert stage.failed().err == errno.ENAMETOOLONG
    deep = "/" + "/".join(["x" * 255] * 15)
    with Stage(mkdir(in_root(), deep).pause(), rootfs) as stage:
        stage.built()
    assert Path(f"{rootfs}{deep}").is_dir()


def test_a_directory_swapped_with_a_link_never_leads_out(rootfs: Path, canary: Path) -> None:
    """CVE-2024-45310: mkdir -p of mount points while another process exchanges a directory and a link."""
    (rootfs / "vol").mkdir()
    (rootfs / "vol" / "dir").mkdir()
    (rootfs / "vol" / "link").symlink_to(canary)
    plan = in_root()
    for i in range(400):
        mkdir(plan, f"/vol/dir/{i}/x")
        plan.step("device", path=f"/vol/dir/{i}/p", type=stat.S_IFIFO, mode=0o600)
    inside = rootfs / str(canary).lstrip("/")
    with subprocess.Popen([sys.executable, "-c", EXCHANGE, rootfs / "vol"]) as swaps:
        for _ in range(20):
            met_both = inside.exists() and any((rootfs / "vol" / name / "0").exists() for name in ("dir", "link"))
            if met_both:
                break
            with Stage(plan.pause(), rootfs) as stage:
                report = stage.report()
                assert report is not None
            # A look-up may fail (a link where a directory was): never lead out.
            assert report.kind == number("REPORT_BARRIER") or report.err in (errno.ENOTDIR, errno.ENOENT, errno.ELOOP)
        swaps.kill()
    assert met_both, "the exchange was never seen: the test has shown nothing"
    assert tree(canary) == []
