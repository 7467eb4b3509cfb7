"""How long each verb takes, by the clock and of the processors."""

from tests.bench.process import Output, Usage, end_of, milliseconds
from tests.bench.runtimes import Bench, Runtime, number, table


def measure(bench: Bench) -> str:
    """Call every verb once a round, and start the programs that show what a start alone costs."""
    output = Output(bench.scratch / "floor.stderr")
    programs = {"/bin/true": ["/bin/true"], "python3 -I -S -c pass": ["/usr/bin/python3", "-I", "-S", "-c", "pass"]}
    programs |= {f"{runtime.name} --version": [runtime.base[0], "--version"] for runtime in bench.runtimes}
    floor: dict[str, list[float]] = {name: [] for name in programs}

    def starts() -> None:
        for name, program in programs.items():
            floor[name].append(milliseconds(program, output))

    bench.take_turns(every_verb, starts)
    lines = [f"  {name}: {number(min(t))} / {number(sorted(t)[len(t) // 2])}" for name, t in floor.items()]
    return "\n".join([table(bench.runtimes, "ms"), "\nof which the start of a program alone:", *lines])


def every_verb(runtime: Runtime) -> None:
    """Call every verb once.

    ``cycle`` is create + start + state + kill + delete, without the wait for the container's end between
    kill and delete.
    """
    container = runtime.container
    runtime.time("run", "--bundle", str(runtime.scratch / "true"), container)
    created, pid = runtime.launch("create", container)
    cycle = [created, runtime.time("start", container), runtime.time("state", container)]
    runtime.time("exec", container, "/bin/true")
    cycle.append(runtime.time("kill", container, "KILL"))
    end_of(pid)
    cycle.append(runtime.time("delete", container))
    whole = Usage(sum(used.wall for used in cycle), sum(used.cpu for used in cycle))
    runtime.note("cycle", whole.wall)
    runtime.note("cycle, processor", whole.cpu)
