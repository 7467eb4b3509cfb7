"""What the kernel is asked, seen by strace(1): no path into the root file system is ever given as a string.

A string that begins with the root file system's path can be led out of it by a link that somebody puts in between.
"""

import re
from pathlib import Path

import pytest

from tests.helpers_runtime import Runtime

pytestmark = pytest.mark.requires("root", "strace")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")


class Trace:
    """The system calls of one call of the runtime and of all its children, in order."""

    def __init__(self, log: Path) -> None:
        """Read the log of ``strace -f``; a call that was interrupted by another process counts where it began."""
        found = [CALL.match(line) for line in log.read_text(errors="replace").splitlines()]
        self.calls = [(int(match[1]), match[2], match[3]) for match in found if match]

    def strings(self) -> list[tuple[str, str]]:
        """Return every string that was handed over, with the name of its call; contents of files are none."""
        data = ("write", "read", "pwrite64", "pread64", "sendto", "sendmsg", "recvmsg", "readlink", "getcwd")
        return [
            (name, text) for _, name, arguments in self.calls if name not in data for text in STRING.findall(arguments)
        ]

    def process_of(self, name: str) -> int:
        """Return the process that made the first call of that name."""
        return next(pid for pid, call, _ in self.calls if call == name)

    def behind(self, name: str) -> list[tuple[str, str]]:
        """Return the calls, with their arguments, that the process makes after its first one of that name."""
        pid = self.process_of(name)
        mine = [(call, arguments) for process, call, arguments in self.calls if process == pid]
        return mine[[call for call, _ in mine].index(name) + 1 :]


@pytest.fixture
def rich(bundle):
    """A bundle with something of every kind that touches the root file system."""
    (bundle.rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (bundle.rootfs / "masked").mkdir()
    (bundle.rootfs / "fixed").write_text("")
    bundle.mount("/made/for/it", type="bind", source=str(bundle.probe), options=["rbind", "ro"])
    bundle.mount("/copied", type="tmpfs", source="tmpfs", options=["tmpcopyup"])
    bundle.linux["devices"] = [{"path": "/dev/other", "type": "c", "major": 1, "minor": 5}]
    bundle.linux["maskedPaths"] = ["/masked", "/proc/kcore", "/missing"]
    bundle.linux["readonlyPaths"] = ["/proc/sys", "/fixed"]
    bundle.process["cwd"] = "/not/there/yet"
    bundle.config["root"]["readonly"] = True
    # The source of a mount is a path of the host, also when it lies in the root file system.
    (bundle.path / "source").write_bytes(bundle.probe.read_bytes())
    bundle.mount_of("/made/for/it")["source"] = str(bundle.path / "source")
    return bundle


def traced(runtime: Runtime, log: Path, *args: object) -> Trace:
    """Run a verb under strace; demand success."""
    command = runtime.command
    runtime.command = ["strace", "-f", "-qq", "-s", "4096", "-o", str(log), *command]
    try:
        runtime.call(*args).ok()
    finally:
        runtime.command = command
    return Trace(log)


def test_no_call_takes_a_path_that_leads_into_the_root(runtime, rich, scratch):
    runtime.container(rich.args("true"))
    trace = traced(runtime, scratch / "run.trace", "run", "--bundle", rich.write(), rich.id)
    assert [name for name, text in trace.strings() if text == str(rich.rootfs)], "the trace misses the root itself"
    assert [(name, text) for name, text in trace.strings() if text.startswith(f"{rich.rootfs}/")] == []


def test_exec_takes_no_path_that_leads_into_the_root(runtime, rich, scratch):
    container = runtime.waiting(rich)
    root = f"/proc/{container.init}/root"
    trace = traced(runtime, scratch / "exec.trace", "exec", rich.id, "/bin/probe", "true")
    assert [name for name, text in trace.strings() if text == root], "the trace misses the root itself"
    assert [(name, text) for name, text in trace.strings() if text.startswith((f"{rich.rootfs}/", f"{root}/"))] == []


def test_nothing_is_looked_up_in_proc_once_the_container_has_mounts(runtime, rich, scratch):
    """A peer that shares the mounts could have put something else there (CVE-2025-52881)."""
    runtime.container(rich.args("true"))
    trace = traced(runtime, scratch / "run.trace", "run", "--bundle", rich.write(), rich.id)
    later = trace.behind("move_mount")
    assert [name for name, _ in later].count("move_mount") > 5
    # In the root, by its descriptor, /proc is a place to mount on like any other.
    opened = [arguments for name, arguments in later if "open" in name and "RESOLVE_IN_ROOT" not in arguments]
    assert [arguments for arguments in opened if '"/proc' in arguments] == []


def test_only_the_program_itself_is_run_behind_the_pivot(runtime, rich, scratch):
    runtime.container(rich.args("true"))
    trace = traced(runtime, scratch / "run.trace", "run", "--bundle", rich.write(), rich.id)
    run = [arguments for name, arguments in trace.behind("pivot_root") if name.startswith("execve")]
    assert len(run) == 1
    assert run[0].startswith('"/bin/probe"')
