"""Handing the listener of a seccomp filter to its agent; config-linux.md#the-container-process-state."""

import os
from typing import Any

from pyoci import codec, native
from pyoci.config.model import Config
from pyoci.errors import Error
from pyoci.stage.protocol import StageProcess


def send(config: Config, state: dict[str, Any], stage: StageProcess, number: int) -> None:
    """Fetch descriptor *number* from the stage and send it with the container process state.

    The stage cannot send it itself: its filter may already forbid that.

    Raises:
        Error: there is no agent, or it cannot be reached.
    """
    seccomp, origin = config.linux.seccomp, "/linux/seccomp/listenerPath"
    if seccomp is None or not seccomp.listenerPath:
        raise Error("a filter with SCMP_ACT_NOTIFY needs a listenerPath", origin)
    listener = native.check(
        native.lib.pyoci_pidfd_getfd(stage.pidfd, number), "fetching the seccomp listener", origin
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
        native.send_fd(seccomp.listenerPath, listener, text, connecting=what, sending=what, origin=origin)
    finally:
        os.close(listener)
