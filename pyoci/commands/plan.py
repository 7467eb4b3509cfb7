"""pyoci plan: show what create or exec would do, in order, without touching the host."""

import difflib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pyoci import codec
from pyoci.cgroups.layout import Layout, detect, plan_cgroup, usual
from pyoci.cli import Command
from pyoci.commands.common import create_options, show, state_root
from pyoci.config.parse import parse_process
from pyoci.errors import UsageError, printable, wrap
from pyoci.files import read_given
from pyoci.lifecycle import bundle as bundles
from pyoci.lifecycle.facts import gather
from pyoci.lifecycle.request import make_request
from pyoci.plan import build, host
from pyoci.plan.describe import as_json, as_lines
from pyoci.plan.host import Entry

VIEWS = ("v1", "v2", "hybrid")


def run(command: Command) -> int:
    """Print the plan of the bundle, or how it differs from that of another bundle."""
    given = create_options(command).bundle
    entries = list(entries_of(command, given))
    if command.options["diff"]:
        other = command.options["diff"]
        ours = list(as_lines(entries, numbered=False))
        theirs = list(as_lines(entries_of(command, other), numbered=False))
        lines = difflib.unified_diff(ours, theirs, given or ".", other, lineterm="")
        return show("".join(f"{line}\n" for line in lines))
    if command.options["json"]:
        return show(codec.dumps([as_json(entry) for entry in entries], indent="  ") + "\n")
    return show("".join(f"{line}\n" for line in as_lines(entries)))


def entries_of(command: Command, directory: str) -> Iterator[Entry]:
    """Yield what the host side and the stage would do for a bundle, in order.

    Raises:
        Error: the configuration is wrong, or asks for something that cannot be planned.
    """
    options = replace(create_options(command), bundle=directory)
    bundle = bundles.load(options.bundle, options.config)
    container_id = command.words[0] if command.words else "ID"
    layout = layout_of(command.options["view"])
    facts = gather(layout)
    with bundle.source():
        if command.options["exec"]:
            process = parse_process(read_process(command.options["exec"]))
            bundle = replace(bundle, config=replace(bundle.config, process=process))
        config = bundle.config
        cgroup = plan_cgroup(config.linux.cgroupsPath, container_id, layout, options.cgroup_manager)
        request = make_request(bundle, options, container_id, cgroup.paths())
        if command.options["exec"]:
            kinds = frozenset(namespace.type for namespace in config.linux.namespaces)
            yield from host.timeline(build.execute(config, request, facts, kinds), [])
            return
        yield from host.create(config, request, facts, root=state_root(command))


def layout_of(view: str) -> Layout:
    """Return the cgroup layout of this host, or the usual one of a mode.

    Raises:
        UsageError: there is no such mode.
    """
    if view and view not in VIEWS:
        raise UsageError(f'--view must be one of {", ".join(VIEWS)}, not "{printable(view)}"')
    return usual(view) if view else detect()


def read_process(file: str) -> Any:
    """Return the content of a file with a process object.

    Raises:
        Error: it cannot be read, or is not JSON.
    """
    try:
        return codec.loads(read_given(file), file)
    except OSError as error:
        raise wrap(f"reading {file}", error) from error
