"""The runtime under test, driven from outside as an engine drives it.

Every call has a deadline.  The test process is a subreaper (tests/runtime/conftest.py), so a container's init becomes
its child when the runtime's ``create`` has ended.
"""

import errno
import json
import os
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.helpers_bundle import PROBE, Bundle, probe_arguments

REPOSITORY = Path(__file__).resolve().parent.parent
SLOW_PLACES = ("uml", "uml-v1", "package")
DEADLINE = float(os.environ.get("OCI_TEST_DEADLINE", "30"))
NOT_OURS = {".empty-directory", ".cache"}  # crun keeps these in its state root
SMALL_ENVIRONMENT = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "XDG_RUNTIME_DIR": ""}


def default_command() -> list[str]:
    """pyoci as it is deployed: the one file that the build makes, or the launcher in its place."""
    built = REPOSITORY / "build" / "pyoci"
    return [str(built)] if built.exists() else package_command()


def newer_source() -> str:
    """Return the newest source when build/pyoci is older, as a path in the tree; else "", also when nothing is built."""
    built = REPOSITORY / "build" / "pyoci"
    patterns = ("pyoci/**/*.py", "pyoci/**/*.json", "native/**/*")
    found = [path for pattern in patterns for path in REPOSITORY.glob(pattern) if path.is_file() and "__pycache__" not in path.parts]
    newest = max(found, key=lambda path: path.stat().st_mtime)
    if not built.exists() or built.lstat().st_mtime >= newest.stat().st_mtime:
        return ""
    return str(newest.relative_to(REPOSITORY))


def package_command() -> list[str]:
    """pyoci as a package of the tree, whatever the directory and environment of the call."""
    return ["/usr/bin/env", f"PYTHONPATH={REPOSITORY}", "PYTHONSAFEPATH=1", sys.executable, "-m", "pyoci"]


class Stream:
    """A file in memory that stands for a caller's stdout or stderr: nobody has to read it for others to go on."""

    def __init__(self, name: str) -> None:
        """Make the file, open for appending."""
        self.fd = os.memfd_create(name)

    def text(self) -> str:
        """All that was written until now (bytes that are not UTF-8 are kept as surrogates)."""
        size = os.fstat(self.fd).st_size
        return os.pread(self.fd, size, 0).decode(errors="surrogateescape")

    def close(self) -> None:
        """Hand the descriptor back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Result:
    """What a finished call of the runtime gave."""

    def __init__(self, args: list[str], status: int, out: str, err: str) -> None:
        """Keep the parts."""
        self.args, self.status, self.out, self.err = args, status, out, err

    def __repr__(self) -> str:
        """Show everything, for pytest's messages."""
        return f"{shlex.join(self.args)} -> {self.status}\nstdout: {self.out!r}\nstderr: {self.err!r}"

    def ok(self) -> "Result":
        """Demand success and silence on stderr."""
        assert self.status == 0, self
        assert self.err == "", self
        return self

    def failed(self, *words: str, status: int = 1) -> str:
        """Demand a failure told in one line on stderr that has all of *words*; give the line."""
        assert self.status == status, self
        assert self.err.strip(), f"a failure without a word: {self}"
        assert "Traceback" not in self.err, self
        assert self.err.count("\n") == 1 and self.err.endswith("\n"), f"not one line: {self}"
        for word in words:
            assert word in self.err, f"no {word!r}: {self}"
        return self.err

    @property
    def lines(self) -> list[Any]:
        """stdout as JSON lines."""
        return json_lines(self.out)


def some(items: Sequence[Any]) -> Sequence[Any]:
    """Return every fourth item where the tier runs once more in a slow place: pyoci makes the same calls there."""
    return items[::4] if os.environ.get("PYOCI_TEST_PLACE") in SLOW_PLACES else items


def json_lines(text: str) -> list[Any]:
    """Parse complete lines of JSON."""
    return [json.loads(line) for line in text.splitlines()]


def wait_until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Poll until *condition* gives something true; give it."""
    end = time.monotonic() + deadline
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.005)
    return found


def wait_exit(pid: int, deadline: float = DEADLINE) -> int | None:
    """Wait for a process to end; give its exit code (128 + signal), None when it is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):  # EINVAL: it is being reaped at this moment
            return None
        raise
    try:
        ready = select.select([descriptor], [], [], deadline)[0]
        assert ready, f"process {pid} still runs after {deadline} s"
        found = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return None
    finally:
        os.close(descriptor)
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


