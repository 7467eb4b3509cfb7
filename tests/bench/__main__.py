"""Time pyoci and its peers verb by verb: ``python -m tests.bench [--rounds N] [--view v2]``.

The runtimes take turns in every round, so that what else the machine does hits them alike; read the
ratios before the milliseconds.  ``cycle`` is create + start + state + kill + delete, with the wait for
the container's end between kill and delete left out.  ``--view v2`` runs everything in a private mount namespace
where /sys/fs/cgroup is cgroup v2 only, because some runtimes refuse hybrid hosts.  The state roots are on a tmpfs where
there is one, as /run is on a host; the bundles are on the disk.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NoReturn

from tests.bench.process import Failed, Output, become_subreaper, directories, end_of, milliseconds, peak_kib

TREE = Path(__file__).resolve().parents[2]
VERBS = ("run", "create", "start", "state", "exec", "kill", "delete")
VIEW = """mount --make-rprivate / && umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@" """

Times = dict[str, list[float]]


def make_bundle(path: Path, args: list[str], rootfs: Path) -> Path:
    """Make a bundle from bundles/hello that runs *args*."""
    config = json.loads((TREE / "bundles" / "hello" / "config.json").read_text())
    config["process"]["args"] = args
    config["root"]["path"] = str(rootfs)
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "bind"]
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    return path


class Runtime:
    """One runtime under measurement, with its own state root."""

    def __init__(self, name: str, program: str, scratch: Path, roots: Path) -> None:
        """Take a name for the table, the program's path, and where bundles and state roots are."""
        self.name = name
        self.scratch = scratch
        self.output = Output(scratch / f"{name}.stderr")
        self.base = [program, "--root", str(roots / f"{name}.root")]
        self.times: Times = defaultdict(list)
        self.container = f"bench-{name}-{os.getpid()}"

    def command(self, verb: str, *arguments: str) -> list[str]:
        """Give the command line of a verb for this runtime's container."""
        return [*self.base, verb, *arguments]

    def time(self, verb: str, *arguments: str) -> float:
        """Run a verb and note its time."""
        elapsed = milliseconds(self.command(verb, *arguments), self.output)
        self.times[verb].append(elapsed)
        return elapsed

    def round(self) -> None:
        """Run every verb once."""
        container = self.container
        pid_file = self.scratch / f"{self.name}.pid"
        self.time("run", "--bundle", str(self.scratch / "true"), container)
        total = self.time(
            "create", "--bundle", str(self.scratch / "sleep"), "--pid-file", str(pid_file), container
        )
        total += self.time("start", container)
        total += self.time("state", container)
        self.time("exec", container, "/bin/true")
        total += self.time("kill", container, "KILL")
        end_of(int(pid_file.read_text()))
        total += self.time("delete", container)
        self.times["cycle"].append(total)

    def memory(self) -> int:
        """Give the peak of a whole ``run``, in KiB."""
        arguments = self.command("run", "--bundle", str(self.scratch / "true"), self.container)
        return peak_kib(arguments, self.output, self.scratch)

    def clean(self) -> None:
        """Leave no container behind, whatever happened."""
        with contextlib.suppress(Failed):
            milliseconds(self.command("delete", "--force", self.container), self.output)


def table(runtimes: list[Runtime]) -> str:
    """Render minimum and median of each verb, and how the first runtime compares with the others."""
    first, *others = runtimes
    head = ["ms: min / median", *(r.name for r in runtimes), *(f"{first.name} : {r.name}" for r in others)]
    rows = [head]
    for verb in (*VERBS, "cycle"):
        medians = [statistics.median(r.times[verb]) for r in runtimes]
        row = [
            f"{min(r.times[verb]):.1f} / {median:.1f}" for r, median in zip(runtimes, medians, strict=True)
        ]
        rows.append([verb, *row, *(f"{medians[0] / median:.2f}" for median in medians[1:])])
    peaks = [r.memory() for r in runtimes]
    rows.append(
        [
            "peak memory of run, MiB",
            *(f"{peak / 1024:.1f}" for peak in peaks),
            *(f"{peaks[0] / peak:.2f}" for peak in peaks[1:]),
        ]
    )
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows[1:]])


def measure(runtimes: list[Runtime], rounds: int, output: Output) -> Times:
    """Let the runtimes and the floor take turns; a runtime that fails is told and dropped."""
    floor: Times = defaultdict(list)
    programs = {"/bin/true": ["/bin/true"], "python3 -I -S -c pass": ["/usr/bin/python3", "-I", "-S", "-c", "pass"]}
    programs |= {f"{runtime.name} --version": [runtime.base[0], "--version"] for runtime in runtimes}
    for turn in range(rounds + 1):
        for name, program in programs.items():
            floor[name].append(milliseconds(program, output))
        for runtime in list(runtimes):
            try:
                runtime.round()
            except (Failed, OSError) as error:
                print(f"{runtime.name} is left out: {error}", file=sys.stderr)
                runtime.clean()
                runtimes.remove(runtime)
            if turn == 0:
                runtime.times.clear()  # the first round only warms the caches
    return floor


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="tests.bench", description="time pyoci and its peers verb by verb")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--view", choices=("host", "v2"), default="host")
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME=PROGRAM")
    return parser.parse_args()


def chosen(options: list[str]) -> dict[str, str]:
    """Give the runtimes to compare: those asked for, or pyoci as it was built, runc and crun where they are."""
    if options:
        return dict(option.split("=", 1) for option in options)
    candidates = {"pyoci": str(TREE / "build" / "pyoci"), "runc": "runc", "crun": "crun"}
    paths = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = {name: shutil.which(program, path=paths) for name, program in candidates.items()}
    return {name: program for name, program in found.items() if program}


def in_view(module: str) -> NoReturn:
    """Start this program again where /sys/fs/cgroup is cgroup v2 only."""
    words = [word for word in sys.argv[1:] if word not in ("--view", "v2", "--view=v2")]
    again = [sys.executable, "-m", module, *words]
    os.execvp("unshare", ["unshare", "-m", "sh", "-c", VIEW, "sh", *again])


def main() -> None:
    """Measure and print."""
    options = parse()
    if options.view == "v2":
        in_view("tests.bench")
    become_subreaper()
    with directories() as (scratch, roots):
        subprocess.run([TREE / "bundles" / "rootfs", scratch / "rootfs"], check=True)
        make_bundle(scratch / "true", ["/bin/true"], scratch / "rootfs")
        make_bundle(scratch / "sleep", ["/bin/sleep", "1000"], scratch / "rootfs")
        runtimes = [Runtime(name, program, scratch, roots) for name, program in chosen(options.runtime).items()]
        everything = list(runtimes)
        try:
            floor = measure(runtimes, options.rounds, Output(scratch / "floor.stderr"))
            if runtimes:
                print(table(runtimes))
        finally:
            for runtime in everything:
                runtime.clean()
    print("\nof which the start of a program alone:")
    for name, times in floor.items():
        print(f"  {name}: {min(times):.1f} / {statistics.median(times):.1f}")


if __name__ == "__main__":
    main()
