"""Coming into a cgroup: one that is used again, that was killed, that is frozen, that cannot have processes."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.helpers_bundle import PROBE
from tests.helpers_cgroups import fill_cpuset, membership, resources, unified
from tests.helpers_host import controllers, hierarchies
from tests.helpers_leaks import reap
from tests.helpers_runtime import wait_until

pytestmark = pytest.mark.requires("root")
FROZEN = "container's cgroup unexpectedly frozen"
# How a freezer is told, by the file that its cgroups have.
FREEZERS = {"cgroup.freeze": ("1", "0"), "freezer.state": ("FROZEN", "THAWED")}


def make(name):
    """Make a cgroup in every hierarchy; give the directories."""
    made = [root / name for root in hierarchies()]
    for path in made:
        path.mkdir(parents=True)
        fill_cpuset(path)
    return made


def remove(directories):
    """Remove cgroups whose processes are ending."""
    for path in directories:
        for top, _, _ in os.walk(path, topdown=False):
            wait_until(lambda top=top: _removed(top), f"{top} can be removed")


def _removed(path):
    with contextlib.suppress(FileNotFoundError):
        try:
            os.rmdir(path)
        except OSError:
            return False
    return True


@pytest.fixture
def named(runtime, bundle):
    """The cgroup that the configuration names, there before the container; thawed and removed at the end."""
    directories = make(bundle.id)
    yield directories
    for path in directories:
        for file, (_, thawed) in FREEZERS.items():
            for top, _, files in os.walk(path):
                if file in files:
                    Path(top, file).write_text(thawed)
    for container in runtime.containers:
        runtime.call("delete", "--force", container.id, meanwhile=reap)
    remove(directories)


def kill_cgroup(directory):
    """Kill a cgroup of v2, where the kernel can."""
    if not (directory / "cgroup.kill").exists():
        pytest.skip(f"requires cgroup.kill: {directory} has none")
    (directory / "cgroup.kill").write_text("1")


# ---- used again, and killed before


@pytest.mark.parametrize("own_pids", [True, False], ids=["own pids", "shared pids"])
@pytest.mark.parametrize("words", [("kill", "ID", "KILL"), ("kill", "--all", "ID", "KILL"), ("delete", "--force", "ID")])
def test_one_cgroup_serves_container_after_container(runtime, bundle, named, words, own_pids):
    """On v2 with cgroup.kill, after which nobody can be born there any more."""
    if not own_pids:
        bundle.without_namespace("pid")
    for _ in range(3):
        container = runtime.waiting(bundle, before=("spawn",))
        assert set(membership(container.init).values()) == set(named)
        assert container.exec(["echo", "in"]).ok().out.strip() == "in"
        runtime.call(*[bundle.id if word == "ID" else word for word in words]).ok()
        container.wait()
        if words[0] == "kill":
            container.delete().ok()
    assert all(path.exists() for path in named)


@pytest.mark.requires("cgroup_v2_mounted")
@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_cgroup_that_was_killed_before(runtime, bundle, named, verb):
    kill_cgroup(unified(bundle.id))
    if verb == "run":
        assert runtime.run(bundle.args(["echo", "alive"])).ok().out == "alive\n"
    else:
        assert set(membership(runtime.create(bundle).init).values()) == set(named)


@pytest.mark.requires("cgroup_v2_mounted")
def test_exec_into_a_cgroup_below_that_was_killed_before(runtime, bundle):
    container = runtime.waiting(bundle)
    directories = [path / "below" for path in set(membership(container.init).values())]
    for path in directories:
        path.mkdir()
        fill_cpuset(path)
    kill_cgroup(unified(f"{bundle.id}/below"))
    assert container.exec(["echo", "alive"], options=("--cgroup", "below")).ok().out == "alive\n"


@pytest.mark.requires("cgroup_v2_mounted")
def test_a_caller_in_a_cgroup_that_was_killed_before(runtime, bundle, named):
    """The kernel compares the counts of both cgroups: here the container's own, new one has the lower."""
    caller = unified(bundle.id)
    kill_cgroup(caller)
    bundle.linux["cgroupsPath"] = f"/{bundle.id}-container"
    procs = os.open(caller / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    inside = {"preexec_fn": lambda: os.write(procs, b"0")}
    try:
        container = runtime.start(bundle.args("wait"), **inside)
        container.until_ready()
        assert membership(container.init)[""].name == f"{bundle.id}-container"
        assert container.exec(["echo", "alive"], **inside).ok().out == "alive\n"
    finally:
        os.close(procs)


# ---- frozen


def freezers(name):
    """Return the files that freeze the cgroup of this name, with what to write: one of v1, one of v2, or both."""
    found = [(root / name / file, *words) for root in hierarchies() for file, words in FREEZERS.items()]
    return [entry for entry in found if entry[0].exists()]


@pytest.mark.requires("freezer")
@pytest.mark.parametrize("below", ["", "/inner"])
@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_frozen_cgroup_is_refused(runtime, bundle, named, verb, below):
    """By whichever freezer: nobody would come out of it, not even by SIGTERM."""
    bundle.linux["cgroupsPath"] = f"/{bundle.id}{below}"
    for file, frozen, thawed in freezers(bundle.id):
        file.write_text(frozen)
        runtime.container(bundle)
        result = runtime.call(verb, "--bundle", bundle.write(), bundle.id, timeout=10)
        result.failed(FROZEN, str(file.parent))
        assert not (file.parent / "cgroup.procs").read_text()
        file.write_text(thawed)
    assert runtime.run(bundle.args("true")).ok()


@pytest.mark.requires("freezer")
def test_exec_into_what_is_frozen_from_above_is_refused(runtime, bundle, named):
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    container = runtime.waiting(bundle)
    for file, frozen, thawed in freezers(bundle.id):
        file.write_text(frozen)
        container.exec("true", timeout=10).failed(FROZEN, status=255)
        file.write_text(thawed)
    container.exec("true").ok()


@pytest.mark.requires("freezer")
def test_exec_into_a_paused_container_can_be_interrupted(runtime, bundle):
    """With --ignore-paused the process waits for resume; who waits for it can be ended."""
    container = runtime.waiting(bundle)
    container.call("pause").ok()
    call = runtime.spawn("exec", "--ignore-paused", container.id, PROBE, "true")
    procs = freezers(bundle.id)[0][0].parent / "cgroup.procs"
    wait_until(lambda: len(procs.read_text().split()) > 1, "the new process is in the cgroup")
    call.send_signal(signal.SIGTERM)
    wait_until(lambda: container.call("resume") and call.poll() is not None, "exec ends")
    assert call.returncode == 128 + signal.SIGTERM


@pytest.mark.requires("freezer")
@pytest.mark.parametrize("index", [0, 1])
def test_whatever_freezes_it_the_container_is_paused(runtime, bundle, index):
    """On a hybrid host there are two freezers, and resume is for both."""
    container = runtime.waiting(bundle)
    found = freezers(bundle.id)
    if index >= len(found):
        pytest.skip("requires two freezers: the host has one")
    found[index][0].write_text(found[index][1])
    assert container.status == "paused"
    container.exec("true", timeout=10).failed(status=255)
    container.call("resume").ok()
    container.exec("true").ok()


# ---- what cannot have processes


@pytest.mark.requires("cgroup_v2_mounted")
@pytest.mark.parametrize("kind", ["threaded", "in a threaded one", "controllers", "processes"])
def test_an_unfit_cgroup_is_named_with_the_reason(runtime, bundle, named, kind, tmp_path):
    directory = unified(bundle.id)
    words = {
        "threaded": "is threaded",
        "in a threaded one": "lies in a threaded one",
        "controllers": "has controllers enabled for its children",
        "processes": "is not empty: processes",
    }[kind]
    if kind == "controllers":
        enable_a_domain_controller(directory)
    elif kind == "processes":
        other = runtime.create(other_bundle(bundle, tmp_path))
        words += f" {other.init}"
    else:
        (directory / "cgroup.type").write_text("threaded")
    if kind == "in a threaded one":
        directory /= "inner"
        bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    where = "" if kind == "processes" else f"the cgroup {directory} "
    runtime.refuses(bundle, f"{where}{words}", "/linux/cgroupsPath")


def other_bundle(bundle, path):
    """A bundle for a second container in the same cgroup."""
    other = type(bundle)(path / "other", bundle.probe, f"{bundle.id}-other")
    other.linux["cgroupsPath"] = bundle.linux["cgroupsPath"]
    return other


def enable_a_domain_controller(directory):
    """Enable for the children of a cgroup what its own processes cannot do with."""
    available = (directory / "cgroup.controllers").read_text().split()
    usable = [name for name in ("memory", "io", "hugetlb", "rdma") if name in available]
    if not usable:
        pytest.skip(f"requires a domain controller of cgroup v2: {directory} has none")
    (directory / "cgroup.subtree_control").write_text(f"+{usable[0]}")


# ---- exec


def move_init(container, name, runtime):
    """Move init to a new cgroup below its own in v2 and enable a controller, as systemd does in a container."""
    directory = unified(runtime.containers[-1].id)
    (directory / name).mkdir()
    (directory / name / "cgroup.procs").write_text(str(container.init))
    return directory


@pytest.mark.requires("cgroup_v2_mounted")
@pytest.mark.parametrize("foreign", [False, True], ids=["own cgroup", "named cgroup"])
def test_exec_joins_init_where_it_has_moved(runtime, bundle, request, foreign):
    if foreign:
        request.getfixturevalue("named")
    container = runtime.waiting(bundle)
    directory = move_init(container, "moved", runtime)
    enable_a_domain_controller(directory)
    call = container.exec_process({**bundle.process, "args": [PROBE, "wait"]}, "--detach", "--pid-file", bundle.path / "pid")
    call.ok()
    inside = membership(int((bundle.path / "pid").read_text()))
    assert inside[""] == directory / "moved"
    assert {path.name for key, path in inside.items() if key} <= {bundle.id}
    runtime.call("delete", "--force", container.id, meanwhile=reap).ok()


@pytest.mark.requires("cgroup_v2_mounted")
def test_exec_into_a_named_cgroup_below_follows_nobody(runtime, bundle):
    container = runtime.waiting(bundle)
    directory = move_init(container, "moved", runtime)
    for path in set(membership(container.init).values()) - {directory / "moved"}:
        (path / "wanted").mkdir()
        fill_cpuset(path / "wanted")
    (directory / "wanted" / "below").mkdir(parents=True)
    enable_a_domain_controller(directory)
    enable_a_domain_controller(directory / "wanted")
    result = container.exec("true", options=("--cgroup", "wanted"))
    result.failed(f"the cgroup {directory}/wanted has controllers enabled for its children", status=255)


@pytest.mark.requires("pids")
@pytest.mark.parametrize("limit", [0, 1])
@pytest.mark.parametrize("above", [False, True], ids=["own limit", "limit above"])
def test_exec_at_the_limit_of_tasks_says_so(runtime, bundle, limit, above):
    """A number of errno alone would send its reader looking elsewhere: it is that of a full process table, too."""
    bundle.config["ociVersion"] = "1.3.0"
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/inner"
    if above:
        container = runtime.waiting(bundle)
        directory = membership(container.init)["" if controllers()["pids"][0] == 2 else "pids"].parent
        (directory / "pids.max").write_text(str(limit))
    else:
        container = runtime.waiting(resources(bundle, pids={"limit": limit}))
        directory = membership(container.init)["" if controllers()["pids"][0] == 2 else "pids"]
    container.exec("true").failed(f"{directory} is limited to {limit} tasks (pids.max)", "EAGAIN", status=255)
    container.delete("--force").ok()
    remove([root / bundle.id for root in hierarchies()])


@pytest.fixture
def below(runtime, bundle):
    """A waiting container with a cgroup "below" its own in every hierarchy."""
    container = runtime.waiting(bundle)
    for path in set(membership(container.init).values()):
        (path / "below").mkdir()
        fill_cpuset(path / "below")
    return container


def places(container, *options):
    """Name of the cgroup in each hierarchy of a process that exec has started."""
    file = container.bundle.path / "pid"
    process = {**container.bundle.process, "args": [PROBE, "wait"]}
    container.exec_process(process, "--detach", "--pid-file", file, *options).ok()
    found = {key: path.name for key, path in membership(int(file.read_text())).items()}
    os.kill(int(file.read_text()), signal.SIGKILL)
    return found


def test_exec_into_a_cgroup_below(below):
    assert set(places(below, "--cgroup", "below").values()) == {"below"}
    assert set(places(below, "--cgroup", "/below/").values()) == {"below"}


@pytest.mark.requires("memory", "pids")
def test_exec_into_a_cgroup_below_of_one_controller(below):
    if controllers()["pids"][0] == 2:
        below.exec("true", options=("--cgroup", "pids:below")).failed("no cgroup v1 hierarchy", "pids", status=255)
        return
    found = places(below, "--cgroup", "pids,memory:below")
    assert {key for key, name in found.items() if name == "below"} == {"pids", "memory"}
    found = places(below, "--cgroup", "memory:/", "--cgroup", "pids:below")
    assert {key for key, name in found.items() if name == "below"} == {"pids"}


@pytest.mark.parametrize(
    ("options", "word"),
    [(["nosuch:below"], "nosuch"), ([":below"], "''"), (["a", "b"], "no controller"), (["memory:a", "memory:b"], "twice"), (["../x"], "below")],
)
def test_wrong_cgroup_of_exec(below, options, word):
    words = [word for option in options for word in ("--cgroup", option)]
    below.exec("true", options=tuple(words)).failed(word, status=255)


@pytest.mark.requires("freezer")
@pytest.mark.parametrize("words", [("delete", "--force", "ID"), ("kill", "ID", "KILL"), ("kill", "--all", "ID", "KILL")])
@pytest.mark.parametrize("own_pids", [True, False], ids=["own pids", "shared pids"])
def test_a_container_that_has_frozen_itself_can_be_killed(runtime, bundle, words, own_pids):
    """In a cgroup below its own: SIGKILL does not end what the freezer of v1 holds, and a thaw above does not reach it."""
    if not own_pids:
        bundle.without_namespace("pid")
    container = runtime.waiting(bundle, before=("spawn",))
    for file, frozen, _ in freezers(f"{bundle.id}"):
        inner = file.parent / "frozen"
        inner.mkdir()
        (inner / "cgroup.procs").write_text(str(container.init))
        (inner / file.name).write_text(frozen)
    runtime.call(*[bundle.id if word == "ID" else word for word in words], meanwhile=reap).ok()
    if words[0] == "kill":
        container.wait()
        container.delete().ok()
