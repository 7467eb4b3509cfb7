"""Where the time of ``run`` goes: ``python -m tests.bench.phases [--rounds N] [--view v2] [--runtime NAME=PROGRAM]``.

The kernel's event tracing (ftrace) notes the moments at which a phase ends, alike for every runtime.  Only a few
calls are noted, so a run that is traced takes hardly longer than another: both times are printed.
"""

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.bench.process import ENVIRONMENT, Output, directories, milliseconds
from tests.bench.runtimes import TREE, in_view, make_bundle

TRACING = Path("/sys/kernel/tracing/instances")
LINE = re.compile(r"^ *(.+)-(\d+) +\[\d+\] \S+ +(\d+\.\d+): (.*)$")

# Each phase ends where the runtime (R) or the process that becomes the container (C) comes to a call; they follow one
# another, and what the other process does meanwhile is not added: only what the caller waits for counts.
PYOCI = (
    ("start of the program, imports", "R", "sys_openat("),
    ("reading and checking config.json", "R", "sys_mkdir("),
    ("state directory", "R", "sys_mkdir("),
    ("cgroup: directory, limits, device program", "R", "sys_memfd_create("),
    ("starting the stage in its PID namespace", "R", "sys_clone3 -> "),
    ("plan and its encoding; meanwhile the other namespaces", "R", "sys_sendmsg("),
    ("mounts, devices, masks, pivot", "C", "sys_pivot_root("),
    ("identity, up to the gate", "R", "sys_rename("),
    ("state recorded; start, up to the program", "C", "sched_process_exec: filename=/bin/true"),
    ("the program", "C", "sys_exit_group("),
    ("end of its namespaces", "R", "sys_waitid("),
    ("deleting the container", "R", "sys_exit_group("),
    ("end of the process", "R", "sched_process_exit: comm=pyoci"),
)
CRUN = (
    ("start of the program, of its sealed copy, config.json", "R", "sys_mkdir("),
    ("state directory", "R", "sys_mkdir("),
    ("cgroup: directory", "R", "sys_clone3("),
    ("namespaces, mounts, pivot", "C", "sys_pivot_root("),
    ("device program, identity, state, up to the program", "C", "sched_process_exec: filename=/bin/true"),
    ("the program", "C", "sys_exit_group("),
    ("end of its namespaces", "R", "sys_wait4("),
    ("deleting the container", "R", "sys_exit_group("),
    ("end of the process", "R", "sched_process_exit: comm=crun"),
)


class Event(NamedTuple):
    """Something that a traced process did: who, when in milliseconds, what."""

    pid: int
    time: float
    what: str


@contextlib.contextmanager
def instance(phases: tuple[tuple[str, str, str], ...]) -> Iterator[Path]:
    """Make a tracing instance of our own that notes what the phases look for."""
    place = TRACING / f"pyoci-bench-{os.getpid()}"
    place.mkdir()
    try:
        (place / "trace_clock").write_text("mono")
        (place / "options" / "event-fork").write_text("1")
        for _, _, what in phases:
            group, name = ("sched", what.split(":")[0]) if what.startswith("sched") else ("syscalls", what[4:])
            if "->" in name:
                name = f"sys_exit_{name.split()[0]}"
            elif group == "syscalls":
                name = f"sys_enter_{name.rstrip('(')}"
            (place / "events" / group / name / "enable").write_text("1")
        (place / "events" / "sched" / "sched_process_exec" / "enable").write_text("1")
        yield place
    finally:
        place.rmdir()


def events_of(place: Path, argv: list[str], output: Output) -> list[Event]:
    """Run a command; return what it and its children did, from its execve(2) on."""
    waiting = ["/bin/sh", "-c", 'read go; exec "$@"', "sh", *argv]
    reader, writer = os.pipe()
    pid = os.posix_spawn(
        waiting[0], waiting, ENVIRONMENT, file_actions=[*output.actions(), (os.POSIX_SPAWN_DUP2, reader, 0)]
    )
    os.close(reader)
    (place / "trace").write_text("")
    (place / "set_event_pid").write_text(str(pid))
    os.write(writer, b"go\n")
    os.close(writer)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(argv)}: {output.errors.read_text()}")
    found = [match for line in (place / "trace").read_text().splitlines() if (match := LINE.match(line))]
    events = [Event(int(match[2]), float(match[3]) * 1000, match[4]) for match in found]
    starts = [i for i, event in enumerate(events) if event.what.startswith("sched_process_exec: filename=" + argv[0])]
    return events[starts[0] :]


def durations(events: list[Event], phases: tuple[tuple[str, str, str], ...]) -> list[float]:
    """Return the milliseconds of each phase."""
    runtime, before, at, found = events[0].pid, events[0].time, 1, []
    for phase, who, what in phases:
        mine = (lambda event: event.pid == runtime) if who == "R" else (lambda event: event.pid != runtime)
        at = next((i for i in range(at, len(events)) if events[i].what.startswith(what) and mine(events[i])), -1)
        if at < 0:
            raise SystemExit(f"the trace does not have the end of: {phase}")
        found.append(events[at].time - before)
        before, at = events[at].time, at + 1
    return found


def measure(name: str, program: str, scratch: Path, roots: Path, rounds: int) -> None:
    """Trace one runtime, in turns with untraced runs, and print its table."""
    phases = CRUN if name == "crun" else PYOCI
    output = Output(scratch / "stderr")
    run = [program, "--root", str(roots / f"{name}.root"), "run", "--bundle", str(scratch / "true"), "phases"]
    milliseconds(run, output)
    with instance(phases) as place:
        plain, rows = [], []
        for _ in range(rounds):
            plain.append(milliseconds(run, output))
            rows.append(durations(events_of(place, run, output), phases))
    whole = statistics.median(map(sum, rows))
    print(f"\n{name}: {whole:.1f} ms traced, {statistics.median(plain):.1f} ms not\n")
    print("| phase | ms | min |\n|---|---|---|")
    for index, (phase, _, _) in enumerate(phases):
        times = [row[index] for row in rows]
        print(f"| {phase} | {statistics.median(times):.2f} | {min(times):.2f} |")


def main() -> None:
    """Measure each runtime that is asked for; pyoci of the tree by default."""
    parser = argparse.ArgumentParser(prog="tests.bench.phases", description="where the time of run goes")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--view", choices=("host", "v2"), default="host")
    parser.add_argument("--runtime", action="append", metavar="NAME=PROGRAM")
    options = parser.parse_args()
    if options.view == "v2":
        in_view("tests.bench.phases")
    if not TRACING.is_dir():
        sys.exit(f"needs root and the kernel's event tracing: no {TRACING}")
    with directories() as (scratch, roots):
        subprocess.run([TREE / "bundles" / "rootfs", scratch / "rootfs"], check=True)
        make_bundle(scratch / "true", ["/bin/true"], scratch / "rootfs")
        for runtime in options.runtime or [f"pyoci={TREE / 'build' / 'pyoci'}"]:
            name, _, program = runtime.partition("=")
            measure(name, program, scratch, roots, options.rounds)


if __name__ == "__main__":
    main()
