"""Processes: a number with its start time, and descriptors of them; proc(5), pidfd_open(2)."""

import errno
import os
import select
from signal import SIGKILL

from pyoci import native
from pyoci.errors import Error, wrap
from pyoci.files import read_file

END_SECONDS = 10


def stat_fields(pid: int) -> tuple[str, int] | None:
    """Return the state letter and the start time of a process, or None when it is gone; proc(5).

    The command name may hold anything, so the fields are counted from the last parenthesis.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return None
        raise wrap(f"reading /proc/{pid}/stat", error) from error
    try:
        text = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    fields = text[text.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[19])


def is_alive(pid: int, start_time: int) -> bool:
    """Return whether *pid* is still that process: same start time, and not a zombie."""
    if pid <= 0:
        return False
    found = stat_fields(pid)
    return found is not None and found[0] not in "ZX" and found[1] == start_time


def open_pidfd(pid: int) -> int:
    """Open a process; -1 when there is none with that pid.  pidfd_open(2)."""
    try:
        return os.pidfd_open(pid, 0)
    except OSError as error:
        # EINVAL: no process any more, in the moment in which it is reaped; or a thread that leads no process.
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return -1
        raise wrap(f"opening process {pid}", error) from error


def pid_of(pidfd: int) -> int:
    """Return the pid of the process behind a pidfd, in our PID namespace; pidfd_open(2)."""
    for line in read_file(f"/proc/self/fdinfo/{pidfd}").split(b"\n"):
        if line.startswith(b"Pid:"):
            return int(line[4:])
    return -1


def inner_pid(pid: int) -> int:
    """Return the pid of a process in its own PID namespace; NSpid of proc_pid_status(5)."""
    for line in read_file(f"/proc/{pid}/status").split(b"\n"):
        if line.startswith(b"NSpid:"):
            return int(line.split()[-1])
    return pid


def reap(pidfd: int) -> int:
    """Wait for a child by pidfd; its exit status, or minus the signal that killed it.

    Raises:
        Error: the program that uses pyoci lets the kernel, or a thread of its own, collect its children.
    """
    try:
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        raise Error("how a process ended is lost: SIGCHLD is ignored, or all children are waited for") from None
    assert info is not None
    return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status


def has_ended(pidfd: int, milliseconds: int) -> bool:
    """Return whether a process has ended, or does within that time."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(milliseconds))


def end(pidfd: int, pid: int) -> None:
    """Kill a process and wait until it has gone.

    Raises:
        Error: it did not end within 10 seconds.
    """
    native.lib.pyoci_pidfd_send_signal(pidfd, SIGKILL)
    if not has_ended(pidfd, END_SECONDS * 1000):
        raise Error(f"process {pid} did not end within {END_SECONDS} s of SIGKILL")


def kill_exactly(pid: int, start_time: int, *, group: bool = False) -> bool:
    """Kill a process, or the group that it leads, if it is still the one that was recorded; return whether it was."""
    try:
        pidfd = os.pidfd_open(pid, 0) if pid > 0 else -1
    except OSError:
        return False
    if pidfd < 0:
        return False
    try:
        if not is_alive(pid, start_time):
            return False
        if not group:
            native.lib.pyoci_pidfd_send_signal(pidfd, SIGKILL)
        elif native.lib.pyoci_pidfd_signal_group(pidfd, SIGKILL) == -errno.EINVAL:  # before Linux 6.9
            os.killpg(pid, SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True