class Runtime:
    """A runtime with a state root of its own."""

    def __init__(self, command: list[str], root: Path, others: set[int]) -> None:
        """Take the command words, the directory for ``--root``, and the pids that run below us already."""
        self.command, self.root, self.others = command, root, others
        self.containers: list[Container] = []
        self.calls: list[subprocess.Popen[bytes]] = []

    def words(self, *args: Any, options: tuple[str, ...] = ()) -> list[str]:
        """Return the whole command line of a call."""
        return [*self.command, "--root", str(self.root), *options, *[str(arg) for arg in args]]

    def spawn(self, *args: Any, fds: dict[int, int] | None = None, options: tuple[str, ...] = (), **popen: Any) -> Any:
        """Start a call and give the Popen; *fds* maps descriptors of the child to ours."""
        popen.setdefault("env", SMALL_ENVIRONMENT)
        popen.setdefault("stdin", subprocess.DEVNULL)
        if fds:
            # Sources are moved out of the way first, so that no target overwrites one.
            pairs = [(target, os.dup(source)) for target, source in fds.items()]
            high = [(target, _above(source, 200)) for target, source in pairs]
            popen["preexec_fn"] = lambda: [os.dup2(source, target) for target, source in high]
            popen["close_fds"] = False
        try:
            self.calls.append(subprocess.Popen(self.words(*args, options=options), **popen))
            return self.calls[-1]
        finally:
            for _, source in high if fds else []:
                os.close(source)

    def call(
        self,
        *args: Any,
        stdin: str | int | None = None,
        timeout: float = DEADLINE,
        out: Stream | None = None,
        meanwhile: Callable[[int], None] | None = None,
        **popen: Any,
    ) -> Result:
        """Run one call to its end; *meanwhile* is called over and over with its pid."""
        stdout, stderr = out or Stream("stdout"), Stream("stderr")
        source = Stream("stdin") if isinstance(stdin, str) else None
        if source:
            os.write(source.fd, str(stdin).encode())
            os.lseek(source.fd, 0, os.SEEK_SET)
            stdin = source.fd
        popen["stdin"] = subprocess.DEVNULL if stdin is None else stdin
        popen.setdefault("stdout", stdout.fd)
        popen.setdefault("stderr", stderr.fd)
        process = self.spawn(*args, **popen)
        try:
            _wait(process, timeout, meanwhile)
            return Result(process.args, process.returncode, stdout.text(), stderr.text())
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            said = f"{stdout.text()}\n{stderr.text()}"
            raise AssertionError(f"no end within {timeout} s: {shlex.join(process.args)}\n{said}") from None
        finally:
            for stream in (source, stderr, None if out else stdout):
                if stream:
                    stream.close()

    def end_calls(self) -> None:
        """Kill the calls that a failed test has left running."""
        for call in self.calls:
            if call.poll() is None:
                call.kill()
                call.wait()

    def container(self, bundle: Bundle) -> "Container":
        """Return the container of a bundle, not created yet."""
        found = Container(self, bundle)
        self.containers.append(found)
        return found

    def create(self, bundle: Bundle, *options: str, **call: Any) -> "Container":
        """Create the container; demand success and silence."""
        container = self.container(bundle)
        container.create(*options, **call).ok()
        return container

    def start(self, bundle: Bundle, *options: str, **call: Any) -> "Container":
        """Create and start."""
        container = self.create(bundle, *options, **call)
        container.start()
        return container

    def waiting(self, bundle: Bundle, *options: str, before: tuple[Any, ...] = (), **call: Any) -> "Container":
        """Create and start a container that runs *before* and then waits for signals; gives it when it waits."""
        container = self.start(bundle.args(*before, "wait"), *options, **call)
        container.until_ready()
        return container

    def run(self, bundle: Bundle, *options: str, **call: Any) -> Result:
        """Run in the foreground."""
        self.container(bundle)
        return self.call("run", *options, "--bundle", bundle.write(), bundle.id, **call)

    def probe(self, bundle: Bundle, *verbs: Any, options: tuple[str, ...] = (), **call: Any) -> list[Any]:
        """Run the probe's verbs in a container; give their lines."""
        result = self.run(bundle.args(*verbs), *options, **call)
        assert result.status == 0 and result.err == "", result
        return result.lines

    def report(self, bundle: Bundle, *options: str, **call: Any) -> dict[str, Any]:
        """Run ``probe report`` in a container; give what it saw."""
        result = self.run(bundle, *options, **call)
        assert result.status == 0 and result.err == "", result
        report: dict[str, Any] = result.lines[-1]
        return report

    def refuses(self, bundle: Bundle, *words: str, options: tuple[str, ...] = (), **call: Any) -> str:
        """Demand that ``create`` fails in one line with *words*, and that the id stays free."""
        self.container(bundle)
        line = self.call("create", *options, "--bundle", bundle.write(), bundle.id, **call).failed(*words)
        self.call("state", bundle.id).failed("does not exist")
        return line

    def entries(self) -> list[str]:
        """Names in the state root, without what crun keeps there."""
        return [name for name in os.listdir(self.root) if name not in NOT_OURS] if self.root.exists() else []


