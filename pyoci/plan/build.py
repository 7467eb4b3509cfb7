"""The table of contents of creating a container, and of entering one.

Pure: a configuration, a request and facts about the host go in, a Plan comes out.
"""

from pyoci import operations as ops
from pyoci.config.model import Config
from pyoci.config.tables import NAMESPACES
from pyoci.errors import ConfigError, Problem
from pyoci.linux import BARRIER_HOOKS
from pyoci.plan import mounts, namespaces, process, protect, rootfs, sources
from pyoci.plan.builder import Builder, Facts, Request
from pyoci.plan.steps import Plan
from pyoci.stage.inputs import Given

CONTAINER = "container"
# Members of linux that are read and checked, and then refused.
UNSUPPORTED = ("netDevices", "intelRdt", "memoryPolicy")


def create(config: Config, request: Request, facts: Facts) -> Plan:
    """Plan a new container, up to the gate and behind it; runtime.md#lifecycle.

    Raises:
        ConfigError: something that only the plan can tell (an unknown option of a bind mount, say).
    """
    refuse_unsupported(config)
    builder = Builder(config, request, facts)
    namespaces.enter(builder)
    namespaces.set_up(builder)
    namespaces.keyring(builder)
    if "mount" in builder.new | builder.joined:
        _file_systems(builder)
    else:
        _hooks(builder)
        rootfs.change_root(builder)
    if config.process:
        process.take_identity(builder, config.process, gate=True)
        process.execute(builder, config.process, gate=True)
    else:
        process.idle(builder)
    return builder.plan()


def refuse_unsupported(config: Config) -> None:
    """Refuse what the specification knows and pyoci cannot do yet: a setting is applied or it is an error.

    Raises:
        ConfigError: such a setting is there.
    """
    problems = [
        Problem(pointer=f"/linux/{name}", message="is not supported yet")
        for name in UNSUPPORTED
        if getattr(config.linux, name)
    ]
    if problems:
        raise ConfigError("config.json", problems)


def _file_systems(builder: Builder) -> None:
    """Everything between the host's mounts and the container's own root."""
    rootfs.root(builder)
    sources.enter(builder)
    mounts.open_sources(builder)
    rootfs.open_devices(builder)
    protect.open_masks(builder)
    mounts.mount_all(builder)
    sources.leave(builder)
    rootfs.devices(builder)
    rootfs.console(builder)
    _hooks(builder)
    protect.protect(builder)
    rootfs.pivot(builder)


def _hooks(builder: Builder) -> None:
    """Run the hooks of create: all that they may want to see is there, and the root is still the host's."""
    hooks = builder.config.hooks
    if hooks.prestart or hooks.createRuntime:
        barrier = ops.Barrier(point=BARRIER_HOOKS)
        builder.add(barrier, "waiting for the prestart and createRuntime hooks", "/hooks")
    process.hooks(builder, "createContainer")


def execute(config: Config, request: Request, facts: Facts, kinds: frozenset[str]) -> Plan:
    """Plan one more process in a running container; config.process is what it runs.

    kinds are the namespaces (by config's names) in which the container differs from pyoci.
    """
    builder = Builder(config, request, facts)
    assert config.process is not None
    namespaces.guard(builder)
    builder.give(Given(slot=CONTAINER))
    join = ops.JoinProcess(process=CONTAINER, namespaces=sum(NAMESPACES[kind] for kind in kinds))
    builder.add(join, f"joining the container's namespaces {', '.join(sorted(kinds))}")
    if "pid" in kinds:
        builder.add(ops.Fork(), "entering the container's PID namespace")
    if "user" in kinds:
        builder.add(ops.BecomeRoot(keep_groups=builder.keeps_groups()), "becoming root of the user namespace")
    builder.add(ops.Setsid(), "starting a new session")
    namespaces.keyring(builder)
    if config.process.terminal:
        rootfs.terminal(builder, config.process, bind=False)
        rootfs.take_terminal(builder)
    process.take_identity(builder, config.process, gate=False)
    process.execute(builder, config.process, gate=False)
    return builder.plan()
