"""Change one thing at a time in the modules that security depends on, and print each change that no test notices.

    python -m tests.mutants [-v] [MODULE …]        all of modules.txt, or those that are named

A survivor means that a test is missing, unless explained.txt says why the change is none.  Every mutant runs in a copy
of the tree below build/mutants, by the package form of pyoci, so that nothing is built.  Exit status 1
when there are survivors, or explanations of what does not survive.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from tests.mutants.mutate import Mutant, mutants

HERE = Path(__file__).parent
TREE = HERE.parents[1]
WORK = TREE / "build" / "mutants"
COPIED = ("pyoci", "tests", "native", "spec", "bundles", "pyproject.toml")
# A mutant is a loop, which counts as noticed, when its tests take longer: in seconds, and as often as without it.
LEAST, FACTOR = 20.0, 4.0


class Explained(NamedTuple):
    """A line of explained.txt: a change that is none, or none that can be noticed."""

    module: str
    function: str
    change: str
    why: str

    def covers(self, module: str, mutant: Mutant) -> bool:
        """Return whether this is about a mutant; stars stand for anything, brackets for themselves."""
        pattern = self.change.replace("[", "[[]")
        return self.module == module and fnmatchcase(mutant.function, self.function) and fnmatchcase(mutant.change, pattern)


def rows(file: Path) -> Iterator[list[str]]:
    """Return the fields of each line, which are separated by `` | ``; lines that begin with # are comments."""
    for line in file.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield [part.strip() for part in line.split(" | ")]


class Workplace:
    """A copy of the tree for one worker."""

    def __init__(self) -> None:
        """Make the copy, without the build: the tests take the package then."""
        WORK.mkdir(parents=True, exist_ok=True)
        self.directory = tempfile.TemporaryDirectory(dir=WORK)
        self.root = Path(self.directory.name)
        self.root.chmod(0o755)
        for part in COPIED:
            source = TREE / part
            ignored = shutil.ignore_patterns("__pycache__", "rootfs")
            if source.is_dir():
                shutil.copytree(source, self.root / part, ignore=ignored, symlinks=True)
            else:
                shutil.copy2(source, self.root / part)
        self.clock = 1_000_000_000

    def notices(self, module: str, text: str, tests: list[str], deadline: float | None = None) -> bool:
        """Run the tests with another text of the module; the file gets a new time, by which bytecode is known."""
        file = self.root / module
        self.clock += 1
        file.write_text(text)
        os.utime(file, (self.clock, self.clock))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "OCI_RUNTIME": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, cwd=self.root, env=environment, start_new_session=True, **quiet) as process:  # type: ignore[call-overload]
            try:
                return bool(process.wait(deadline))
            except subprocess.TimeoutExpired:
                return True
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


class Hunt:
    """The mutants of all modules, and who of them has survived."""

    def __init__(self, tests: dict[str, list[str]], explained: list[Explained], workers: int, verbose: bool, only: str) -> None:
        """Take the tests of each module."""
        self.tests, self.explained, self.workers, self.verbose, self.only = tests, explained, workers, verbose, only
        self.local = threading.local()
        self.deadlines: dict[str, float] = {}
        self.survivors: dict[str, list[Mutant]] = defaultdict(list)

    def place(self) -> Workplace:
        """Return the workplace of this thread."""
        if not hasattr(self.local, "place"):
            self.local.place = Workplace()
        return self.local.place  # type: ignore[no-any-return]

    def measure(self, module: str) -> None:
        """Run the tests of a module as it is; how long they take is the measure for its mutants."""
        begin, tests = time.monotonic(), self.tests[module]
        if self.place().notices(module, (TREE / module).read_text(), tests):
            sys.exit(f"{module}: its tests fail without a mutation: {' '.join(tests)}")
        self.deadlines[module] = LEAST + FACTOR * (time.monotonic() - begin)

    def try_one(self, module: str, mutant: Mutant) -> None:
        """Try a mutant, and put the module back."""
        text = (TREE / module).read_text()
        noticed = self.place().notices(module, mutant.text, self.tests[module], self.deadlines[module])
        (self.place().root / module).write_text(text)
        if not noticed:
            self.survivors[module].append(mutant)
        if self.verbose:
            print(f"{'noticed ' if noticed else 'SURVIVES'} {module}:{mutant.line}: {mutant.change}", flush=True)

    def run(self) -> bool:
        """Try all; return whether each survivor is explained, and nothing else."""
        with ThreadPoolExecutor(self.workers, "worker") as pool:
            for module in self.tests:
                pool.submit(self.measure, module).result()
                found = [each for each in mutants((TREE / module).read_text()) if fnmatchcase(each.function, self.only)]
                for task in [pool.submit(self.try_one, module, mutant) for mutant in found]:
                    task.result()
                self.tell(module, len(found))
        return not any(self.unexplained(module) or self.idle(module) for module in self.tests)

    def unexplained(self, module: str) -> list[Mutant]:
        """Return the survivors that nobody has explained."""
        return [each for each in self.survivors[module] if not any(line.covers(module, each) for line in self.explained)]

    def idle(self, module: str) -> list[Explained]:
        """Return the explanations of the module that no survivor needs."""
        mine = [line for line in self.explained if line.module == module and self.only == "*"]
        return [line for line in mine if not any(line.covers(module, each) for each in self.survivors[module])]

    def tell(self, module: str, count: int) -> None:
        """Print what came of a module."""
        left, bad = len(self.survivors[module]), sorted(self.unexplained(module))
        print(f"{module}: {count} mutants, {count - left} noticed, {left - len(bad)} explained, {len(bad)} survive", flush=True)
        for mutant in bad:
            print(f"    {module}:{mutant.line}: {mutant.function}: {mutant.change}", flush=True)
        for line in self.idle(module):
            print(f"    explained, but noticed: {line.function}: {line.change}", flush=True)


def main() -> int:
    """Hunt in the modules that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Print the changes that no test notices.")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every mutant")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("-f", "--function", default="*", help="only in functions with this name; a star stands for anything")
    parser.add_argument("module", nargs="*", help="of modules.txt")
    options = parser.parse_args()
    tests = {module: words.split() for module, words in rows(HERE / "modules.txt")}
    for module in options.module:
        if module not in tests:
            parser.error(f"{module} is not in modules.txt")
    explained = [Explained(*row) for row in rows(HERE / "explained.txt")]
    wanted = {module: tests[module] for module in options.module or tests}
    return 0 if Hunt(wanted, explained, options.jobs, options.verbose, options.function).run() else 1


if __name__ == "__main__":
    sys.exit(main())
