"""The host side's part of the plan: what pyoci itself does for a container, in order.

Like the rest of the planner, this touches nothing.  The lifecycle modules do these things, and get the values from the
same functions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyoci.cgroups import planned
from pyoci.cgroups.layout import Layout, cgroup_owner
from pyoci.config.check import is_new
from pyoci.config.model import Config, Hook
from pyoci.config.resources import Resources
from pyoci.config.tables import NAMESPACES
from pyoci.config.versions import as_meant
from pyoci.linux import BARRIER_HOOKS, BARRIER_MAPS, BARRIER_READY
from pyoci.operations import Barrier
from pyoci.plan import build
from pyoci.plan.builder import Facts, Request
from pyoci.plan.namespaces import host_offsets
from pyoci.stage.idmap import map_text
from pyoci.steps import Plan, Step, Write

# Moments other than the stage's barriers.
BEFORE, WITH_PLAN, STARTED, DELETED = "before the stage", "while the stage works", "after start", "at deletion"
Moment = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that the host side does.

    path is the file, directory or program; value what is written there; origin the JSON pointer of the setting.
    """

    what: str
    origin: str = ""
    path: str = ""
    value: str = ""


Entry = Action | tuple[int, Step]


def limits_come_first(config: Config, layout: Layout) -> bool:
    """Return whether the limits must be in force before the stage starts.

    The stage may run hooks inside the cgroup, or set a realtime policy, which needs the runtime of its cgroup.  With v1
    the device list is written rule by rule, and denies too much meanwhile.
    """
    return bool(layout.mode != "v2" or config.hooks.createContainer or config.process and config.process.scheduler)


def create(config: Config, request: Request, facts: Facts, *, root: str) -> Iterator[Entry]:
    """Return what both sides do for a create, a start and a delete, below the state root *root*.

    Raises:
        ConfigError: something that only the plan can tell.
    """
    plan = build.create(config, request, facts)
    return timeline(plan, actions(config, request, facts.layout, plan.clone_flags, root=root))


def timeline(plan: Plan, actions: Sequence[tuple[Moment, Action]]) -> Iterator[Entry]:
    """Return what both sides do, in order: actions of the host side, and steps of the stage with their numbers."""
    at: dict[Moment, list[Action]] = {}
    for moment, action in actions:
        at.setdefault(moment, []).append(action)
    yield from at.get(BEFORE, ())
    for write in plan.writes:
        yield proc_write(write)
    for given in plan.inputs:
        what = f"{given.describe()}, for the slot {given.slot}"
        yield Action(what=what, origin=given.origin, value=given.content())
    yield from at.get(WITH_PLAN, ())
    for number, step in enumerate(plan.steps):
        yield number, step
        if isinstance(step.operation, Barrier):
            yield from at.get(step.operation.point, ())
    yield from at.get(STARTED, ())
    yield from at.get(DELETED, ())


def proc_write(write: Write) -> Action:
    """Describe a file of the stage in /proc."""
    return Action(what=write.what, origin=write.origin, path=f"/proc/STAGE/{write.file}", value=write.text)


def actions(
    config: Config, request: Request, layout: Layout, clone_flags: int, *, root: str
) -> list[tuple[Moment, Action]]:
    """Return what the host side does for a create, a start and a delete, each with its moment."""
    directory = f"{root}/{request.id}"
    cgroup = list(dict.fromkeys(request.cgroupPaths.values()))
    resources = as_meant(config.linux.resources, config.ociVersion)
    born = ", ".join(kind for kind, flag in NAMESPACES.items() if clone_flags & flag)
    limits: Moment = BEFORE if limits_come_first(config, layout) else WITH_PLAN
    listed: list[tuple[Moment, Action]] = [(BEFORE, action) for action in _state(directory)]
    listed += [(BEFORE, Action(what="making the cgroup", path=each, origin="/linux/cgroupsPath")) for each in cgroup]
    listed += [(limits, action) for action in _limits(config, request, layout, resources)]
    what = f"starting the stage in its cgroup{f', born in new namespaces: {born}' if born else ''}"
    listed.append((BEFORE, Action(what=what, path=request.rootfs, origin="/root/path")))
    listed += _at_barriers(config)
    listed += [(BARRIER_READY, action) for action in _tasks(request, resources)]
    state = Action(what="recording the container", path=f"{directory}/state.json")
    listed.append((BARRIER_READY, state))
    listed += [(STARTED, action) for action in _hooks("poststart", config.hooks.poststart)]
    listed += [(DELETED, Action(what="removing the cgroup", path=each)) for each in reversed(cgroup)]
    listed.append((DELETED, Action(what="removing the container's directory", path=directory)))
    listed += [(DELETED, action) for action in _hooks("poststop", config.hooks.poststop)]
    return listed


def _state(directory: str) -> Iterator[Action]:
    yield Action(what="making the container's directory", path=directory)
    yield Action(what="keeping the configuration", path=f"{directory}/config.json")
    for name in ("gate", "status"):
        yield Action(what="making a FIFO", path=f"{directory}/{name}")


def _limits(config: Config, request: Request, layout: Layout, resources: Resources | None) -> Iterator[Action]:
    """Return what is written into the cgroup; the limit of tasks comes later, see _tasks()."""
    for what, path, value, origin in planned.limits(request.cgroupPaths, layout, resources):
        if not path.endswith("/pids.max"):
            yield Action(what=what, path=path, value=value, origin=origin)
    owner = cgroup_owner(config)
    if owner is not None and set(request.cgroupPaths) == {""}:
        what = f"giving the cgroup to user {owner}"
        yield Action(what=what, path=request.cgroupPaths[""], origin="/linux/uidMappings")


def _tasks(request: Request, resources: Resources | None) -> Iterator[Action]:
    """Return the limit of tasks: it counts the stage and the hooks, too, and comes into force when they are done."""
    if resources and resources.pids:
        only = Resources(pids=resources.pids)
        for what, path, value, origin in planned.limits(request.cgroupPaths, None, only):
            yield Action(what=what, path=path, value=value, origin=origin)


def _at_barriers(config: Config) -> Iterator[tuple[Moment, Action]]:
    linux = config.linux
    if is_new(linux.namespaces, "user"):
        for name, maps in (("uid", linux.uidMappings), ("gid", linux.gidMappings)):
            path, value = f"/proc/STAGE/{name}_map", map_text(maps)
            action = Action(what=f"writing {name}_map", path=path, value=value, origin=f"/linux/{name}Mappings")
            yield BARRIER_MAPS, action
    if offsets := host_offsets(linux):
        yield BARRIER_MAPS, proc_write(offsets)
    for name in ("prestart", "createRuntime"):
        for action in _hooks(name, getattr(config.hooks, name)):
            yield BARRIER_HOOKS, action


def _hooks(name: str, hooks: Sequence[Hook]) -> Iterator[Action]:
    """Describe hooks that run in the runtime's namespaces: their arguments, environment and timeout."""
    for index, hook in enumerate(hooks):
        value = " ".join([*(hook.args or [hook.path]), *(f"[{each}]" for each in hook.env or ())])
        what = f"running the {name} hook{f', at most {hook.timeout} s' if hook.timeout else ''}"
        yield Action(what=what, path=hook.path, value=value, origin=f"/hooks/{name}/{index}")

