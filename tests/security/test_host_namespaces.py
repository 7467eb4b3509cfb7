"""What a configuration sets in a namespace is set for all who are in it: in the host's own it would change the host.

A namespace that is named by a path may be just that, and is compared with that of the runtime and of process 1.
"""

import os
import subprocess

import pytest

pytestmark = pytest.mark.requires("root")
HOST = ["self", "thread-self"]


@pytest.mark.parametrize("pid", HOST)
@pytest.mark.parametrize(
    ("kind", "name", "changes"),
    [
        ("uts", "uts", {"hostname": "box"}),
        ("uts", "uts", {"domainname": "example.org"}),
        ("uts", "uts", {"sysctl": {"kernel.domainname": "example.org"}}),
        ("ipc", "ipc", {"sysctl": {"kernel.msgmax": "12345"}}),
        ("ipc", "ipc", {"sysctl": {"fs.mqueue.msg_max": "12"}}),
        ("network", "net", {"sysctl": {"net.ipv4.ip_forward": "1"}}),
        ("network", "net", {"sysctl": {"net/ipv4/ip_forward": "1"}}),
    ],
    ids=str,
)
def test_a_namespace_of_the_host_is_not_changed(runtime, bundle, kind, name, changes, pid):
    """That of the host is thrown away here, with what a runtime would do to it."""
    runtime.command = ["unshare", "--uts", "--ipc", "--net", *runtime.command]
    del bundle.config["hostname"]
    bundle.namespace(kind, path=f"/proc/{pid}/ns/{name}")
    for member, value in changes.items():
        (bundle.linux if member == "sysctl" else bundle.config)[member] = value
    runtime.refuses(bundle, "/linux/namespaces/4/path", f"the host's {kind} namespace")


@pytest.mark.parametrize("kind", ["uts", "ipc", "network"])
def test_it_may_be_joined_if_nothing_is_set(runtime, bundle, kind):
    del bundle.config["hostname"]
    name = {"network": "net"}.get(kind, kind)
    bundle.namespace(kind, path=f"/proc/self/ns/{name}")
    assert runtime.report(bundle)["namespaces"][name] == os.readlink(f"/proc/self/ns/{name}")


def test_another_namespace_is_changed(runtime, bundle):
    with subprocess.Popen(["unshare", "--uts", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        bundle.namespace("uts", path=f"/proc/{holder.pid}/ns/uts")
        assert runtime.report(bundle)["hostname"] == "box"
        holder.stdin.close()
