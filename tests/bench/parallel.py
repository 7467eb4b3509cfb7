"""How many containers a second are run when several callers run them at once."""

import os
import time

from tests.bench.process import check, start
from tests.bench.runtimes import Bench, Runtime, table

CALLERS = (1, 2, 4, 8)
RUNS = 24  # by all callers together, each round


def measure(bench: Bench) -> str:
    """Let 1, 2, 4 and 8 callers run containers, each one after another."""
    bench.take_turns(each_number_of_callers)
    return table(bench.runtimes, "runs a second")


def each_number_of_callers(runtime: Runtime) -> None:
    """Take the runs a second of each number of callers."""
    for callers in CALLERS:
        runtime.note(f"{callers} at once", RUNS / seconds(runtime, callers))


def seconds(runtime: Runtime, callers: int) -> float:
    """Keep this number of runs going until all are done; return how long that took."""
    waiting = [
        runtime.command("run", "--bundle", str(runtime.scratch / "true"), f"{runtime.container}-{turn}")
        for turn in range(RUNS)
    ]
    running: dict[int, list[str]] = {}
    begin = time.perf_counter()
    while waiting or running:
        while waiting and len(running) < callers:
            argv = waiting.pop()
            running[start(argv, runtime.output)] = argv
        pid, status = os.wait()
        ended = running.pop(pid, None)
        if ended:  # else a process that this one, the subreaper, has adopted
            check(ended, status, runtime.output)
    return time.perf_counter() - begin
