"""The plan names kernel parameters by the same path that was checked."""

import pytest

from pyoci.cgroups.layout import Layout
from pyoci.config.model import Config, Linux, Root
from pyoci.operations import Sysctl
from pyoci.plan import namespaces
from pyoci.plan.builder import Builder, Facts, Request


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.core.somaxconn", "net/core/somaxconn"),
        ("net/core/somaxconn", "net/core/somaxconn"),
        ("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
        ("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"),
    ],
)
def test_separators_of_a_kernel_parameter(key: str, path: str) -> None:
    config = Config(ociVersion="1.3.0", root=Root(path="r"), linux=Linux(sysctl={key: "1"}))
    facts = Facts(privileged=True, euid=0, layout=Layout())
    builder = Builder(config, Request(id="c", bundle="/b", rootfs="/b/r"), facts)
    namespaces.set_up(builder)
    assert [step.operation.name for step in builder.steps if isinstance(step.operation, Sysctl)] == [path]
