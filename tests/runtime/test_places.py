"""Places that pyoci was not made for: each verb ends with one line, status 1 (exec: 255) and nothing left behind."""

import json
import os
import struct
import subprocess
from pathlib import Path

import pytest

from tests.helpers_host import mount, unmount
from tests.helpers_leaks import cgroups

pytestmark = pytest.mark.requires("root")
PT_LOAD = 1  # elf(5)
PRIVATE = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
OUR_PROC = "pyoci needs the proc file system of its own PID namespace there"
VERBS = {
    "state": ("state", "ID"),
    "kill": ("kill", "ID", "KILL"),
    "kill --all": ("kill", "--all", "ID", "KILL"),
    "delete": ("delete", "ID"),
    "delete --force": ("delete", "--force", "ID"),
    "list": ("list",),
    "start": ("start", "ID"),
    "pause": ("pause", "ID"),
    "resume": ("resume", "ID"),
    "ps": ("ps", "--format", "json", "ID"),
    "update": ("update", "--pids-limit", "10", "ID"),
    "exec": ("exec", "ID", "/bin/probe", "true"),
}


@pytest.fixture
def elsewhere(runtime):
    """Call the runtime through a program that changes what it sees."""
    plain = runtime.command

    def call(*words, prefix, **options):
        runtime.command = [*prefix, *plain]
        try:
            return runtime.call(*words, **options)
        finally:
            runtime.command = plain

    return call


def in_shell(script):
    """Return the prefix that runs a shell's *script* in a mount namespace of its own, and then the command."""
    return (*PRIVATE, f'{script} && exec "$@"', "sh")


def make_words(bundle, verb):
    """Return the words that make a container, or do something to it."""
    if verb in ("create", "run"):
        return (verb, "--bundle", bundle.write(), bundle.id)
    return tuple(bundle.id if word == "ID" else word for word in VERBS[verb])


def refused(result, verb, *words):
    """Demand one line; exec has a status of its own."""
    line = result.failed(*words, status=255 if verb == "exec" else 1)
    assert "internal error" not in line
    return line


# ---- an old kernel


@pytest.mark.parametrize("verb", ["create", "run", "exec"])
def test_old_kernel(runtime, bundle, elsewhere, verb):
    container = runtime.waiting(bundle) if verb == "exec" else None
    result = elsewhere(*make_words(bundle, verb), prefix=("setarch", "--uname-2.6"))
    line = refused(result, verb, "pyoci needs Linux 5.14 or later; this is Linux 2.6.")
    assert line.startswith("pyoci: ")
    if container is None:
        assert (runtime.entries(), cgroups(bundle.id)) == ([], [])
    else:
        assert container.status == "running"


def test_what_ends_a_container_works_on_an_old_kernel(runtime, bundle, elsewhere):
    runtime.waiting(bundle)
    prefix = ("setarch", "--uname-2.6")
    assert json.loads(elsewhere("state", bundle.id, prefix=prefix).out)["status"] == "running"
    elsewhere("delete", "--force", bundle.id, prefix=prefix).ok()


# ---- no /proc


@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("script", ["mount -t tmpfs none /proc", "umount -l -R /proc"])
def test_nothing_is_made_without_procfs(runtime, bundle, elsewhere, verb, script):
    result = elsewhere(*make_words(bundle, verb), prefix=in_shell(script))
    refused(result, verb, "pyoci: /proc ", OUR_PROC)  # below a mount point in a virtual machine is the host's
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])


@pytest.mark.parametrize("verb", VERBS)
def test_a_container_is_not_taken_for_stopped_without_procfs(runtime, bundle, elsewhere, verb):
    container = runtime.waiting(bundle)
    result = elsewhere(*make_words(bundle, verb), prefix=in_shell("mount -t tmpfs none /proc"))
    refused(result, verb, f"/proc is missing; {OUR_PROC}")
    assert (result.out, container.status) == ("", "running")


