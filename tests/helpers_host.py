"""What the machine at hand can do: the probes behind ``@pytest.mark.requires(...)``, and the harness's own setting.

Every probe tries the thing itself and gives "" or the reason why it is missing.
"""

import ctypes
import functools
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE, MS_SHARED, MS_BIND = 0x4000, 1 << 18, 1 << 20, 0x1000
MNT_DETACH = 2
PR_SET_CHILD_SUBREAPER = 36
CAP_SYS_RESOURCE = 24
UNUSUAL_CALLS = {"x86_64": {"mkdirat": 258, "getppid": 110, "sync": 162, "getpriority": 140}}
UNUSUAL_CALLS["aarch64"] = {"mkdirat": 34, "getppid": 173, "sync": 81, "getpriority": 141}


def checked(result: int, what: str) -> int:
    """Return the result of a libc call, or raise what errno says."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    args = [source.encode(), str(target).encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None]
    checked(LIBC.mount(*args), f"mount {target}")


def unmount(target: str | Path) -> None:
    """umount2(2), lazily."""
    checked(LIBC.umount2(str(target).encode(), MNT_DETACH), f"umount {target}")


def unshare_mounts() -> int:
    """Enter a mount namespace of our own whose mounts are all shared, as systemd hosts have them.

    What a container lets slip into its host is seen here, and other programs' mounts are not.
    Returns a descriptor of the namespace left, for ``leave``.
    """
    before = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    checked(LIBC.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    mount("none", "/", flags=MS_REC | MS_SHARED)
    return before


def enter_mounts(namespace: int) -> None:
    """Go (back) to a mount namespace."""
    here = Path.cwd()
    checked(LIBC.setns(namespace, CLONE_NEWNS), "setns")
    os.close(namespace)
    os.chdir(here)


def become_subreaper() -> None:
    """Make orphans of the runtime our children, as conmon and containerd's shim do."""
    checked(LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def has_capability(number: int) -> bool:
    """Whether this process has a capability in effect."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> number & 1)


def mounts_of(text: str) -> "list[MountLine]":
    """Parse a mountinfo file."""
    return [MountLine(line) for line in text.splitlines()]


class MountLine:
    """One line of /proc/PID/mountinfo (proc_pid_mountinfo(5))."""

    def __init__(self, line: str) -> None:
        """Split the line at its separator."""
        left, _, right = line.partition(" - ")
        fields = left.split()
        self.line = line
        self.root, self.point = fields[3], fields[4].encode().decode("unicode_escape")
        self.options = set(fields[5].split(","))
        self.propagation = {field.split(":")[0] for field in fields[6:]}
        self.type, self.source, data = (right.split(" ") + ["", ""])[:3]
        self.data = set(data.split(","))

    def __repr__(self) -> str:
        """Show the line as the kernel wrote it."""
        return self.line


@functools.cache
def controllers() -> dict[str, tuple[int, Path]]:
    """Return each usable cgroup controller with its version (1 or 2) and the hierarchy's mount point."""
    found: dict[str, tuple[int, Path]] = {}
    for mounted in mounts_of(Path("/proc/self/mountinfo").read_text()):
        if mounted.type == "cgroup":
            for word in mounted.data - {"rw", "ro", "xattr", "clone_children"}:
                found.setdefault(word, (1, Path(mounted.point)))
        if mounted.type == "cgroup2":
            for word in (Path(mounted.point) / "cgroup.controllers").read_text().split():
                found.setdefault(word, (2, Path(mounted.point)))
    return found


def hierarchies() -> list[Path]:
    """Return the mount points of all cgroup hierarchies."""
    mounted = mounts_of(Path("/proc/self/mountinfo").read_text())
    return [Path(m.point) for m in mounted if m.type in ("cgroup", "cgroup2")]


def _controller(name: str) -> Callable[[], str]:
    return lambda: "" if name in controllers() else f"no {name} controller in any cgroup hierarchy"


def _version(number: int) -> str:
    unified = any(m.type == "cgroup2" and m.point == "/sys/fs/cgroup" for m in mounts_of(_own_mounts()))
    return "" if unified == (number == 2) and hierarchies() else f"the machine's cgroups are not version {number}"


def _own_mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


def _runs(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=False, text=True)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return "" if done.returncode == 0 else f"{' '.join(command)} fails: {done.stderr.strip()}"


def _exists(path: str) -> str:
    return "" if Path(path).exists() else f"{path} is missing"


def _file_system(name: str) -> str:
    return "" if f"\t{name}\n" in Path("/proc/filesystems").read_text() else f"the kernel has no {name} file system"


def _apparmor() -> str:
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    return "" if enabled.exists() and enabled.read_text().strip() == "Y" else "AppArmor is not enabled"


def _two_cpus() -> str:
    return "" if len(os.sched_getaffinity(0)) > 1 else "this process may use one"


def _selinux() -> str:
    return _exists("/sys/fs/selinux/enforce")


def _sysctl_flag(path: str, least: int) -> str:
    file = Path(path)
    value = int(file.read_text()) if file.exists() else 0
    return "" if value >= least else f"{path} is {value}"


def _rootless() -> str:
    if os.geteuid() != 0:
        return "only root can become another user to try"
    return _runs("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "-U", "-r", "true")


def _block_device() -> str:
    return "" if block_device() else "no block device with a queue in /sys/block"


def block_device() -> str:
    """Return MAJOR:MINOR of some whole disk, or ""."""
    for name in sorted(Path("/sys/block").iterdir()) if Path("/sys/block").exists() else []:
        if not name.name.startswith(("loop", "ram", "zram", "dm-")):
            return (name / "dev").read_text().strip()
    return ""


def _idmapped_mounts() -> str:
    with tempfile.TemporaryDirectory() as scratch:
        return idmap_probe(scratch)


def idmap_probe(directory: str) -> str:
    """Try MOUNT_ATTR_IDMAP on a detached clone of the file system of *directory*."""
    open_tree, mount_setattr = 428, 442
    child = subprocess.Popen(["unshare", "-U", "-r", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(b"x\n")
        child.stdin.flush()
        child.stdout.readline()
        user = os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY)
        tree = LIBC.syscall(open_tree, -100, directory.encode(), 1 | 0o2000000)
        attributes = (ctypes.c_uint64 * 4)(0x00100000, 0, 0, user)
        failed = tree < 0 or LIBC.syscall(mount_setattr, tree, b"", 0x1000, ctypes.byref(attributes), 32)
        reason = os.strerror(ctypes.get_errno()) if failed else ""
        os.close(user)
        if tree >= 0:
            os.close(tree)
        return f"idmapped mount of {directory}: {reason}" if reason else ""
    finally:
        child.communicate()


PROBES: dict[str, Callable[[], str]] = {
    "root": lambda: "" if os.geteuid() == 0 else "needs root",
    "rootless": _rootless,
    "cap_sys_resource": lambda: "" if has_capability(CAP_SYS_RESOURCE) else "no CAP_SYS_RESOURCE",
    "userns": lambda: _runs("unshare", "-U", "true"),
    "timens": lambda: _exists("/proc/self/ns/time"),
    "cgroupns": lambda: _exists("/proc/self/ns/cgroup"),
    "netns": lambda: _runs("unshare", "-n", "true"),
    "cgroup_v1": lambda: _version(1),
    "cgroup_v2": lambda: _version(2),
    "cgroup_v2_mounted": lambda: "" if any(m.type == "cgroup2" for m in mounts_of(_own_mounts())) else "no cgroup2 is mounted",
    "freezer": lambda: "" if _version(2) == "" or "freezer" in controllers() else "no freezer",
    "device_rules": lambda: "" if _version(2) == "" or "devices" in controllers() else "no way to enforce device rules",
    "keyrings": lambda: _exists("/proc/keys"),
    "seccomp": lambda: _exists("/proc/sys/kernel/seccomp/actions_avail"),
    "mqueue": lambda: _file_system("mqueue"),
    "overlay": lambda: _file_system("overlay"),
    "apparmor": _apparmor,
    "selinux": _selinux,
    "two_cpus": _two_cpus,
    "block_device": _block_device,
    "idmapped_mounts": _idmapped_mounts,
    "known_calls": lambda: "" if platform.machine() in UNUSUAL_CALLS else f"no call numbers of {platform.machine()}",
    "strace": lambda: _runs("strace", "-o", "/dev/null", "true"),
    "ip": lambda: _runs("ip", "link", "show", "lo"),
}
for _name in ("memory", "cpu", "pids", "cpuset", "blkio", "io", "devices", "hugetlb", "net_cls", "rdma"):
    PROBES[_name] = _controller(_name)


@functools.cache
def missing(name: str) -> str:
    """Return "" when the machine has *name*, else the reason why a test of it cannot run here."""
    return PROBES[name]()
