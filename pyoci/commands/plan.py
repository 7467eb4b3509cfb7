"""pyoci plan: show what create or exec would do, in order, without touching the host."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from pyoci import bundle as bundles
from pyoci import codec
from pyoci.cgroups.layout import Layout, detect, plan_cgroup, usual
from pyoci.cli import Command
from pyoci.commands.common import create_options, show, state_root
from pyoci.config.parse import parse_process
from pyoci.config.tables import NAMESPACES
from pyoci.config.versions import as_meant
from pyoci.errors import UsageError, printable, wrap
from pyoci.facts import gather
from pyoci.plan import build, host
from pyoci.plan.describe import operands, words
from pyoci.plan.host import Action
from pyoci.plan.steps import Step
from pyoci.record import replace
from pyoci.request import make_request
from pyoci.state import read_given

VIEWS = ("v1", "v2", "hybrid")
Entry = Action | tuple[int, Step]


def run(command: Command) -> int:
    """Print the plan of the bundle, or how it differs from that of another bundle."""
    given = create_options(command).bundle
    entries = list(entries_of(command, given))
    if command.options["diff"]:
        other = str(command.options["diff"])
        ours = list(as_lines(entries, numbered=False))
        theirs = list(as_lines(entries_of(command, other), numbered=False))
        lines = difflib.unified_diff(ours, theirs, given or ".", other, lineterm="")
        return show("".join(f"{line}\n" for line in lines))
    if command.options["json"]:
        return show(codec.dumps([as_json(entry) for entry in entries], indent="  ") + "\n")
    return show("".join(f"{line}\n" for line in as_lines(entries)))


def entries_of(command: Command, directory: str) -> Iterator[Entry]:
    """Return what both sides would do for a bundle, in order.

    Raises:
        Error: the configuration is in error, or asks for what cannot be planned.
    """
    options = replace(create_options(command), bundle=directory)
    bundle = bundles.load(options.bundle, options.config)
    container_id = command.words[0] if command.words else "ID"
    layout = layout_of(str(command.options["view"]))
    facts = gather(layout)
    with bundle.source():
        config = bundle.config
        cgroup = plan_cgroup(config.linux.cgroupsPath, container_id, layout, options.cgroup_manager)
        request = make_request(bundle, options, container_id, cgroup.paths())
        if command.options["exec"]:
            process = parse_process(read_process(str(command.options["exec"])))
            kinds = frozenset(namespace.type for namespace in config.linux.namespaces)
            plan = build.execute(replace(config, process=process), request, facts, kinds)
            yield from host.timeline(plan, [])
            return
        plan = build.create(config, request, facts)
        actions = host.actions(
            config,
            request,
            layout,
            list(dict.fromkeys(cgroup.paths().values())),
            as_meant(config.linux.resources, config.ociVersion),
            root=state_root(command),
            born=", ".join(kind for kind, flag in NAMESPACES.items() if plan.clone_flags & flag),
        )
        yield from host.timeline(plan, actions)


def layout_of(view: str) -> Layout:
    """Return the layout of cgroups to plan for: this host's, or the usual one of a mode.

    Raises:
        UsageError: there is no such mode.
    """
    if view and view not in VIEWS:
        raise UsageError(f'--view is {", ".join(VIEWS)}, not "{printable(view)}"')
    return usual(view) if view else detect()


def read_process(file: str) -> Any:
    """Return the JSON value of a process object's file.

    Raises:
        Error: it cannot be read, or is not JSON.
    """
    try:
        return codec.loads(read_given(file), file)
    except OSError as error:
        raise wrap(f"reading {file}", error) from error


def as_json(entry: Entry) -> dict[str, Any]:
    """Return one entry with all that belongs to it."""
    if isinstance(entry, Action):
        return {"by": "pyoci", "what": entry.what, "origin": entry.origin, "path": entry.path, "value": entry.value}
    number, step = entry
    return {
        "by": "stage",
        "step": number,
        "what": step.what,
        "origin": step.origin,
        "op": step.operation.NAME,
        "operands": operands(step.operation),
    }


def as_lines(entries: Iterable[Entry], *, numbered: bool = True) -> Iterator[str]:
    """Return two lines for each entry: what is done in words, then the operation, or the path and value.

    A configuration may hold line ends, and what makes a terminal do something: each line is printable.
    """
    for entry in entries:
        if isinstance(entry, Action):
            head, more = "  --  ", " = ".join(part for part in (entry.path, entry.value.strip()) if part)
            what, origin = entry.what, entry.origin
        else:
            number, step = entry
            head, more = f"{number:>4}  " if numbered else "  ..  ", words(step.operation)
            what, origin = step.what, step.origin
        yield printable(f"{head}{what}{f'  [{origin}]' if origin else ''}")
        if more:
            yield printable(f"{'':>8}{more}")