class Container:
    """One container of a Runtime."""

    def __init__(self, runtime: Runtime, bundle: Bundle) -> None:
        """Take the bundle, which also gives the id."""
        self.runtime, self.bundle, self.id = runtime, bundle, bundle.id
        self.stdout = Stream("container")
        self.init = 0

    def create(self, *options: str, **call: Any) -> Result:
        """Call create; nothing is demanded of the result."""
        call.setdefault("out", self.stdout)
        result = self.runtime.call("create", *options, "--bundle", self.bundle.write(), self.id, **call)
        if result.status == 0:
            self.init = self.pid
        return result

    def start(self) -> "Container":
        """Start; demand success and silence."""
        result = self.runtime.call("start", self.id).ok()
        assert result.out == "", result
        return self

    def call(self, verb: str, *args: Any, **call: Any) -> Result:
        """Call a verb that takes the id first."""
        return self.runtime.call(verb, self.id, *args, **call)

    def kill(self, *words: Any) -> None:
        """Send a signal; demand success and silence."""
        assert self.call("kill", *words).ok().out == ""

    def delete(self, *options: str) -> Result:
        """Delete; nothing is demanded."""
        return self.runtime.call("delete", *options, self.id)

    def state(self) -> dict[str, Any]:
        """What ``state`` prints."""
        state: dict[str, Any] = json.loads(self.call("state").ok().out)
        return state

    @property
    def status(self) -> str:
        """The status now."""
        return str(self.state()["status"])

    @property
    def pid(self) -> int:
        """Host pid of init."""
        return int(self.state()["pid"])

    def wait(self, deadline: float = DEADLINE) -> int | None:
        """Wait for init to end; its exit code.  It stays a zombie, as with a caller that is slow to reap."""
        return wait_exit(self.init, deadline)

    @property
    def lines(self) -> list[Any]:
        """What the container printed until now, as JSON lines (an unfinished one is left out)."""
        text = self.stdout.text()
        return json_lines(text[: text.rfind("\n") + 1])

    def until_ready(self) -> None:
        """Wait for the probe's ``wait`` to be ready."""
        self.until(lambda: {"ready": "yes"} in self.lines, "the probe is ready")

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a condition, with what the container printed in the message."""
        try:
            return wait_until(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the container printed {self.stdout.text()!r}") from None

    def signals(self) -> list[int]:
        """Signals that the probe's ``wait`` has told of."""
        return [line["signal"] for line in self.lines if "signal" in line]

    def exec(self, *verbs: Any, options: tuple[Any, ...] = (), **call: Any) -> Result:
        """Run the probe's verbs by ``exec``."""
        return self.runtime.call("exec", *options, self.id, PROBE, *probe_arguments(verbs), **call)

    def exec_report(self, *options: Any, **call: Any) -> dict[str, Any]:
        """Run ``probe report`` by ``exec``; what it saw."""
        report: dict[str, Any] = self.exec("report", options=options, **call).ok().lines[-1]
        return report

    def oom_scores(self) -> tuple[str, str]:
        """Return oom_score_adj of init as the host sees it, and of a process of ``exec`` as it sees it itself."""
        return Path(f"/proc/{self.init}/oom_score_adj").read_text(), self.exec_report()["oomScoreAdj"]

    def exec_process(self, process: dict[str, Any], *options: Any, **call: Any) -> Result:
        """Run ``exec --process`` with a file of this content."""
        file = self.bundle.path / "process.json"
        file.write_text(json.dumps(process))
        return self.runtime.call("exec", "--process", file, *options, self.id, **call)


def _wait(process: "subprocess.Popen[bytes]", timeout: float, meanwhile: Callable[[int], None] | None) -> None:
    if meanwhile is None:
        process.wait(timeout)
        return
    end = time.monotonic() + timeout
    while process.poll() is None:
        if time.monotonic() > end:
            raise subprocess.TimeoutExpired(process.args, timeout)
        meanwhile(process.pid)
        time.sleep(0.005)


def _above(descriptor: int, least: int) -> int:
    import fcntl

    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)
    os.close(descriptor)
    return high
