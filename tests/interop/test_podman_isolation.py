"""podman: users, capabilities, seccomp, limits and namespaces."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.interop.containerd import wait_exit
from tests.interop.images import NAME
from tests.interop.podman import Podman, namespaces, pid_of, sleeper

# -- identity and security -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "shown"), [("1000", "1000 1000"), ("app:daemon", "1000 1"), ("5:6", "5 6")])
def test_user(podman: Podman, user: str, shown: str) -> None:
    assert podman.sh("echo $(id -u) $(id -g)", "--user", user) == shown


def test_additional_groups(podman: Podman) -> None:
    assert {"1000", "777"} <= set(podman.sh("id -G", "--user", "1000:1000", "--group-add", "777").split())


def status_field(podman: Podman, field: str, *options: str) -> str:
    """Return a field of /proc/self/status of a process in a new container."""
    return podman.sh(f"grep ^{field}: /proc/self/status", *options).split()[1]


def test_capabilities(podman: Podman) -> None:
    net_admin, chown = 1 << 12, 1 << 0
    assert int(status_field(podman, "CapEff", "--cap-add", "net_admin"), 16) & net_admin
    assert not int(status_field(podman, "CapBnd"), 16) & net_admin
    assert not int(status_field(podman, "CapBnd", "--cap-drop", "chown"), 16) & chown
    assert int(status_field(podman, "CapBnd", "--cap-drop", "all"), 16) == 0


def test_ordinary_user_has_no_effective_capabilities(podman: Podman) -> None:
    assert int(status_field(podman, "CapEff", "--user", "1000"), 16) == 0


def test_no_new_privileges(podman: Podman) -> None:
    assert status_field(podman, "NoNewPrivs", "--security-opt", "no-new-privileges") == "1"
    assert status_field(podman, "NoNewPrivs") == "0"


def test_privileged(podman: Podman) -> None:
    mine = re.search(r"^CapBnd:\s+(\w+)", Path("/proc/self/status").read_text(), re.M)
    assert mine and status_field(podman, "CapBnd", "--privileged") == mine[1]
    assert podman.sh("mount -t tmpfs t /tmp && echo mounted", "--privileged") == "mounted"
    assert status_field(podman, "Seccomp", "--privileged") == "0"


def test_default_seccomp_profile(podman: Podman) -> None:
    if not Path("/usr/share/containers/seccomp.json").exists():
        pytest.skip(
            "needs the file /usr/share/containers/seccomp.json (package golang-github-containers-common)"
        )
    assert status_field(podman, "Seccomp") == "2"
    assert status_field(podman, "Seccomp", "--security-opt", "seccomp=unconfined") == "0"


def test_seccomp_profile_file(podman: Podman, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile))
    done = podman("run", "--rm", "--security-opt", f"seccomp={path}", NAME, "sh", "-c", "mkdir /tmp/x")
    assert done.returncode == 1
    assert "not supported" in done.stderr


def test_masked_and_read_only_paths(podman: Podman) -> None:
    assert (
        podman.sh(
            "wc -c < /proc/timer_list; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v :; true"
        ).split()[0]
        == "0"
    )
    done = podman("run", "--rm", NAME, "sh", "-c", "echo x > /proc/sys/kernel/domainname")
    assert "Read-only file system" in done.stderr
    assert podman.sh("wc -c < /proc/timer_list", "--security-opt", "unmask=ALL") != ""


def test_ulimit(podman: Podman) -> None:
    # nproc is given too, because --ulimit replaces the configured defaults and podman's own need a privilege.
    limits = [
        word for limit in ("nofile=100:200", "core=0:0", "nproc=1024:1024") for word in ("--ulimit", limit)
    ]
    assert podman.sh("ulimit -Sn; ulimit -Hn; ulimit -c", *limits) == "100\n200\n0"


def test_umask(podman: Podman) -> None:
    assert podman.sh("umask", "--umask", "0027") == "0027"


def test_no_stray_descriptors(podman: Podman) -> None:
    inner = [*podman.command, "run", "--rm", NAME, "ls", "/proc/self/fd"]
    done = subprocess.run(
        ["bash", "-c", 'exec 5</etc/passwd 9</etc/passwd; exec "$@"', "bash", *inner],
        env=podman.environ,
        cwd=podman.base,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        input="",
    )
    assert done.stdout.split() == ["0", "1", "2", "3"]  # 3 is that of ls itself


def test_sysctl(podman: Podman) -> None:
    assert podman.sh("cat /proc/sys/kernel/msgmax", "--sysctl", "kernel.msgmax=4321") == "4321"


def test_oom_score_adj(podman: Podman) -> None:
    assert podman.sh("cat /proc/self/oom_score_adj", "--oom-score-adj", "321") == "321"


# -- namespaces ----------------------------------------------------------------------------------------------


def test_hostname(podman: Podman) -> None:
    assert podman.sh("hostname; cat /etc/hostname", "--hostname", "web") == "web\nweb"


def test_host_namespaces(podman: Podman) -> None:
    name = sleeper(podman, "--network=host", "--uts=host", "--ipc=host", "--pid=host", "--cgroupns=host")
    theirs, mine = namespaces(pid_of(podman, name)), namespaces(os.getpid())
    assert theirs.pop("mnt") != mine.pop("mnt")
    assert theirs == mine


def test_private_namespaces(podman: Podman) -> None:
    name = sleeper(podman, "--network=none", "--cgroupns=private")
    theirs, mine = namespaces(pid_of(podman, name)), namespaces(os.getpid())
    assert theirs.pop("user") == mine.pop("user")
    assert not set(theirs.values()) & set(mine.values())


def test_joining_the_namespaces_of_another_container(podman: Podman) -> None:
    first = sleeper(podman)
    shared = [f"--{kind}=container:{first}" for kind in ("network", "ipc", "pid", "uts")]
    second = sleeper(podman, *shared)
    one, two = namespaces(pid_of(podman, first)), namespaces(pid_of(podman, second))
    assert {key for key in one if one[key] == two[key]} - {"cgroup"} == {"net", "ipc", "pid", "uts", "user"}


def test_stop_with_host_pids_ends_every_process(podman: Podman) -> None:
    name = podman.ok("run", "--detach", "--pid=host", NAME, "sh", "-c", "sleep 1000 & sleep 1000 & wait")
    pid = pid_of(podman, name)
    children: list[str] = []
    while len(children) < 2:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    podman.ok("stop", "--time", "1", name)
    for child in children:
        wait_exit(int(child), deadline=10)


def test_user_namespace_with_id_maps(podman: Podman) -> None:
    options = ("--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536")
    assert podman.sh("cat /proc/self/uid_map /proc/self/gid_map", *options).split() == [
        "0",
        "100000",
        "65536",
        "0",
        "200000",
        "65536",
    ]
    assert podman.sh("id -u; touch /root/x && stat -c %u /root/x", *options) == "0\n0"
    assert podman.sh("id -u; stat -c %u /home/app", "--user", "1000", *options) == "1000\n1000"


def test_exec_in_a_user_namespace(podman: Podman) -> None:
    name = sleeper(podman, "--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536")
    assert podman.ok("exec", "--user", "app", name, "id", "-u") == "1000"
