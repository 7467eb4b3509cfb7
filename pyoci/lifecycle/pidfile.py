"""The file in which a caller finds the pid of what was started."""

import os

from pyoci.config.source import Option
from pyoci.errors import wrap
from pyoci.files import read_file, write_file


def write_pid_file(path: str, pid: int) -> None:
    """Write a pid file that is never seen half written: digits only, renamed into place."""
    try:
        write_file(path if "/" in path else f"./{path}", str(pid).encode(), 0o644)
    except OSError as error:
        with Option("--pid-file"):
            raise wrap(f"writing the pid file {path}", error) from error


def remove_pid_file(path: str, pid: int) -> None:
    """Remove the pid file of a process that never came to be, if it is that one's."""
    try:
        if read_file(path) == str(pid).encode():
            os.unlink(path)
    except OSError:
        return