@pytest.mark.parametrize("verb", ["delete --force", "state", "list"])
def test_procfs_of_another_pid_namespace(runtime, bundle, elsewhere, verb):
    """The numbers in the state would name other processes."""
    container = runtime.waiting(bundle)
    result = elsewhere(*make_words(bundle, verb), prefix=("unshare", "--pid", "--fork"))
    refused(result, verb, f"/proc shows another PID namespace; {OUR_PROC}")
    assert container.status == "running"


def test_list_of_nothing_needs_no_procfs(runtime, elsewhere):
    runtime.root.mkdir()
    assert elsewhere("list", "--quiet", prefix=in_shell("mount -t tmpfs none /proc")).ok().out == ""


# ---- no cgroups


@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("script", ["umount -R /sys/fs/cgroup", "umount -R /sys"])
def test_no_cgroup_file_system(runtime, bundle, elsewhere, verb, script):
    result = elsewhere(*make_words(bundle, verb), prefix=in_shell(script))
    refused(result, verb, "looking for the cgroup file systems", "--cgroup-manager=disabled")
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])


def test_without_cgroups_where_they_are_not_wanted(bundle, elsewhere):
    bundle.args("true").without_mount("/sys")
    prefix = in_shell("umount -R /sys/fs/cgroup")
    words = ("run", "--bundle", bundle.write(), bundle.id)
    elsewhere(*words, prefix=prefix, options=("--cgroup-manager", "disabled")).ok()
    for limit in ({"pids": {"limit": 10}}, {"memory": {"limit": 1 << 26}}):
        bundle.linux["resources"] = limit
        bundle.write()
        result = elsewhere(*words, prefix=prefix, options=("--cgroup-manager", "disabled"))
        refused(result, "run", "the container has no cgroup, so it cannot have limits")


# ---- the state root


@pytest.fixture
def small_root(runtime):
    """Put the state root on a file system that holds next to nothing."""
    runtime.root.mkdir(mode=0o700)
    mount("none", runtime.root, "tmpfs", data="size=4k,mode=700")
    yield runtime.root
    unmount(runtime.root)


@pytest.mark.parametrize("verb", ["create", "run"])
def test_full_disk(runtime, bundle, small_root, verb):
    refused(runtime.call(*make_words(bundle, verb)), verb, str(small_root), "No space left on device (ENOSPC)")
    assert (os.listdir(small_root), cgroups(bundle.id)) == ([], [])


@pytest.mark.parametrize("verb", ["create", "run"])
def test_no_inodes(runtime, bundle, small_root, verb):
    subprocess.run(["mount", "-o", "remount,size=1m,nr_inodes=4", small_root], check=True, timeout=20)
    refused(runtime.call(*make_words(bundle, verb)), verb, "No space left on device (ENOSPC)")
    assert (os.listdir(small_root), cgroups(bundle.id)) == ([], [])


@pytest.mark.parametrize("verb", ["create", "run"])
def test_read_only_root(runtime, bundle, small_root, verb):
    subprocess.run(["mount", "-o", "remount,ro", small_root], check=True, timeout=20)
    refused(runtime.call(*make_words(bundle, verb)), verb, str(small_root), "Read-only file system (EROFS)")
    assert not cgroups(bundle.id)


def test_a_container_of_a_root_that_became_read_only(runtime, bundle, small_root):
    """Nothing that is half done: it can still be killed, and deleted when the root can be written again."""
    subprocess.run(["mount", "-o", "remount,size=1m", small_root], check=True, timeout=20)
    container = runtime.waiting(bundle)
    subprocess.run(["mount", "-o", "remount,ro", small_root], check=True, timeout=20)
    assert container.status == "running"
    refused(runtime.call("delete", "--force", bundle.id), "delete", "Read-only file system (EROFS)")
    subprocess.run(["mount", "-o", "remount,rw", small_root], check=True, timeout=20)
    runtime.call("delete", "--force", bundle.id).ok()


