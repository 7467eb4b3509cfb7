"""What the plan says of mounts that not every kernel can show."""

import pytest

from pyoci.cgroups.layout import Layout
from pyoci.config.model import Config, Linux, Mount, Root
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
    given = next(step.strings["b"] for step in builder.steps if step.op == "OP_FSMOUNT")
    assert [option for option in given if "context=" in str(option)] == contexts
