"""The runtimes that are compared, the bundles that they run, and the table of what was measured."""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tests.bench.process import Failed, Output, Usage, directories, end_of, usage

TREE = Path(__file__).resolve().parents[2]
VIEW = """mount --make-rprivate / && umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@" """


def make_bundle(path: Path, args: list[str], rootfs: Path, **more: Any) -> Path:
    """Make a bundle from bundles/hello that runs *args*, with *more* members of config.json."""
    config = json.loads((TREE / "bundles" / "hello" / "config.json").read_text())
    config["process"]["args"] = args
    config["root"]["path"] = str(rootfs)
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "bind"]
    config["mounts"] += more.pop("mounts", [])
    config["process"]["env"] += more.pop("env", [])
    config.update(more)
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    return path


class Runtime:
    """One runtime under measurement, with its own state root and what was measured of it."""

    def __init__(self, name: str, program: str, scratch: Path, roots: Path) -> None:
        """Take a name for the table, the program's path, and where bundles and state roots are."""
        self.name = name
        self.scratch = scratch
        self.output = Output(scratch / f"{name}.stderr")
        self.base = [program, "--root", str(roots / f"{name}.root")]
        self.samples: dict[str, list[float]] = defaultdict(list)
        self.container = f"bench-{name}-{os.getpid()}"
        self.pid_file = scratch / f"{name}.pid"

    def command(self, verb: str, *arguments: str) -> list[str]:
        """Return the command line of a verb for this runtime's state root."""
        return [*self.base, verb, *arguments]

    def call(self, verb: str, *arguments: str) -> Usage:
        """Run a verb to its end."""
        return usage(self.command(verb, *arguments), self.output)

    def note(self, what: str, value: float) -> None:
        """Keep a measured value."""
        self.samples[what].append(value)

    def time(self, verb: str, *arguments: str, what: str = "") -> Usage:
        """Run a verb, and keep its times as *what*, else by the verb's name."""
        used = self.call(verb, *arguments)
        self.note(what or verb, used.wall)
        self.note(f"{what or verb}, processor", used.cpu)
        return used

    def launch(self, verb: str, container: str, *options: str, what: str = "") -> tuple[Usage, int]:
        """Let create or run make a container that sleeps; return the times and the container's pid."""
        bundle = str(self.scratch / "sleep")
        used = self.time(verb, *options, "--bundle", bundle, "--pid-file", str(self.pid_file), container, what=what)
        return used, int(self.pid_file.read_text())

    def remove(self, container: str, pid: int) -> None:
        """Kill a container, reap its process, and delete it."""
        self.call("kill", container, "KILL")
        end_of(pid)
        self.call("delete", container)

    def clean(self) -> None:
        """Leave no container behind, whatever happened."""
        with contextlib.suppress(Failed):
            self.call("delete", "--force", self.container)


class Bench(NamedTuple):
    """What a measure works with: the runtimes, how often each has its turn, and a directory."""

    runtimes: list[Runtime]
    rounds: int
    scratch: Path

    def take_turns(self, turn: Callable[[Runtime], None], between: Callable[[], None] = lambda: None) -> None:
        """Let each runtime have its turn in every round; one that fails is named and dropped.

        What else the machine does hits them alike then.  The first round fills caches and does not count.
        """
        for number in range(self.rounds + 1):
            between()
            for runtime in list(self.runtimes):
                known = {what: len(values) for what, values in runtime.samples.items()}
                try:
                    turn(runtime)
                except (Failed, OSError) as error:
                    print(f"{runtime.name} is left out: {error}", file=sys.stderr)
                    runtime.clean()
                    self.runtimes.remove(runtime)
                if number == 0:
                    for what, values in runtime.samples.items():
                        del values[known.get(what, 0) :]


def table(runtimes: list[Runtime], unit: str) -> str:
    """Render least and median of each measured thing, and the ratios of the first runtime's medians to the others'."""
    if not runtimes:
        return "no runtime is left"
    first, *others = runtimes
    head = [f"{unit}: least / median", *(r.name for r in runtimes), *(f"{first.name} : {r.name}" for r in others)]
    rows = [head, ["---"] * len(head)]
    for what in first.samples:
        medians = [statistics.median(r.samples[what]) for r in runtimes]
        cells = [f"{number(min(r.samples[what]))} / {number(m)}" for r, m in zip(runtimes, medians, strict=True)]
        rows.append([what, *cells, *(f"{medians[0] / median:.2f}" for median in medians[1:])])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def number(value: float) -> str:
    """Render a value with as many digits as tell something."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def chosen(options: list[str]) -> dict[str, str]:
    """Return the programs to compare: those asked for, or pyoci as it was built, runc and crun where they are."""
    paths = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if options:
        candidates = dict(option.split("=", 1) for option in options)
    else:
        candidates = {"pyoci": str(TREE / "build" / "pyoci"), "runc": "runc", "crun": "crun"}
    found = {name: shutil.which(program, path=paths) for name, program in candidates.items()}
    missing = [name for name, program in found.items() if not program]
    if options and missing:
        sys.exit(f"tests.bench: not found: {', '.join(missing)}")
    return {name: os.path.realpath(program) for name, program in found.items() if program}


@contextlib.contextmanager
def bench(options: list[str], rounds: int) -> Iterator[Bench]:
    """Make the runtimes, and the bundles `true` and `sleep`; remove all of it in the end."""
    with directories() as (scratch, roots):
        subprocess.run([TREE / "bundles" / "rootfs", scratch / "rootfs"], check=True)
        make_bundle(scratch / "true", ["/bin/true"], scratch / "rootfs")
        make_bundle(scratch / "sleep", ["/bin/sleep", "1000"], scratch / "rootfs")
        runtimes = [Runtime(name, program, scratch, roots) for name, program in chosen(options).items()]
        try:
            yield Bench(list(runtimes), rounds, scratch)
        finally:
            for runtime in runtimes:
                runtime.clean()


def in_view(module: str) -> NoReturn:
    """Start this program again where /sys/fs/cgroup is cgroup v2 only."""
    words = [word for word in sys.argv[1:] if word not in ("--view", "v2", "--view=v2")]
    again = [sys.executable, "-m", module, *words]
    os.execvp("unshare", ["unshare", "-m", "sh", "-c", VIEW, "sh", *again])
