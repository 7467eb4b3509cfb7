"""Handing the listener of a seccomp filter to its agent; config-linux.md#the-container-process-state."""

import os
from typing import Any

from pyoci import codec, native
from pyoci.config.model import Config
from pyoci.errors import Error
from pyoci.stage.protocol import Stage

lib, ffi = native.lib, native.ffi


def send(config: Config, state: dict[str, Any], stage: Stage, number: int) -> None:
    """Fetch descriptor *number* from the stage and send it with the container process state.

    The stage cannot send it itself: its filter may already forbid that.

    Raises:
        Error: there is no agent, or it cannot be reached.
    """
    seccomp, origin = config.linux.seccomp, "/linux/seccomp/listenerPath"
    if seccomp is None or not seccomp.listenerPath:
        raise Error("a filter with SCMP_ACT_NOTIFY needs a listenerPath", origin)
    listener = native.check(
        lib.pyoci_pidfd_getfd(stage.pidfd, number), "fetching the seccomp listener", origin
    )
    try:
        message: dict[str, Any] = {
            "ociVersion": state["ociVersion"],
            "fds": ["seccompFd"],
            "pid": stage.pid,
            "state": state,
        }
        if seccomp.listenerMetadata is not None:
            message["metadata"] = seccomp.listenerMetadata
        text = codec.dumps(message).encode()
        what = f"sending the seccomp listener to {seccomp.listenerPath}"
        sock = native.check(lib.pyoci_connect_unix(seccomp.listenerPath.encode()), what, origin)
        try:
            native.check(
                lib.pyoci_send_fds(sock, text, len(text), ffi.new("int[]", [listener]), 1), what, origin
            )
        finally:
            os.close(sock)
    finally:
        os.close(listener)
