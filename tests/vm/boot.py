"""Boot User-Mode Linux, run one command in it, and give its output and exit status back.

As a program: `python -m tests.vm.boot [--lsm apparmor] [--cgroups v1] [--deadline SECONDS] COMMAND …`. The machine is Debian's
package `user-mode-linux`: a kernel that runs as an ordinary process, with all capabilities, pure cgroup v2 or v1 with
the cpu, io, memory and pids controllers, and a choice of security modules. Its root is the host's, read-only.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
KERNEL = "linux.uml"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unavailable(Exception):
    """User-Mode Linux cannot be booted here; the text says what is missing."""


class Outcome(NamedTuple):
    """What a command in the virtual machine gave; `status` is None when the machine ended before it."""

    status: int | None
    output: str
    console: str


def check_available() -> None:
    """Raise Unavailable when a program is missing."""
    missing = [name for name in (KERNEL, "cc", "busybox") if shutil.which(name) is None]
    if missing:
        raise Unavailable(
            f"needs the program {' and '.join(missing)} (packages user-mode-linux, gcc, busybox-static)"
        )


def needed_directories(runtime: str) -> list[Path]:
    """Return the directories of the host that Python, the tests and the runtime's command line are read from."""
    needed = {TREE, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    for word in shlex.split(runtime):
        found = shutil.which(word)
        if found:  # an installation is a prefix with bin and lib below it
            needed.add(Path(found).resolve().parent.parent)
    return sorted(needed)


def _write_parameters(work: Path, command: list[str], env: dict[str, str], cgroups: str) -> None:
    settings = {"PATH": PATH, "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", **env}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    (work / "command").write_text(
        "\n".join([*lines, f"cd {shlex.quote(str(TREE))}", f"exec {shlex.join(command)}", ""])
    )
    (work / "needed").write_text(
        "".join(f"{path}\n" for path in needed_directories(env.get("OCI_RUNTIME", "")))
    )
    (work / "cgroups").write_text(f"{cgroups}\n")
    with (work / "disk").open("wb") as disk:
        disk.truncate(16 << 20)
    script = work / "init"
    shutil.copyfile(HERE / "init.sh", script)
    script.chmod(0o755)


def _kernel_arguments(work: Path, lsm: str | None) -> list[str]:
    security = [f"lsm={lsm}", f"security={lsm}", f"{lsm}=1"] if lsm else []
    return [
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={work}/init",
        f"ubd0={work}/disk",  # a block device, for limits of block I/O
        *security,
    ]


def run_kernel(parameters: list[str], work: Path, deadline: float, memory: str) -> str:
    """Run the kernel to its end, or end it after the deadline; return what was written on its console.

    Args:
        parameters: what the kernel is told, beside what every virtual machine needs.
        work: a directory of this machine's own.
        deadline: seconds after which it is ended.
        memory: its memory.
    """
    subprocess.run(
        ["cc", "-O2", "-shared", "-fPIC", "-o", str(work / "xstate.so"), str(HERE / "xstate.c")],
        check=True,
        timeout=60,
    )
    arguments = [KERNEL, f"mem={memory}", f"uml_dir={work}", "umid=vm", "con=null", "con0=null,fd:1"]
    arguments += ["quiet", "panic=-1", *parameters]
    env = {"PATH": os.environ.get("PATH", PATH), "HOME": str(work), "LD_PRELOAD": f"{work}/xstate.so"}
    console = work / "console"
    with console.open("wb") as out:
        child = subprocess.Popen(
            arguments,
            env=env,
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            child.wait(deadline)
        except subprocess.TimeoutExpired:
            out.write(f"\nended after {deadline:.0f} seconds\n".encode())
        finally:
            # The virtual machine's programs are processes of the kernel's group on the host.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return console.read_text(errors="replace")


def boot(
    command: list[str],
    *,
    env: dict[str, str] | None = None,
    deadline: float = 600,
    memory: str = "1024M",
    lsm: str | None = None,
    cgroups: str = "v2",
) -> Outcome:
    """Run `command` in a fresh virtual machine, in the tree's directory.

    Args:
        command: the program and its arguments, as found in the virtual machine's PATH.
        env: environment variables beside PATH, HOME and LANG.
        deadline: seconds after which the machine is ended; the output until then is returned.
        memory: the machine's memory.
        lsm: the security module to use, such as `apparmor`.
        cgroups: the version whose hierarchies are mounted, `v1` or `v2`.

    Raises:
        Unavailable: when User-Mode Linux is not installed.
    """
    check_available()
    work = Path(tempfile.mkdtemp(prefix="pyoci-uml-"))
    try:
        _write_parameters(work, command, env or {}, cgroups)
        console = run_kernel(_kernel_arguments(work, lsm), work, deadline, memory)
        log, status = work / "log", work / "status"
        return Outcome(
            int(status.read_text()) if status.exists() else None,
            log.read_text(errors="replace") if log.exists() else "",
            console,
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    """Run the command of the command line; its exit status is ours."""
    parser = argparse.ArgumentParser(prog="tests.vm.boot", description=__doc__.splitlines()[0])
    parser.add_argument("--lsm")
    parser.add_argument("--cgroups", choices=["v1", "v2"], default="v2")
    parser.add_argument("--deadline", type=float, default=600)
    parser.add_argument("--memory", default="1024M")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    env = dict(item.split("=", 1) for item in args.env)
    outcome = boot(args.command, env=env, deadline=args.deadline, memory=args.memory, lsm=args.lsm, cgroups=args.cgroups)
    sys.stdout.write(outcome.output)
    if outcome.status is None:
        sys.stderr.write(f"{outcome.console}\nthe virtual machine ended before the command\n")
        return 125
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
