"""What the plan says of mounts that not every kernel can show."""

import pytest

from pyoci.cgroups.layout import Layout
from pyoci.config.model import Config, Linux, Mount, Namespace, Root
from pyoci.operations import Fsmount
from pyoci.plan import mounts
from pyoci.plan.builder import Builder, Facts, Request

LABEL = "system_u:object_r:container_file_t:s0:c1,c2"


@pytest.mark.parametrize(
    ("kind", "options", "contexts"),
    [
        ("tmpfs", (), [f"context={LABEL}"]),
        ("mqueue", ("nosuid",), [f"context={LABEL}"]),
        ("tmpfs", ("rootcontext=other",), ["rootcontext=other"]),
        ("proc", (), []),
        ("sysfs", (), []),
    ],
)
def test_label_of_a_file_system(kind: str, options: tuple[str, ...], contexts: list[str]) -> None:
    """config-linux.md#mount-label; procfs and sysfs have labels of their own."""
    linux = Linux(mountLabel=LABEL)
    listed = (Mount(destination="/x", type=kind, options=options),)
    config = Config(ociVersion="1.3.0", root=Root(path="r"), linux=linux, mounts=listed)
    builder = Builder(config, Request(id="c", bundle="/b", rootfs="/b/r"), Facts(privileged=True, euid=0, layout=Layout()))
    mounts.mount_all(builder)
    given = next(step.operation.options for step in builder.steps if isinstance(step.operation, Fsmount))
    assert [option for option in given if "context=" in option] == contexts


@pytest.mark.parametrize(
    ("foreign", "kinds", "bound"),
    [
        ((), (), []),
        (("network",), (), ["/sys"]),
        (("ipc",), (), ["/dev/mqueue"]),
        (("network", "ipc"), ("network", "ipc"), []),
        ((), ("user",), ["/sys", "/dev/mqueue"]),
        ((), ("user", "network", "ipc"), []),
    ],
)
def test_file_systems_of_namespaces_that_belong_to_others(
    foreign: tuple[str, ...], kinds: tuple[str, ...], bound: list[str]
) -> None:
    """Only the owner of a namespace may mount what shows it; the host's mount is bound in its place."""
    linux = Linux(namespaces=[Namespace(type=kind) for kind in kinds])
    listed = [Mount(destination=f"/{kind}", type=kind) for kind in ("sysfs", "mqueue")]
    config = Config(ociVersion="1.3.0", root=Root(path="r"), linux=linux, mounts=listed)
    facts = Facts(privileged=True, euid=0, layout=Layout(), initial=not foreign, foreign=foreign)
    builder = Builder(config, Request(id="c", bundle="/b", rootfs="/b/r"), facts)
    builder.new |= set(kinds)
    mounts.open_sources(builder)
    mounts.mount_all(builder)
    assert [path for path in ("/sys", "/dev/mqueue") if path in builder.sources.values()] == bound
    assert [type(step.operation) for step in builder.steps].count(Fsmount) == 2 - len(bound)
