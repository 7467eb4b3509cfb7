"""Files of a process in /proc that are written from outside; proc(5)."""

import os

from pyoci.errors import wrap
from pyoci.files import write_all
from pyoci.log import debug
from pyoci.steps import Write


def write_file(pid: int, wanted: Write) -> None:
    """Write one of the files of /proc/PID, in a single write(2): the kernel takes an id map in no other way.

    Raises:
        Error: the kernel refuses it.
    """
    debug(f"writing {wanted.text!r} to /proc/{pid}/{wanted.file}: {wanted.what}")
    try:
        fd = os.open(f"/proc/{pid}/{wanted.file}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(fd, wanted.text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise wrap(wanted.what, error, wanted.origin, wanted.hints.get(error.errno or 0, "")) from error
