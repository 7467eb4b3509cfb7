"""System calls that fail: whichever of pyoci's own it is, create and run end with one line, and nothing is left behind.

strace(1) lets one call after the other fail, and follows pyoci but none of its children.
"""

import collections
import errno
import time

import pytest

from tests.helpers_leaks import cgroups, processes_since, reap
from tests.helpers_runtime import wait_until

pytestmark = [pytest.mark.requires("root", "strace"), pytest.mark.usefixtures("one_file")]
# What cannot fail, or not this way, and what happens before pyoci's own code runs.
EXEMPT = {
    "close", "exit_group", "brk", "munmap", "mprotect", "execve", "getpid", "getuid", "geteuid", "getegid", "gettid",
    "rt_sigaction", "rt_sigprocmask", "sigaltstack", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
    "sysinfo", "getrandom", "uname",
}  # fmt: skip
ROUNDS, BUDGET = 9, 18.0


class Call:
    """One system call of a trace: its name, how many of that name came before it plus one, and the line."""

    def __init__(self, name: str, number: int, line: str) -> None:
        """Take the parts."""
        self.name, self.number, self.line = name, number, line


def traced(runtime, words, trace, *inject):
    """Call the runtime under strace."""
    plain, runtime.command = runtime.command, ["strace", "-o", str(trace), *inject, *runtime.command]
    try:
        return runtime.call(*words, meanwhile=reap)
    finally:
        runtime.command = plain


def calls(trace):
    """Return the calls that can fail."""
    seen, found = collections.Counter(), []
    for line in trace.read_text(errors="replace").splitlines():
        name, parenthesis, _ = line.partition("(")
        seen[name] += 1
        if parenthesis and name not in EXEMPT:
            found.append(Call(name, seen[name], line))
    return found


def rounds(items):
    """All items, round after round: the time may end before the last, and should have met all of a create by then."""
    return [item for first in range(ROUNDS) for item in items[first::ROUNDS]]


class Faults:
    """The runs with a fault in them, and what is demanded of each."""

    tried = 0

    def __init__(self, runtime, bundle, verb, directory):
        """Run it once without a fault."""
        self.runtime, self.bundle, self.directory = runtime, bundle, directory
        self.words = (verb, "--bundle", bundle.args("true").write(), bundle.id)
        assert traced(runtime, self.words, directory / "whole").status == 0
        runtime.call("delete", "--force", bundle.id, meanwhile=reap).ok()
        self.calls = calls(directory / "whole")

    def fail(self, call, number):
        """Let one call fail; give how pyoci ended, having demanded one line and no process."""
        self.tried += 1
        inject = ("-e", f"inject={call.name}:error={errno.errorcode[number]}:when={call.number}")
        result = traced(self.runtime, self.words, self.directory / "cut", *inject)
        where = f"{call.line}: {errno.errorcode[number]}: {result}"
        if result.status:
            result.failed()
            assert "internal error" not in result.err, where
        else:
            assert result.err == "", where
        return result, where

    def clean(self, where):
        """Demand that nothing is left, when those that end have had a moment for it."""
        wait_until(lambda: not processes_since(self.runtime.others), where, 5.0)
        assert (self.runtime.entries(), cgroups(self.bundle.id)) == ([], []), where

    def tell(self, capsys):
        """Print how many of the calls have failed: the time may have ended before."""
        with capsys.disabled():
            print(f"\n    {self.words[0]}: {self.tried} of {len(self.calls)} calls have failed")

    def delete(self):
        """Take back what a call that succeeded has made."""
        self.runtime.call("delete", "--force", self.bundle.id, meanwhile=reap).ok()


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EIO])
def test_create(runtime, bundle, tmp_path, capsys, number):
    faults, end = Faults(runtime, bundle, "create", tmp_path), time.monotonic() + BUDGET / 2
    statuses = collections.Counter()
    for call in rounds(faults.calls):
        result, where = faults.fail(call, number)
        statuses[result.status] += 1
        if result.status == 0:  # done without, by design: /etc/passwd for the owner's name, a buffer …
            faults.delete()
        faults.clean(where)
        if time.monotonic() > end:
            break
    faults.tell(capsys)
    assert 3 * statuses[1] > statuses[0], statuses  # of those that a slow machine gets to


def test_run(runtime, bundle, tmp_path, capsys):
    """When the program has run, the removal may fail: then enough is left for delete to take it back."""
    faults, end = Faults(runtime, bundle, "run", tmp_path), time.monotonic() + BUDGET
    ended = next(call for call in faults.calls if call.name == "waitid")
    after = faults.calls[faults.calls.index(ended) + 1 :]
    for call in rounds(faults.calls):
        result, where = faults.fail(call, errno.ENOMEM)
        if result.status and call in after:
            faults.delete()
        faults.clean(where)
        if time.monotonic() > end:
            break
    faults.tell(capsys)


def test_a_wait_that_fails_leaves_no_program_running(runtime, bundle, tmp_path):
    faults = Faults(runtime, bundle, "run", tmp_path)
    faults.words = ("run", "--bundle", bundle.args("wait").write(), bundle.id)
    ended = next(call for call in faults.calls if call.name == "waitid")
    waiting = [call for call in faults.calls[: faults.calls.index(ended)] if call.name == "poll"]
    result, where = faults.fail(waiting[-1], errno.ENOMEM)
    assert result.status == 1, where
    faults.clean(where)


def test_a_process_that_is_not_to_be_seen(runtime, bundle, tmp_path):
    """Its entry in /proc is missing while it lives: nobody waits for its end."""
    faults = Faults(runtime, bundle, "create", tmp_path)
    call = [call for call in faults.calls if "/stat\"" in call.line and call.name == "openat"][-1]
    result, where = faults.fail(call, errno.ENOENT)
    assert result.status == 1, where
    faults.clean(where)
