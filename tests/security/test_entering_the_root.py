"""The container's program runs in the root file system that was made for it, or not at all.

Whatever a system call says: what "/" is afterwards is compared with what was made.  A race, or a filter or a
security module around the runtime, may have made it something else.
"""

import platform

import pytest

from tests.helpers_seccomp import NUMBERS, without_effect

pytestmark = [
    pytest.mark.requires("root"),
    pytest.mark.skipif(platform.machine() not in NUMBERS, reason="no call numbers of this machine"),
]
WAYS = [pytest.param("pivot_root", (), id="pivot"), pytest.param("chroot", ("--no-pivot",), id="no-pivot")]


@pytest.mark.parametrize(("call", "options"), WAYS)
def test_a_change_of_root_without_effect(runtime, bundle, call, options):
    """With ``--no-pivot`` the call that counts is the chroot(2) after the move."""
    runtime.refuses(bundle.args("true"), "EXDEV", "outside the root file system", options=options, preexec_fn=without_effect(call))


def test_another_mount_of_the_same_directory_is_not_the_root(runtime, bundle):
    """The directory has the same number then, the mount has another."""
    bundle.config["root"]["path"] = "/"
    runtime.refuses(bundle.args("true"), "EXDEV", "outside the root file system", preexec_fn=without_effect("pivot_root"))
