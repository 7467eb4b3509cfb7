"""What the plan of a create needs to know of the command line, and of sockets that the caller passes on."""

import os

from pyoci.lifecycle.bundle import Bundle
from pyoci.lifecycle.passwd import home_directory
from pyoci.options import CreateOptions
from pyoci.plan.builder import Request
from pyoci.stage.seccomp import filter_of


def make_request(
    bundle: Bundle, options: CreateOptions, container_id: str, paths: dict[str, str]
) -> Request:
    """Collect what the plan needs to know of the command line, and of sockets that the caller passes on.

    LISTEN_FDS counts only when LISTEN_PID says that it is meant for this process; sd_listen_fds(3).
    """
    passed = listen_fds()
    environment = home_directory(bundle.config.process, bundle.rootfs) if bundle.config.process else []
    if passed:
        names = os.environ.get("LISTEN_FDNAMES", "")
        environment += [
            f"LISTEN_FDS={passed}",
            "LISTEN_PID=1",
            *([f"LISTEN_FDNAMES={names}"] if names else []),
        ]
    return Request(
        id=container_id,
        bundle=bundle.path,
        rootfs=bundle.rootfs,
        noPivot=options.no_pivot,
        noNewKeyring=options.no_new_keyring,
        preserveFds=options.preserve_fds + passed,
        extraEnv=environment,
        cgroupPaths=paths,
        filter=filter_of(bundle.config),
    )


def listen_fds() -> int:
    """Return the number of sockets that a service manager has passed to this process, as descriptors 3 and up."""
    count, pid = os.environ.get("LISTEN_FDS", ""), os.environ.get("LISTEN_PID", "")
    return int(count) if count.isascii() and count.isdigit() and len(count) < 5 and pid == str(os.getpid()) else 0
