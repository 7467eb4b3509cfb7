"""Applying linux.resources: limits by files, device rules by files (v1) or a BPF program (v2).

Each resource is written to the hierarchy that has its controller.  On a hybrid host that is v1 for most of them, and
``unified`` is for the controllers of v2.
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import fields

from pyoci.cgroups import devices, v1, v2
from pyoci.cgroups.files import read, read_or
from pyoci.cgroups.writes import Write, perform
from pyoci.config.resources import Resources
from pyoci.errors import KernelError, wrap
from pyoci.kernel import is_host_root
from pyoci.log import debug
from pyoci.native import ffi, lib

# Controllers that have another name in v2.
V2_NAMES = {"blkio": "io"}
LOG_BYTES = 65536
NOT_PERMITTED = (errno.EPERM, errno.EACCES)


def has_limits(resources: Resources | None) -> bool:
    """Return whether there is any limit; device rules and values that mean "unset" do not count."""
    if resources is None:
        return False
    if resources.pids is not None and resources.pids.limit not in (None, -1):
        return True
    parts = (resources.memory, resources.cpu, resources.blockIO, resources.network)
    values = [getattr(part, each.name) for part in parts if part is not None for each in fields(part)]
    return any(
        (
            *(value not in (None, -1) and value for value in values),
            resources.hugepageLimits,
            resources.rdma,
            resources.unified,
        )
    )


def apply(paths: Mapping[str, str], resources: Resources | None, update: bool, fresh: bool) -> None:
    """Write all values, see Cgroup.apply(); with *fresh* nothing has been written to the cgroup yet."""
    given = resources or Resources()
    if not update:
        _apply_devices(paths, given, fresh)
    unified = _unified(paths, given)  # raises errors before anything is written
    kept = _write_v1(paths, given, update) if any(paths) else None
    if "" in paths:
        if kept is None or "memory" in kept:
            _check_usage(paths[""], given)
        perform([*v2.writes(given, kept, _cpu_max(paths, update)), *unified], lambda _controller: paths[""])


def _write_v1(paths: Mapping[str, str], resources: Resources, update: bool) -> set[str]:
    """Write the values for v1; return the controllers that v2 has on a hybrid host, by their v2 names."""
    kept = _kept_by_v2(paths, [name for name in v1.SECTIONS if name not in paths])
    present = _memory_limit(paths) if update else None
    perform(v1.writes(resources, set(v1.SECTIONS) - kept, present), paths.get)
    return {V2_NAMES.get(name, name) for name in kept}


def _kept_by_v2(paths: Mapping[str, str], candidates: list[str]) -> set[str]:
    """Return those of the controllers without a v1 hierarchy that v2 has."""
    if "" not in paths or not candidates:
        return set()
    enabled = read_or(f"{paths['']}/cgroup.controllers", "").split()
    return {name for name in candidates if V2_NAMES.get(name, name) in enabled}


def _unified(paths: Mapping[str, str], resources: Resources) -> list[Write]:
    """Return the writes of ``unified``.

    Raises:
        ConfigError: the cgroup lacks a controller; config-linux.md#unified.
    """
    writes = v2.unified(resources)
    if not writes:
        return writes
    enabled = read(f"{paths['']}/cgroup.controllers").split() if "" in paths else []
    for one in writes:
        if "" not in paths or one.controller not in (*enabled, "cgroup"):
            raise v2.unavailable(one)
    return writes


def _memory_limit(paths: Mapping[str, str]) -> int | None:
    """Return the current memory limit of v1."""
    if "memory" not in paths:
        return None
    return int(read(f"{paths['memory']}/memory.limit_in_bytes"))


def _cpu_max(paths: Mapping[str, str], update: bool) -> str:
    """Return the current cpu.max of v2 for an update, which may change the period only."""
    return read_or(f"{paths['']}/cpu.max", v2.MAX) if update and "" in paths else v2.MAX


def _check_usage(directory: str, resources: Resources) -> None:
    """Refuse a limit below the current usage if the configuration wants this check (checkBeforeUpdate).

    Raises:
        KernelError: EBUSY, with which v1 refuses such a limit by itself.
    """
    memory = resources.memory
    if memory is None or not memory.checkBeforeUpdate:
        return
    swap = v2.swap_max(memory)
    for limit, usage, name in (
        (memory.limit if (memory.limit or 0) > 0 else None, "memory.current", "limit"),
        (None if swap in (None, v2.MAX) else int(swap or 0), "memory.swap.current", "swap"),
    ):
        used = int(read_or(f"{directory}/{usage}", "0")) if limit is not None else 0
        if limit is not None and used > limit:
            raise KernelError(
                f"limiting memory of {directory} to {limit} bytes",
                errno.EBUSY,
                f"{v2.RESOURCES}/memory/{name}",
                f"{used} bytes are in use",
            )


def _apply_devices(paths: Mapping[str, str], resources: Resources, fresh: bool) -> None:
    """Apply the device rules.

    In a user namespace nobody can change device rules, but nobody can create device nodes either, so that nothing is
    lost if the kernel refuses.
    """
    listed = devices.rules(resources.devices)
    if fresh and devices.unrestricted(listed):
        return
    try:
        if "devices" in paths:
            _write_devices(paths["devices"], listed)
        elif "" in paths:
            _attach_devices(paths[""], listed)
        elif is_host_root():
            raise KernelError(
                "limiting the use of devices",
                errno.ENOENT,
                devices.POINTER,
                "the host has no devices controller in use",
            )
    except KernelError as error:
        if error.number not in NOT_PERMITTED or is_host_root():
            raise


def _write_devices(directory: str, listed: list[devices.Rule]) -> None:
    perform(
        [
            Write(controller="devices", file=file, value=line, pointer=devices.POINTER)
            for file, line in devices.v1_lines(listed)
        ],
        lambda _controller: directory,
    )


def _attach_devices(directory: str, listed: list[devices.Rule]) -> None:
    """Load and attach the program; if the verifier refuses it, the error has the end of the verifier's log."""
    program = devices.v2_program(listed)
    instructions = len(program) // devices.INSTRUCTION.size
    debug(f"attaching a device program of {instructions} instructions to {directory}")
    log = ffi.new("char[]", LOG_BYTES)
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise wrap(f"opening the cgroup {directory}", error) from error
    try:
        result = lib.pyoci_bpf_device_attach(fd, program, instructions, log, LOG_BYTES)
    finally:
        os.close(fd)
    if result < 0:
        words = ffi.string(log, LOG_BYTES).decode("utf-8", "replace").split("\n")
        hint = " | ".join(line.strip() for line in words[-4:] if line.strip())
        raise KernelError(f"attaching the device program to {directory}", -result, devices.POINTER, hint)
