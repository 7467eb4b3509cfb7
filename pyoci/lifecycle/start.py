"""start: the gate is opened, and the stage runs the program."""

import os

from pyoci.cgroups import oom
from pyoci.errors import Error, HookError, StateError, wrap
from pyoci.lifecycle import hooks, recovery
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.state import State
from pyoci.lifecycle.status import OPEN_GATE, require, status_of
from pyoci.log import log
from pyoci.native import lib
from pyoci.signals import Signals
from pyoci.stage.conversation import tell_step
from pyoci.stage.failure import failure
from pyoci.stage.protocol import read_report

OPEN_REPORTS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


def start(directory: Directory, state: State, signals: Signals) -> None:
    """Open the gate and wait until the program runs; then run the poststart hooks.  The lock is held.

    Raises:
        StateError: the container is not waiting to be started.
        Error: the program could not be run, or a hook failed; the container is stopped or gone then.
    """
    require("start", status_of(directory, state))
    source = directory.source(state.document)
    if not state.hasProcess:
        refusal = StateError("cannot start a container that has no process", "/process")
        refusal.locate(source)
        raise refusal
    cgroup = state.control_group()
    killed_before = 0 if cgroup.is_own else oom.kills(cgroup.paths())
    reports = _open_gate(directory)
    try:
        with source:
            executing = _await_program(directory, reports, signals)
    except HookError as error:
        recovery.undo(directory, state, signals).tell(error)
        raise
    if not executing:
        why = " for lack of memory" if oom.kills(cgroup.paths()) > killed_before else ""
        raise Error(f"the container's init process was killed{why} before its program was run")
    for name in ("gate", "status"):
        os.unlink(name, dir_fd=directory.fd)
    if "poststart" in state.hooks:
        _run_poststart(directory, state, signals)


def _run_poststart(directory: Directory, state: State, signals: Signals) -> None:
    try:
        with directory.source(state.document):
            config = directory.config(state.document)
            hooks.run(config, "poststart", state.public("running"), signals, directory.note_hook)
    except Error as error:
        recovery.undo(directory, state, signals).tell(error)
        raise


def _open_gate(directory: Directory) -> int:
    """Open the gate; return a descriptor of the FIFO that the stage reports to."""
    try:
        reports = os.open("status", OPEN_REPORTS, dir_fd=directory.fd)
        gate = os.open("gate", OPEN_GATE, dir_fd=directory.fd)
        os.write(gate, bytes([lib.GATE_TRACED if log.wants("debug") else lib.GATE_OPEN]))
        os.close(gate)
    except OSError as error:
        raise wrap("opening the start gate", error) from error
    return reports


def _await_program(directory: Directory, reports: int, signals: Signals) -> bool:
    """Read what the stage says between the gate and the program; return whether it came to run that.

    Raises:
        Error: a step failed.
    """
    executing = False
    try:
        while True:
            signals.wait((reports,))
            report = read_report(reports)
            if report is None:
                return executing
            if report.kind == lib.REPORT_FAILED:
                raise failure(report, directory.step(report.step))
            if report.kind == lib.REPORT_STEP:
                tell_step(report, directory.step(report.step))
            executing = executing or report.kind == lib.REPORT_EXECUTING
    finally:
        os.close(reports)
