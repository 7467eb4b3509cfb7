"""How long `create` and `list` take when many containers are alive."""

from functools import partial

from tests.bench.process import Failed
from tests.bench.runtimes import Bench, Runtime, table

ALIVE = (0, 100, 300)  # of each runtime, so that the host has as many times more


def measure(bench: Bench) -> str:
    """Make more and more containers with each runtime; list them, and create and remove one beside them."""
    alive: dict[str, list[tuple[str, int]]] = {runtime.name: [] for runtime in bench.runtimes}
    everyone = list(bench.runtimes)
    try:
        for count in ALIVE:
            for runtime in bench.runtimes:
                have = alive[runtime.name]
                while len(have) < count:
                    name = f"{runtime.container}-{len(have)}"
                    have.append((name, runtime.launch("run", name, "--detach", what="fill")[1]))
            bench.take_turns(partial(create_and_list, count))
    finally:
        for runtime in everyone:
            remove_all(runtime, alive[runtime.name])
    for runtime in bench.runtimes:
        del runtime.samples["fill"], runtime.samples["fill, processor"]
    return table(bench.runtimes, "ms")


def create_and_list(count: int, runtime: Runtime) -> None:
    """Create one more container and remove it, then list the others."""
    _, pid = runtime.launch("create", runtime.container, what=f"create, {count} alive")
    runtime.remove(runtime.container, pid)
    runtime.time("list", what=f"list, {count} alive")


def remove_all(runtime: Runtime, containers: list[tuple[str, int]]) -> None:
    """Remove containers, whatever became of them."""
    for name, pid in containers:
        try:
            runtime.remove(name, pid)
        except Failed as error:
            print(f"{runtime.name}: {error}")
