"""Compare pyoci with its peers: ``python -m tests.bench [--measure NAME] [--rounds N] [--view v2]``.

The runtimes take turns in every round, so that what else the machine does hits them alike; read the
ratios before the milliseconds.  ``--view v2`` runs everything in a private mount namespace where /sys/fs/cgroup
is cgroup v2 only, because some runtimes refuse hybrid hosts.  The state roots are on a tmpfs where there is one, as /run
is on a host; the bundles are on the disk.
"""

import argparse
import os
from collections.abc import Callable

from tests.bench import large, many, memory, parallel, verbs
from tests.bench.process import become_subreaper
from tests.bench.runtimes import Bench, bench, in_view

MEASURES: dict[str, tuple[str, Callable[[Bench], str]]] = {
    "run": ("every verb, by the clock and of the processors", verbs.measure),
    "parallel": ("runs a second at 1, 2, 4 and 8 callers", parallel.measure),
    "many": ("list and create with 0, 100 and 300 containers alive", many.measure),
    "mounts": ("run with 300 tmpfs mounts", large.measure_mounts),
    "environment": ("run with 10,000 environment variables", large.measure_environment),
    "annotations": ("run with 30,000 annotations", large.measure_annotations),
    "memory": ("page faults and memory of --version, state and run", memory.measure),
}


def parse() -> argparse.Namespace:
    """Read the command line."""
    measures = "; ".join(f"{name}: {meaning}" for name, (meaning, _) in MEASURES.items())
    parser = argparse.ArgumentParser(prog="tests.bench", description="compare pyoci with its peers", epilog=measures)
    parser.add_argument("--measure", action="append", choices=MEASURES, help="may be given again; run by default")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--view", choices=("host", "v2"), default="host")
    parser.add_argument(
        "--runtime", action="append", default=[], metavar="NAME=PROGRAM", help="the first is the one compared"
    )
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    if options.view == "v2":
        in_view("tests.bench")
    become_subreaper()
    for name in options.measure or ["run"]:
        with bench(options.runtime, options.rounds) as prepared:
            before = os.getloadavg()[0]
            shown = MEASURES[name][1](prepared)
            print(f"## {name}: {MEASURES[name][0]}\n\n{shown}\n")
            print(f"load of the machine: {before:.1f} before, {os.getloadavg()[0]:.1f} after", flush=True)


if __name__ == "__main__":
    main()
