"""Nobody may look into what is being made.

Root of another container lacks CAP_SYS_PTRACE, but it has every capability in a user namespace that its own number has
made, as all of root's have: it reads the files of the host below /proc/PID/root of a process that enters such a
namespace while it has the host's mounts.  It sees that process when both share a PID namespace, by the configuration or
because the container has that of the host.  The kernel asks another question about a process that is not dumpable:
who owns the user namespace that it was executed in.
"""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.helpers_bundle import HOST_ID
from tests.helpers_host import mount, unmount
from tests.helpers_leaks import descendants
from tests.helpers_runtime import wait_until

pytestmark = pytest.mark.requires("root", "userns")
# Root without a capability: what an ordinary container's root has is less than what it takes.
ATTACKER = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
CREATES = 12
# Where pyoci does something for a process that it makes.
MOMENTS = re.compile(r'^openat\(.*"/proc/\d+/(uid_map|gid_map|timens_offsets|ns/user)"|^recvmsg\(|^poll\(', re.M)


@pytest.fixture
def secret(tmp_path):
    """A file of the host that no container has."""
    directory = tmp_path / "secret"
    directory.mkdir()
    mount("secret", directory, "tmpfs")
    (directory / "file").write_text("of the host")
    yield directory / "file"
    unmount(directory)


def can_read(pid, path):
    """Whether the attacker gets at the host's files by way of a process."""
    done = subprocess.run([*ATTACKER, "cat", f"/proc/{pid}/root{path}"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(params=["new", "joined", "host"])
def box(request, runtime, bundles, source):
    """A bundle with a user namespace and mapped mounts, and the PID namespace that the attacker sees into."""
    bundle = bundles().user_namespace()
    bundle.mount("/x", type="bind", source=str(source), options=["rbind"])
    if request.param == "joined":
        bundle.namespace("pid", path=f"/proc/{runtime.waiting(bundles()).init}/ns/pid")
    elif request.param == "host":
        bundle.without_namespace("pid")
    if request.param != "new":
        bundle.config["mounts"][0] = {"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}
    return bundle.args("true")


def mapped(bundle, source):
    """Ask for a mount with ids of its own: a process makes the user namespace that holds them."""
    maps = [{"containerID": 0, "hostID": HOST_ID, "size": 10}]
    bundle.mount("/y", type="bind", source=str(source), options=["bind", "idmap"], uidMappings=maps, gidMappings=maps)
    return bundle


def test_the_attacker_would_see_what_can_be_seen(secret):
    """Itself, that is."""
    done = subprocess.run([*ATTACKER, "cat", f"/proc/self/root{secret}"], capture_output=True, check=True)
    assert done.stdout == b"of the host"
    with subprocess.Popen(["unshare", "--user", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as naive:
        naive.stdout.readline()
        assert can_read(naive.pid, secret), "a process that does not hide itself"
        naive.stdin.close()


@pytest.mark.requires("strace", "idmapped_mounts")
def test_at_every_moment_of_a_create(runtime, box, source, secret, tmp_path):
    """It is stopped wherever it waits for its processes, or writes for them; these are looked at meanwhile."""
    mapped(box, source)
    runtime.create(box).delete("--force").ok()
    moments = calls(runtime, box, tmp_path / "whole")
    runtime.call("delete", "--force", box.id).ok()
    assert sum(name == "openat" for name, _ in moments) >= 4
    seen, leaks = 0, []
    for name, number in moments:
        trace = tmp_path / f"{name}{number}"
        tracer = strace(runtime, box, trace, "-e", f"inject={name}:signal=STOP:when={number}")
        pyoci = wait_until(lambda at=(tracer, trace): stopped(*at), f"stopped at {name} {number}")
        inner = descendants(pyoci)
        seen += len(inner)
        leaks += [f"{name} {number}" for pid in inner if can_read(pid, secret)]
        os.kill(pyoci, signal.SIGCONT)
        assert tracer.wait(30) == 0
        runtime.call("delete", "--force", box.id).ok()
    assert seen >= len(moments)
    assert leaks == []


def strace(runtime, bundle, trace, *inject):
    """Begin a create under strace(1), which follows pyoci and none of its children."""
    plain, runtime.command = runtime.command, ["strace", "-o", str(trace), *inject, *runtime.command]
    try:
        return runtime.spawn("create", "--bundle", bundle.write(), bundle.id, stdout=subprocess.DEVNULL)
    finally:
        runtime.command = plain


def calls(runtime, bundle, trace):
    """Every call of a create in which it waits for, or works on, processes of its own: name and number."""
    assert strace(runtime, bundle, trace).wait(30) == 0
    numbers: dict[str, int] = {}
    found, alive = [], False
    for line in trace.read_text(errors="replace").splitlines():
        name = line.partition("(")[0]
        numbers[name] = numbers.get(name, 0) + 1
        alive = alive or name == "clone3"
        if alive and MOMENTS.match(line):
            found.append((name, numbers[name]))
    return found


def stopped(tracer, trace):
    """The traced process, once the signal has stopped it."""
    if not trace.exists() or "--- stopped by SIGSTOP ---" not in trace.read_text(errors="replace"):
        return 0
    with open(f"/proc/{tracer.pid}/task/{tracer.pid}/children") as file:
        return int(file.read())


RACE = """
import os, sys
before = {name for name in os.listdir('/proc') if name.isdigit()}
print('ready', flush=True)
while True:
    for name in os.listdir('/proc'):
        if name.isdigit() and name not in before and int(name) != os.getpid():
            try:
                with open(f'/proc/{name}/root{sys.argv[1]}') as file:
                    print('leak', file.read(), flush=True)
            except OSError:
                pass
"""


def test_in_a_race(runtime, box, secret):
    race = [*ATTACKER, sys.executable, "-c", RACE, str(secret)]
    with subprocess.Popen(race, stdout=subprocess.PIPE, text=True) as attacker:
        try:
            assert attacker.stdout.readline() == "ready\n"
            for _ in range(CREATES):
                runtime.create(box).delete("--force").ok()
        finally:
            attacker.kill()
        assert attacker.stdout.read() == ""


@pytest.mark.requires("idmapped_mounts")
def test_it_is_hidden_from_a_runtime_without_the_right_to_look_too(runtime, box, source):
    """Which it must not need, then."""
    runtime.command = ["setpriv", "--bounding-set=-sys_ptrace", "--", *runtime.command]
    assert runtime.run(mapped(box, source)).status == 0
