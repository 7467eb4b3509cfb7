"""Run a command where /sys/fs/cgroup is only this host's cgroup2 tree, as on a host without cgroup v1.

As a program: `python -m tests.vm.v2view COMMAND …`. The view is a private mount namespace: the host's own
mounts stay as they are. On a hybrid host the controllers belong to v1, so there only freezing, killing and device
programs work; a program that asks for a limit sees what a v2 host without that controller shows.
"""

import os
import sys
from typing import NoReturn

SCRIPT = """
umount -R /sys/fs/cgroup || exit 125
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 125
exec "$@"
"""
USAGE = "usage: python -m tests.vm.v2view COMMAND …"


def command_line(command: list[str]) -> list[str]:
    """Return the command line that runs `command` in the view; it needs root and util-linux's `unshare`."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", *command]


def main() -> NoReturn:
    """Become the command of the command line, in the view."""
    if len(sys.argv) < 2:
        sys.exit(USAGE)
    words = command_line(sys.argv[1:])
    os.environ.setdefault("PYOCI_TEST_PLACE", "v2view")
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
