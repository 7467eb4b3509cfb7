"""What create does without the host, done while the file is built, behind all imports (snapshot.c).

CPython adapts code that has run often to what it has seen, and keeps what was looked up in modules, classes and
the extension; all that stays in the snapshot.  Only functions that ask nobody are called here: reading, checking,
planning, encoding.  A test holds it: the recording makes no system call about the host.
"""

from pyoci import cli, codec
from pyoci.cgroups.layout import Layout
from pyoci.commands.spec import template
from pyoci.config.parse import parse_config
from pyoci.plan import build
from pyoci.plan.builder import Facts, Request
from pyoci.stage.encode import encode

OFTEN = 10


def rehearse() -> None:
    """Go from a command line and a text to an encoded plan."""
    cli.parse(["--root", "/r", "run", "--bundle", "/b", "id"])
    text = codec.dumps(template(rootless=False, v2=True), indent="  ").encode()
    config = parse_config(codec.loads(text, "config.json"))
    layout = Layout(mounts={"": "/sys/fs/cgroup"}, own={"": "/"})
    request = Request(id="id", bundle="/b", rootfs="/b/rootfs", extraEnv=["HOME=/"])
    encode(build.create(config, request, Facts(privileged=True, euid=0, layout=layout)))


for _ in range(OFTEN):
    rehearse()
