"""Plans of small configurations, for a host that is nobody's."""

import json
from typing import Any

from pyoci import codec
from pyoci.cgroups.layout import Layout
from pyoci.config.parse import parse_config
from pyoci.plan import build
from pyoci.plan.builder import Facts, Request
from pyoci.steps import Step


def entry(destination: str, *options: str, type: str = "tmpfs") -> dict[str, Any]:
    """Return an entry of mounts."""
    return {"destination": destination, "type": type, "source": "/source", "options": list(options)}


def steps(*mounts: dict[str, Any], **linux: Any) -> list[Step]:
    """Return the steps of a container with these mounts and members of linux."""
    document = {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"args": ["x"], "cwd": "/"},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": "mount"}], **linux},
    }
    config = parse_config(codec.loads(json.dumps(document).encode(), "config.json"))
    request = Request(id="id", bundle="/bundle", rootfs="/bundle/rootfs")
    return list(build.create(config, request, Facts(privileged=True, euid=0, layout=Layout())).steps)
