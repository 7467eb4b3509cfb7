"""The one file in an initramfs: a kernel, busybox and pyoci are all that there is.

There is no Python, no library, no /etc, no /tmp and no /dev/null before the script makes it.  pivot_root(2) is not possible on
the root file system that the kernel unpacks the archive into, which is what --no-pivot is for.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers_runtime import default_command
from tests.vm import boot, initramfs

DEADLINE = 60
# Prints a line with the name and the exit status behind the output of each call.
INIT = """#!/bin/busybox sh
export PATH=/bin
alias mount="busybox mount"
try() { name=$1; shift; "$@" </init 2>&1; echo "[$name $?]"; }
try bare pyoci --version
try no-proc pyoci run --bundle /bundle none
busybox mkdir -p /proc /sys /dev /run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
try files busybox ls /
try no-cgroups pyoci run --no-pivot --bundle /bundle none
try without pyoci --cgroup-manager disabled run --no-pivot --bundle /bundle without
mount -t cgroup2 cgroup2 /sys/fs/cgroup
try pivot pyoci run --bundle /bundle none
try run pyoci run --no-pivot --bundle /bundle one
try create pyoci create --no-pivot --bundle /bundle two
try state pyoci state two
try start busybox sh -c "pyoci start two && busybox sleep 0.5"
try stopped pyoci state two
try delete pyoci delete two
try gone pyoci state two
try left busybox ls /run/pyoci
busybox poweroff -f
"""


def bundle(config: bytes) -> dict[str, bytes | None]:
    """Return a bundle whose program says what it sees and ends with 7; *config* is what ``pyoci spec`` writes."""
    document = json.loads(config)
    document["process"]["args"] = ["/bin/busybox", "sh", "-c", "echo inside $$; busybox ls /; exit 7"]
    document["process"]["terminal"] = False
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    names = ["", "/rootfs", *(f"/rootfs/{name}" for name in ("bin", "dev", "proc", "sys"))]
    return {
        **{f"bundle{name}": None for name in names},
        "bundle/rootfs/bin/busybox": busybox,
        "bundle/config.json": json.dumps(document).encode(),
    }


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Boot it once; give the exit status and the output of each call by its name."""
    command = default_command()
    if len(command) != 1 or Path(command[0]).is_symlink():
        pytest.skip("requires the static file")
    try:
        boot.check_available()
    except boot.Unavailable as error:
        pytest.skip(str(error))
    work = tmp_path_factory.mktemp("initramfs")
    subprocess.run([*command, "spec", "--bundle", work], check=True, timeout=60)
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    files = {"bin": None, "bin/busybox": busybox, "bin/pyoci": Path(command[0]).read_bytes(), "init": INIT.encode()}
    files |= bundle((work / "config.json").read_bytes())
    programs = frozenset({"init", "bin/busybox", "bin/pyoci", "bundle/rootfs/bin/busybox"})
    (work / "initrd").write_bytes(initramfs.archive(files, programs))
    console = boot.run_kernel([f"initrd={work}/initrd"], work, DEADLINE, "256M").replace("\r", "")
    print(console)
    return {
        name: (int(status), output)
        for output, name, status in re.findall(r"(?s)(.*?)\[([a-z-]+) (\d+)\]\n", console)
    }


INSIDE = "inside 1\nbin   dev   proc  sys\n"


def test_nothing_else_is_there(said: dict[str, tuple[int, str]]) -> None:
    status, names = said["files"]
    assert (status, names.split()) == (0, ["bin", "bundle", "dev", "init", "proc", "root", "run", "sys"])


def test_what_is_missing_is_named(said: dict[str, tuple[int, str]]) -> None:
    status, words = said["bare"]
    assert status == 0 and "form: static\n" in words
    assert said["no-proc"] == (
        1,
        "pyoci: /proc is missing; pyoci needs the proc file system of its own PID namespace there\n",
    )
    status, line = said["no-cgroups"]
    assert (status, line.count("\n")) == (1, 1)
    assert "none is mounted; --cgroup-manager=disabled" in line
    assert said["without"] == (7, INSIDE)


def test_run(said: dict[str, tuple[int, str]]) -> None:
    status, line = said["pivot"]
    assert (status, line.count("\n")) == (1, 1)
    assert line.endswith("a root file system on an initramfs needs --no-pivot\n")
    assert said["run"] == (7, INSIDE)


def test_create_start_state_delete(said: dict[str, tuple[int, str]]) -> None:
    assert said["create"] == (0, "")
    assert (said["state"][0], json.loads(said["state"][1])["status"]) == (0, "created")
    assert said["start"] == (0, INSIDE)
    assert (said["stopped"][0], json.loads(said["stopped"][1])["status"]) == (0, "stopped")
    assert said["delete"] == (0, "")
    assert said["gone"] == (1, "pyoci: container does not exist: two in /run/pyoci\n")
    assert said["left"] == (0, "")
