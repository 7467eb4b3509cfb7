"""The plan of a new container, and of one more process in a running container, from beginning to end.

Planning is pure: it takes a configuration, a request and facts about the host, makes no system call and returns a Plan.
"""

from pyoci import operations as ops
from pyoci.config.model import Config
from pyoci.config.tables import NAMESPACES
from pyoci.errors import ConfigError, Problem
from pyoci.linux import BARRIER_HOOKS
from pyoci.plan import mounts, namespaces, process, protect, rootfs, sources
from pyoci.plan.builder import Builder, Facts, Request
from pyoci.stage.inputs import Given
from pyoci.steps import Plan

CONTAINER = "container"
# Members of linux that are read and checked, and then refused.
UNSUPPORTED = ("netDevices", "intelRdt", "memoryPolicy")


def create(config: Config, request: Request, facts: Facts) -> Plan:
    """Return the plan of a new container; runtime.md#lifecycle.

    Raises:
        ConfigError: the configuration asks for something that cannot be done, such as an unknown bind mount option.
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
    """Refuse settings that pyoci does not implement yet: a setting is either applied or an error.

    Raises:
        ConfigError: the configuration has such a setting.
    """
    problems = [
        Problem(pointer=f"/linux/{name}", message="is not supported yet")
        for name in UNSUPPORTED
        if getattr(config.linux, name)
    ]
    if problems:
        raise ConfigError("config.json", problems)


def _file_systems(builder: Builder) -> None:
    """Replace the host's mounts with the container's root file system."""
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
    """Run the hooks of create, when all mounts are there and the root directory is still the host's."""
    hooks = builder.config.hooks
    if hooks.prestart or hooks.createRuntime:
        barrier = ops.Barrier(point=BARRIER_HOOKS)
        builder.add(barrier, "waiting for the prestart and createRuntime hooks", "/hooks")
    process.hooks(builder, "createContainer")


def execute(config: Config, request: Request, facts: Facts, kinds: frozenset[str]) -> Plan:
    """Return the plan of one more process in a running container; config.process is that process.

    kinds are the types of namespaces in which the container differs from pyoci.
    """
    builder = Builder(config, request, facts)
    assert config.process is not None
    namespaces.hide(builder)
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
