"""Count pyoci's instructions: ``python -m tests.bench.instructions [--view v2] [--runtime pyoci-NAME=PROGRAM]``.

callgrind's counts do not change with what else the machine does, so two versions can be compared by one run of
each.  A verb whose system calls valgrind does not know has no count: of pyoci these are kill and delete (pidfd_open(2))
and create, run and exec (clone3(2)).  What the latter do first is counted as ``plan``: read, check, plan, and print.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

from tests.bench.process import ENVIRONMENT, become_subreaper, directories, end_of
from tests.bench.runtimes import TREE, Runtime, in_view, make_bundle

COLLECTED = re.compile(r"Collected : (\d+)")


def count(argv: list[str]) -> int | None:
    """Run a program under callgrind; return the number of its instructions, or None where valgrind cannot."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        sys.exit("needs valgrind")
    command = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", *argv]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    found = COLLECTED.search(done.stderr)
    if "unhandled" in done.stderr:
        return None
    if done.returncode or not found:
        raise SystemExit(f"{' '.join(argv)}: status {done.returncode}: {done.stderr}")
    return int(found[1])


def counts(runtime: Runtime) -> dict[str, int | None]:
    """Count each verb that can be counted, on a container that was created without valgrind."""
    container, pid_file = runtime.container, runtime.scratch / "pid"
    found = {"--version": count([*runtime.base, "--version"])}
    if runtime.name.startswith("pyoci"):
        found["plan"] = count(runtime.command("plan", "--bundle", str(runtime.scratch / "sleep")))
    runtime.time("create", "--bundle", str(runtime.scratch / "sleep"), "--pid-file", str(pid_file), container)
    for verb in ("start", "state"):
        found[verb] = count(runtime.command(verb, container))
    found["kill"] = count(runtime.command("kill", container, "KILL"))
    if found["kill"] is None:
        runtime.time("kill", container, "KILL")
    end_of(int(pid_file.read_text()))
    found["delete"] = count(runtime.command("delete", container))
    return found


def main() -> None:
    """Count and print, in millions."""
    parser = argparse.ArgumentParser(prog="tests.bench.instructions", description="count instructions by verb")
    parser.add_argument("--view", choices=("host", "v2"), default="host")
    parser.add_argument("--runtime", action="append", default=[], metavar="NAME=PROGRAM")
    options = parser.parse_args()
    if options.view == "v2":
        in_view("tests.bench.instructions")
    become_subreaper()
    with directories() as (scratch, roots):
        subprocess.run([TREE / "bundles" / "rootfs", scratch / "rootfs"], check=True)
        make_bundle(scratch / "sleep", ["/bin/sleep", "1000"], scratch / "rootfs")
        print("| million instructions | version | plan | start | state | kill | delete |\n|---|---|---|---|---|---|---|")
        for each in options.runtime or [f"pyoci={TREE / 'build' / 'pyoci'}"]:
            name, _, program = each.partition("=")
            runtime = Runtime(name, os.path.realpath(program), scratch, roots)
            try:
                found = counts(runtime)
            finally:
                runtime.clean()
            verbs = ("--version", "plan", "start", "state", "kill", "delete")
            cells = [f"{number / 1e6:.1f}" if (number := found.get(verb)) else "" for verb in verbs]
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
