"""What is believed about a container is what its owner has written.

Below a state root that others may write to (``--root /tmp/x``, a shared directory), somebody can put a directory there
that looks like a container: with a poststop hook, which ``delete`` runs as root; with the cgroup or the pid of
somebody else, which ``kill`` and ``delete`` act on.  So owner and mode of the root, of the container's directory and
of the files in it are looked at, by the descriptors that are used.
"""

import json
import os
import stat

import pytest

pytestmark = pytest.mark.requires("root")
STRANGER = 12345
VERBS = {
    "state": ("state", "ID"),
    "kill": ("kill", "ID", "KILL"),
    "kill --all": ("kill", "--all", "ID", "KILL"),
    "start": ("start", "ID"),
    "pause": ("pause", "ID"),
    "resume": ("resume", "ID"),
    "ps": ("ps", "--format", "json", "ID"),
    "update": ("update", "--pids-limit", "10", "ID"),
    "exec": ("exec", "ID", "/bin/probe", "true"),
    "delete": ("delete", "ID"),
    "delete --force": ("delete", "--force", "ID"),
}


@pytest.fixture
def container(runtime, bundle):
    """A stopped container with a poststop hook that leaves a mark; afterwards it belongs to root again."""
    bundle.mark = bundle.path / "mark"
    hook = {"path": "/usr/bin/touch", "args": ["touch", str(bundle.mark)]}
    bundle.config["hooks"] = {"poststop": [hook]}
    container = runtime.start(bundle.args("true"))
    container.wait()
    yield container
    give(runtime.root, 0)
    for path in (runtime.root, *runtime.root.iterdir()):
        path.chmod(0o700)


def give(path, user):
    """Give a directory and its content to a user."""
    for top, _, files in os.walk(path):
        for name in (top, *(f"{top}/{file}" for file in files)):
            os.chown(name, user, user, follow_symlinks=False)


def words(container, verb):
    return [container.id if word == "ID" else word for word in VERBS[verb]]


def refused(runtime, container, verb, *said):
    """Demand one line, no hook, and that nothing has changed."""
    directory = runtime.root / container.id
    before = sorted(os.listdir(directory))
    runtime.call(*words(container, verb)).failed(*said, status=255 if verb == "exec" else 1)
    assert not container.bundle.mark.exists(), "the hook of a stranger was run"
    assert sorted(os.listdir(directory)) == before


@pytest.mark.parametrize("verb", VERBS)
def test_directory_of_a_stranger(runtime, container, verb):
    runtime.root.chmod(0o1777)
    give(runtime.root / container.id, STRANGER)
    refused(runtime, container, verb, f"belongs to user {STRANGER}")


def test_directory_of_a_stranger_is_not_listed_and_holds_its_name(runtime, container):
    runtime.root.chmod(0o1777)
    give(runtime.root / container.id, STRANGER)
    assert json.loads(runtime.call("list", "--format", "json").ok().out) in ([], None)
    runtime.call("create", "--bundle", container.bundle.path, container.id).failed("already exists")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
@pytest.mark.parametrize("verb", ["state", "delete --force"])
def test_directory_that_others_can_write_to(runtime, container, verb, mode):
    (runtime.root / container.id).chmod(mode)
    refused(runtime, container, verb, "can be written by others")


@pytest.mark.parametrize("verb", VERBS)
def test_root_of_a_stranger(runtime, container, verb):
    os.chown(runtime.root, STRANGER, STRANGER)
    refused(runtime, container, verb, str(runtime.root), f"belongs to user {STRANGER}")


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o703])
@pytest.mark.parametrize("verb", VERBS)
def test_root_that_others_can_write_to(runtime, container, verb, mode):
    runtime.root.chmod(mode)
    refused(runtime, container, verb, str(runtime.root), "can be written by others")


@pytest.mark.parametrize("case", ["owner", "mode"])
@pytest.mark.parametrize("verb", ["create", "run", "list"])
def test_verbs_that_make_or_look(runtime, bundle, verb, case):
    runtime.root.mkdir()
    if case == "owner":
        os.chown(runtime.root, STRANGER, STRANGER)
    else:
        runtime.root.chmod(0o777)
    more = () if verb == "list" else ("--bundle", bundle.write(), bundle.id)
    runtime.call(verb, *more).failed(str(runtime.root), "belongs to" if case == "owner" else "can be written by others")
    assert os.listdir(runtime.root) == []


@pytest.mark.parametrize("name", ["state.json", "config.json", "journal"])
@pytest.mark.parametrize("case", ["owner", "mode", "link", "fifo"])
def test_files_in_the_directory(runtime, container, name, case):
    """None of them can come from others while the directory is ours; a directory that was theirs before could hold them."""
    path = runtime.root / container.id / name
    kept, before = path.read_bytes(), path.stat()
    forged = container.bundle.path / "forged"
    forged.write_bytes(kept)
    match case:
        case "owner":
            os.chown(path, STRANGER, STRANGER)
        case "mode":
            path.chmod(0o666)
        case "link":
            path.unlink()
            path.symlink_to(forged)
        case "fifo":
            path.unlink()
            os.mkfifo(path)
    if name == "journal":  # read only when there is no whole state
        (runtime.root / container.id / "state.json").unlink()
    result = runtime.call("delete", container.id)
    assert not container.bundle.mark.exists()
    if name == "config.json":  # what it would have run is left out, which no container is kept for
        assert (result.status, result.out) == (0, "") and "poststop hooks are not run" in result.err
        return
    result.failed(f"{container.id}/{name}")
    path.unlink()
    path.write_bytes(kept)
    path.chmod(stat.S_IMODE(before.st_mode))


def test_a_shared_root_is_of_use(runtime, bundle):
    """Sticky, as /tmp is: nobody can touch what we make there."""
    runtime.root.mkdir()
    runtime.root.chmod(0o1777)
    (runtime.root / "theirs").mkdir()
    os.chown(runtime.root / "theirs", STRANGER, STRANGER)
    container = runtime.waiting(bundle)
    assert [entry["id"] for entry in json.loads(runtime.call("list", "-f", "json").ok().out)] == [container.id]
    container.delete("--force").ok()
    assert os.listdir(runtime.root) == ["theirs"]
    (runtime.root / "theirs").rmdir()
