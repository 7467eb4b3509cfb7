"""A process that is to be killed is known by its pid and its start time: the pid alone may be somebody else's by now.

``delete --force`` kills what a create that hangs waits for, and pyoci itself, by what the journal of that create says.
"""

import re
import signal
import subprocess

import pytest

from tests.helpers_leaks import alive, cgroups
from tests.helpers_runtime import wait_until

pytestmark = [pytest.mark.requires("root"), pytest.mark.usefixtures("pyoci_alone")]


@pytest.fixture
def stranger():
    """A process that pyoci has nothing to do with; it leads a group, as a hook does."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def hanging_create(runtime, bundle):
    """Start a create whose hook does not end; return its process when the hook runs."""
    mark = bundle.path / "mark"
    script = f"touch {mark}; exec sleep 60"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]}
    container = runtime.container(bundle)
    call = runtime.spawn("create", "--bundle", bundle.write(), bundle.id, stdout=container.stdout.fd, stderr=container.stdout.fd)
    wait_until(mark.exists, "the hook runs")
    return call


def reuse(journal, pattern, pid):
    """Let the journal say that the processes whose keys match had this pid, and started when they did."""
    text, found = re.subn(rf'("(?:{pattern})":\s*)[1-9]\d*', rf"\g<1>{pid}", journal.read_text())
    assert found, f"no {pattern} in the journal: {text}"
    journal.write_text(text)


@pytest.mark.parametrize(("kind", "status"), [("hook", -signal.SIGKILL), ("pid", 1)])
def test_delete_spares_a_process_that_has_the_pid_of_one_of_ours(runtime, bundle, stranger, kind, status):
    """Without its hook pyoci fails by itself; when only the stage has gone it waits for the hook, and is killed."""
    call = hanging_create(runtime, bundle)
    reuse(runtime.root / bundle.id / "journal", kind, stranger.pid)
    runtime.call("delete", "--force", bundle.id).ok()
    assert call.wait(20) == status
    assert alive(stranger.pid)
    assert (runtime.entries(), cgroups(bundle.id)) == ([], [])


def test_delete_gives_up_where_nobody_it_knows_is_left(runtime, bundle, stranger):
    call = hanging_create(runtime, bundle)
    reuse(runtime.root / bundle.id / "journal", "hook|pid|owner", stranger.pid)
    runtime.call("delete", "--force", bundle.id).failed("in use by another program")
    assert alive(stranger.pid)
    call.terminate()
    assert call.wait(20) == 128 + signal.SIGTERM
