"""The plans of the ready bundles, of a rootless container and of one as Kubernetes asks for it, as text and as JSON.

They are planned for a host that is described here, so that they are the same on every machine.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from pyoci import codec
from pyoci.cgroups.layout import plan_cgroup, usual
from pyoci.config.parse import parse_config
from pyoci.plan import host
from pyoci.plan.builder import Facts, Request
from pyoci.plan.describe import as_json, as_lines
from pyoci.steps import Filter

GOLDEN = Path(__file__).parent
BUNDLES = GOLDEN.parents[1] / "bundles"
ROOT, BUNDLE = "/run/pyoci", "/bundle"
# In place of what libseccomp compiles, which differs by its version: one that allows everything.
FILTER = Filter(program=bytes.fromhex("06000000 0000ff7f"))


def cases() -> Iterator[tuple[str, Path, str, bool]]:
    """Return the name of each plan, its configuration, the layout of cgroups, and whether pyoci is root."""
    for config in sorted(BUNDLES.glob("*/config.json")):
        yield config.parent.name, config, "v2", True
    yield "rootless", GOLDEN / "rootless.json", "v2", False
    for view in ("v1", "v2", "hybrid"):
        yield f"kubernetes-{view}", GOLDEN / "kubernetes.json", view, True


def entries(config_file: Path, view: str, root: bool) -> list[host.Entry]:
    """Plan one of them."""
    config = parse_config(codec.loads(config_file.read_bytes(), "config.json"))
    layout = usual(view)
    cgroup = plan_cgroup(config.linux.cgroupsPath, "ID", layout, "cgroupfs" if root else "disabled")
    request = Request(
        id="ID",
        bundle=BUNDLE,
        rootfs=f"{BUNDLE}/rootfs",
        cgroupPaths=cgroup.paths(),
        filter=FILTER if config.linux.seccomp else None,
    )
    facts = Facts(privileged=root, euid=0 if root else 1000, layout=layout)
    return list(host.create(config, request, facts, root=ROOT))


def written() -> dict[str, str]:
    """Return the text of every golden file by its name."""
    files = {}
    for name, config_file, view, root in cases():
        planned = entries(config_file, view, root)
        files[f"{name}.plan.txt"] = "".join(f"{line}\n" for line in as_lines(planned))
        lines = ",\n".join(json.dumps(as_json(entry), ensure_ascii=False) for entry in planned)
        files[f"{name}.plan.json"] = f"[\n{lines}\n]\n"
    return files
