"""pyoci plan: show what create would do, in order, without touching the host."""

from pyoci import bundle as bundles
from pyoci import codec
from pyoci.cgroups.layout import detect, plan_cgroup
from pyoci.commands.common import create_options, show
from pyoci.errors import printable
from pyoci.facts import gather
from pyoci.plan import build
from pyoci.request import make_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli import Command


def run(command: "Command") -> int:
    """Print one line a step: its number, what it does, the setting that asked for it."""
    options = create_options(command)
    bundle = bundles.load(options.bundle, options.config)
    container_id = command.words[0] if command.words else "ID"
    layout = detect()
    with bundle.source():
        cgroup = plan_cgroup(bundle.config.linux.cgroupsPath, container_id, layout, options.cgroup_manager)
        request = make_request(bundle, options, container_id, cgroup.paths())
        plan = build.create(bundle.config, request, gather(layout))
    if command.options["json"]:
        steps = [
            {"op": s.op.removeprefix("OP_").lower(), "what": s.what, "origin": s.origin} for s in plan.steps
        ]
        inputs = [{"slot": i.slot, "kind": i.kind, "path": i.path, "origin": i.origin} for i in plan.inputs]
        writes = [{"file": w.file, "text": w.text, "what": w.what, "origin": w.origin} for w in plan.writes]
        shown = {"cloneFlags": plan.clone_flags, "writes": writes, "inputs": inputs, "steps": steps}
        return show(codec.dumps(shown, indent="  ") + "\n")
    # A configuration may hold line ends, and what makes a terminal do something.
    lines = [f"{'':>4}  {write.what}{place(write.origin)}" for write in plan.writes]
    lines += [f"{'':>4}  opening {i.path or i.slot} for {i.slot}{place(i.origin)}" for i in plan.inputs]
    lines += [f"{number:>4}  {what}{place(origin)}" for number, (what, origin) in enumerate(plan.describe())]
    return show("".join(f"{printable(line)}\n" for line in lines))


def place(origin: str) -> str:
    """Name the setting that a step comes from."""
    return f"  [{origin}]" if origin else ""
