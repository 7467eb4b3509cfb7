"""The generated tables are not stale, complete, and agree with the system's headers."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyoci import linux
from pyoci.config import tables

ROOT = Path(__file__).resolve().parents[2]

# config.md#linux-mount-options: what a runtime must implement, and what it should.
REQUIRED = """
async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec
noiversion nolazytime norelatime nostrictatime nosuid private rbind relatime remount ro rprivate rshared
rslave runbindable rw shared silent slave strictatime suid sync unbindable"""
RECOMMENDED = """
nosymfollow symfollow ratime rdev rdiratime rexec rnoatime rnodev rnodiratime rnoexec rnorelatime
rnostrictatime rnosuid rnosymfollow rrelatime rro rrw rstrictatime rsuid rsymfollow idmap ridmap"""


def test_the_tables_are_not_stale() -> None:
    subprocess.run([sys.executable, ROOT / "spec" / "generate.py", "--check"], check=True)


def test_every_mount_option_of_the_specification_is_known() -> None:
    wanted = set(REQUIRED.split()) | set(RECOMMENDED.split()) | {"mand", "nomand", "tmpcopyup"}
    assert wanted - set(tables.MOUNT_OPTIONS) == set()


def test_recursive_attributes_do_what_the_plain_ones_do() -> None:
    for option, (kind, set_, clear, recursive, _) in tables.MOUNT_OPTIONS.items():
        if kind == "attr" and recursive:
            assert tables.MOUNT_OPTIONS[option[1:]][:4] == (kind, set_, clear, False)


def test_attributes_come_in_pairs_that_undo_each_other() -> None:
    for option in ("ro", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow"):
        opposite = "rw" if option == "ro" else option.removeprefix("no")
        _, set_, clear, _, _ = tables.MOUNT_OPTIONS[option]
        assert set_ and not clear
        assert tables.MOUNT_OPTIONS[opposite][1:3] == (0, set_)
    for option in ("noatime", "strictatime", "relatime"):
        assert tables.MOUNT_OPTIONS[option][2] == linux.MOUNT_ATTR__ATIME


def test_rlimits_are_those_of_this_machine() -> None:
    for name, number in tables.RLIMITS.items():
        if name != "RLIMIT_LOCKS":  # gone from the resource module
            assert getattr(resource, name) == number
    assert sorted(tables.RLIMITS.values()) == list(range(16))


def test_capabilities_are_numbered_without_a_gap() -> None:
    assert list(tables.CAPABILITIES.values()) == list(range(41))


# What the headers of Debian 12 do not have yet.
NEWER = {
    "MPOL_WEIGHTED_INTERLEAVE",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_LOONGARCH64",
}
HEADERS = {
    "linux/capability.h": tables.CAPABILITIES,
    "linux/mempolicy.h": {**tables.MEMORY_POLICY_MODES, **tables.MEMORY_POLICY_FLAGS},
    "linux/ioprio.h": tables.IO_PRIORITY_CLASSES,
    "linux/seccomp.h": tables.SECCOMP_FLAGS,
    "linux/sched.h": {
        **tables.SCHEDULER_FLAGS,
        **{
            f"CLONE_NEW{n}": tables.NAMESPACES[k]
            for n, k in (("PID", "pid"), ("NET", "network"), ("NS", "mount"))
        },
        **{f"CLONE_NEW{k.upper()}": tables.NAMESPACES[k] for k in ("ipc", "uts", "user", "cgroup", "time")},
        **{
            name: v
            for name, v in tables.SCHEDULER_POLICIES.items()
            if name not in ("SCHED_OTHER", "SCHED_ISO")
        },
    },
    "linux/mount.h": {
        "MOUNT_ATTR__ATIME": linux.MOUNT_ATTR__ATIME,
        **{
            f"MOUNT_ATTR_{attribute}": tables.MOUNT_OPTIONS[option][1]
            for attribute, option in (
                ("RDONLY", "ro"),
                *((name.upper(), name) for name in ("nosuid", "nodev", "noexec", "noatime", "strictatime")),
                *((name.upper(), name) for name in ("relatime", "nodiratime", "nosymfollow")),
            )
        },
        **{
            f"MS_{name.upper()}": tables.PROPAGATION[name]
            for name in ("private", "shared", "slave", "unbindable")
        },
        "(MS_REC|MS_SLAVE)": tables.PROPAGATION["rslave"],
    },
    "seccomp.h": {
        **tables.SECCOMP_OPERATORS,
        **tables.SECCOMP_ARCHITECTURES,
        **{
            name + ("(0)" if name in tables.SECCOMP_ERRNO_ACTIONS else ""): value
            for name, value in tables.SECCOMP_ACTIONS.items()
        },
    },
    "linux/audit.h": {
        "AUDIT_ARCH_SHEL": tables.SECCOMP_ARCHITECTURES["SCMP_ARCH_SH"],
        "AUDIT_ARCH_SH": tables.SECCOMP_ARCHITECTURES["SCMP_ARCH_SHEB"],
        "AUDIT_ARCH_M68K": tables.SECCOMP_ARCHITECTURES["SCMP_ARCH_M68K"],
        "AUDIT_ARCH_LOONGARCH64": tables.SECCOMP_ARCHITECTURES["SCMP_ARCH_LOONGARCH64"],
    },
    "sys/personality.h": {f"PER_{name}": value for name, value in tables.PERSONALITIES.items()},
}


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc, to ask the headers")
@pytest.mark.parametrize("header", HEADERS)
def test_numbers_are_those_of_the_headers(header: str, tmp_path: Path) -> None:
    source = tmp_path / "ask.c"
    include = f"#include <stdio.h>\n#include <{header}>\n"
    known = {name: value for name, value in HEADERS[header].items() if compiles(source, include, name)}
    assert set(HEADERS[header]) - set(known) <= NEWER
    checks = "".join(
        f'_Static_assert((unsigned long)({name}) == {value}UL, "{name}");\n' for name, value in known.items()
    )
    source.write_text(include + checks)
    subprocess.run(["gcc", "-fsyntax-only", source], check=True)


def compiles(source: Path, include: str, name: str) -> bool:
    source.write_text(f"{include}long value(void) {{ return (long)({name}); }}\n")
    return subprocess.run(["gcc", "-fsyntax-only", source], capture_output=True).returncode == 0
