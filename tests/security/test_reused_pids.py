"""A process that is to be killed is known by its pid and its start time: the pid alone may be somebody else's by now.

``delete --force`` kills what a create that hangs waits for, and pyoci itself, by what the journal of that create says.
"""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.helpers_leaks import alive, cgroups
from tests.helpers_runtime import wait_until

pytestmark = [pytest.mark.requires("root"), pytest.mark.usefixtures("pyoci_alone")]


@pytest.fixture
def strangers():
    """A list of processes that pyoci has nothing to do with; they end with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start_time(pid):
    """When a process was started, in clock ticks since boot (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def hanging_create(runtime, bundle):
    """Start a create whose hook does not end; return its process when the hook runs."""
    mark = bundle.path / "mark"
    script = f"touch {mark}; exec sleep 60"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]}
    container = runtime.container(bundle)
    call = runtime.spawn("create", "--bundle", bundle.write(), bundle.id, stdout=container.stdout.fd, stderr=container.stdout.fd)
    wait_until(mark.exists, "the hook runs")
    wait_until(lambda: '"hook"' in (runtime.root / bundle.id / "journal").read_text(), "the journal says so")
    return call


def reuse(journal, pattern, strangers):
    """Let the journal say that the processes whose keys match had a stranger's pid, and started when they did.

    It leads a group, as a hook does, and was started in another clock tick than all in the journal.
    """
    text = journal.read_text()
    while not strangers or start_time(strangers[-1].pid) in re.findall(r"\d+", text):
        strangers.append(subprocess.Popen(["sleep", "60"], start_new_session=True))
    changed, found = re.subn(rf'("(?:{pattern})":\s*)[1-9]\d*', rf"\g<1>{strangers[-1].pid}", text)
    assert found, f"no {pattern} in the journal: {text}"
    journal.write_text(changed)
    return strangers[-1].pid


@pytest.mark.parametrize(("kind", "status"), [("hook", -signal.SIGKILL), ("pid", 1)])
def test_delete_spares_a_process_that_has_the_pid_of_one_of_ours(runtime, bundle, strangers, kind, status):
    """Without its hook pyoci fails by itself; when only the stage has gone it waits for the hook, and is killed."""
    call = hanging_create(runtime, bundle)
    stranger = reuse(runtime.root / bundle.id / "journal", kind, strangers)
    runtime.call("delete", "--force", bundle.id).ok()
    assert call.wait(20) == status
    assert alive(stranger)
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])


def test_delete_gives_up_where_nobody_it_knows_is_left(runtime, bundle, strangers):
    call = hanging_create(runtime, bundle)
    stranger = reuse(runtime.root / bundle.id / "journal", "hook|pid|owner", strangers)
    runtime.call("delete", "--force", bundle.id).failed("in use by another program")
    assert alive(stranger)
    call.terminate()
    assert call.wait(20) == 128 + signal.SIGTERM