@pytest.mark.parametrize("verb", ["create", "run", *VERBS])
def test_root_that_is_a_file(runtime, bundle, verb):
    runtime.root.write_text("")
    result = runtime.call(*make_words(bundle, verb))
    if verb == "delete --force":  # silent when there is none
        result.ok()
    else:
        refused(result, verb)
    assert (runtime.root.read_text(), cgroups(bundle.id)) == ("", [])
    runtime.root.unlink()


# ---- what the caller hands over


@pytest.mark.usefixtures("one_file")
@pytest.mark.parametrize("verb", ["create", "run", *VERBS])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors(runtime, bundle, elsewhere, verb, closed):
    """A failure stays a failure, and nothing lands in a file that is opened meanwhile."""
    bundle.config["root"]["path"] = "nowhere"
    runtime.root.mkdir(0o700)
    result = elsewhere(*make_words(bundle, verb), prefix=("sh", "-c", f'exec "$@" {closed}', "sh"))
    if verb in ("delete --force", "list"):
        assert result.status == 0
    elif "2>" in closed:
        assert (result.status, result.out, result.err) == (255 if verb == "exec" else 1, "", "")
    else:
        refused(result, verb)
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])


@pytest.mark.parametrize("name", ["größe-日本", os.fsdecode(b"latin-\xe4"), "new\nline", "\x1b[31m"])
def test_names(runtime, bundle, name):
    """As an id, a bundle, an argument of a program that is not there, an option."""
    for verb in ("create", "run"):
        refused(runtime.call(verb, "--bundle", bundle.write(), name), verb, "invalid container id")
        refused(runtime.call(verb, "--bundle", f"/nowhere/{name}", bundle.id), verb, "/nowhere/")
        refused(runtime.call(verb, f"--{name}", bundle.id), verb, "unknown option")
    for verb, words in VERBS.items():
        if "ID" in words:
            refused(runtime.call(*(name if word == "ID" else word for word in words)), verb, "invalid container id")
    bundle.process["args"] = [f"/bin/{name}"] if name.isprintable() else ["/bin/nowhere"]
    refused(runtime.call("run", "--bundle", bundle.write(), bundle.id), "run", "no such file or directory")


def test_depth(runtime, bundle):
    """Of the configuration, where a reader that calls itself would end by a crash."""
    for depth, known in ((60, True), (65, False), (100_000, False)):
        text = json.dumps(bundle.config)[:-1] + ', "unheardOf": ' + "[" * depth + "]" * depth + "}"
        bundle.raw = text.encode()
        result = runtime.call("run", "--bundle", bundle.write(), bundle.id)
        if known:
            result.ok()
        else:
            refused(result, "run", "config.json:1:", "64")


def loaded_kib(path):
    """Return how much address space an ELF program takes; with less the kernel kills it in execve(2)."""
    program = Path(path).read_bytes()
    start, size, count = struct.unpack_from("<32xQ14xHH", program)
    headers = (struct.unpack_from("<I36xQ", program, start + index * size) for index in range(count))
    return sum(memory for kind, memory in headers if kind == PT_LOAD) // 1024


@pytest.mark.usefixtures("one_file")
@pytest.mark.parametrize("verb", ["create", "run"])
def test_lack_of_memory(runtime, bundle, elsewhere, verb):
    """From the size at which the kernel can load the file up to one at which all is well."""
    statuses, size = [], loaded_kib(runtime.command[0])
    for kib in range(size + 400, size + 7200, 400):
        limit = ("sh", "-c", f'ulimit -v {kib} && exec "$@"', "sh")
        result = elsewhere(*make_words(bundle.args("true"), verb), prefix=limit)
        statuses.append(result.status)
        if result.status:
            assert "memory" in refused(result, verb)
            assert (runtime.entries(), cgroups(bundle.id)) == ([], [])
        else:
            runtime.call("delete", "--force", bundle.id).ok()
    assert statuses[0] == 1 and statuses[-1] == 0, statuses
