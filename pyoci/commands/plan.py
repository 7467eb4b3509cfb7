"""pyoci plan: show what create would do, in order, without touching the host."""

from collections.abc import Iterator
from typing import Any

from pyoci import bundle as bundles
from pyoci import codec
from pyoci.cgroups.layout import detect, plan_cgroup
from pyoci.cli import Command
from pyoci.commands.common import create_options, show
from pyoci.errors import printable
from pyoci.facts import gather
from pyoci.plan import build
from pyoci.plan.describe import SETS, flag_names, operands, words
from pyoci.plan.steps import Plan
from pyoci.request import make_request


def run(command: Command) -> int:
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
        return show(codec.dumps(as_json(plan), indent="  ") + "\n")
    # A configuration may hold line ends, and what makes a terminal do something.
    return show("".join(f"{printable(line)}\n" for line in as_lines(plan)))


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the plan with every operand of every step."""
    steps = [
        {"op": s.operation.NAME, "what": s.what, "origin": s.origin, "operands": operands(s.operation)}
        for s in plan.steps
    ]
    inputs = [{"slot": i.slot, "what": i.describe(), "origin": i.origin} for i in plan.inputs]
    writes = [{"file": w.file, "text": w.text, "what": w.what, "origin": w.origin} for w in plan.writes]
    flags = flag_names(plan.clone_flags, SETS["clone"])
    return {"cloneFlags": flags, "writes": writes, "inputs": inputs, "steps": steps}


def as_lines(plan: Plan) -> Iterator[str]:
    """Return what is written and opened, then two lines for each step: in words, and as an operation."""
    for write in plan.writes:
        yield f"{'':>4}  {write.what}{place(write.origin)}"
    for given in plan.inputs:
        yield f"{'':>4}  {given.describe()}, for the slot {given.slot}{place(given.origin)}"
    for number, step in enumerate(plan.steps):
        yield f"{number:>4}  {step.what}{place(step.origin)}"
        yield f"{'':>4}    {words(step.operation)}"


def place(origin: str) -> str:
    """Name the setting that a step comes from."""
    return f"  [{origin}]" if origin else ""
