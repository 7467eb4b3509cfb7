"""How many pages a call takes: page faults, peak memory, and the memory that it alone has when it ends."""

import ctypes
import os
import re
from pathlib import Path

from tests.bench.process import ENVIRONMENT, Failed, check, minor_faults, peak_kib
from tests.bench.runtimes import Bench, Runtime, table

PTRACE_CONT, PTRACE_SEIZE = 7, 0x4206
PTRACE_O_TRACEEXIT, PTRACE_EVENT_EXIT = 0x40, 6
PRIVATE_DIRTY = re.compile(r"^Private_Dirty: +(\d+) kB$", re.MULTILINE)

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def measure(bench: Bench) -> str:
    """Measure `--version`, `state` and `run`."""
    pids = {}
    for runtime in bench.runtimes:
        _, pids[runtime.name] = runtime.launch("create", runtime.container)
        runtime.samples.clear()
    everyone = list(bench.runtimes)
    try:
        bench.take_turns(each_call)
    finally:
        for runtime in everyone:
            runtime.remove(runtime.container, pids[runtime.name])
    return table(bench.runtimes, "pages of 4 KiB, or KiB")


def each_call(runtime: Runtime) -> None:
    """Measure each call three times, since each measurement starts it in another way."""
    calls = {
        "--version": [runtime.base[0], "--version"],
        "state": runtime.command("state", runtime.container),
        "run": runtime.command("run", "--bundle", str(runtime.scratch / "true"), f"{runtime.container}-run"),
    }
    for name, argv in calls.items():
        runtime.note(f"{name}: page faults", minor_faults(argv, runtime.output, runtime.scratch))
        runtime.note(f"{name}: private dirty, KiB", private_dirty_kib(argv, runtime))
        runtime.note(f"{name}: peak, KiB", peak_kib(argv, runtime.output, runtime.scratch))


def private_dirty_kib(argv: list[str], runtime: Runtime) -> int:
    """Return the memory that a program has written, and shares with no other, when it ends.

    The kernel stops a traced process before its memory is taken down: see PTRACE_EVENT_EXIT in ptrace(2).
    """
    reader, writer = os.pipe()
    actions = [*runtime.output.actions(), (os.POSIX_SPAWN_DUP2, reader, 0)]
    waiting = ["/bin/sh", "-c", 'read go; exec "$@"', "sh", *argv]
    pid = os.posix_spawn(waiting[0], waiting, ENVIRONMENT, file_actions=actions)
    os.close(reader)
    ptrace(PTRACE_SEIZE, pid, PTRACE_O_TRACEEXIT)
    os.write(writer, b"go\n")
    os.close(writer)
    found = None
    while True:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            break
        event = status >> 16
        if event == PTRACE_EVENT_EXIT:
            found = PRIVATE_DIRTY.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
        # A signal is handed on; the stops of ptrace itself are not one.
        ptrace(PTRACE_CONT, pid, 0 if event else os.WSTOPSIG(status))
    check(argv, status, runtime.output)
    if not found:
        raise Failed(f"{' '.join(argv)}: ended without a stop")
    return int(found[1])


def ptrace(request: int, pid: int, data: int) -> None:
    """Call ptrace(2)."""
    if libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace of process {pid}, request {request:#x}")
