"""The values that create or update would write to cgroup files, found without the host."""

from collections.abc import Iterator, Mapping

from pyoci.cgroups import devices, v1, v2
from pyoci.cgroups.layout import Layout
from pyoci.cgroups.writes import Write
from pyoci.config.resources import Resources

# A description, the file, the value, and the JSON pointer of the setting.
Planned = tuple[str, str, str, str]


def limits(paths: Mapping[str, str], layout: Layout | None, resources: Resources | None) -> Iterator[Planned]:
    """Yield what would be written to the cgroup; *paths* are its directories by controller ("" for v2).

    Without *layout* the device rules are left out, because an update does not change them.  On a hybrid host all
    controllers are assumed to be in v1: only the host knows which of them v2 has.

    Raises:
        ConfigError: the hierarchies cannot express a setting.
    """
    given = resources or Resources()
    if layout is not None:
        yield from _devices(paths, given)
    if any(paths):
        for write in v1.writes(given, {*v1.SECTIONS}):
            if directory := paths.get(write.controller):
                yield _shown(directory, write)
            elif not write.tolerated:
                absent = f"setting {write.file} fails: the host has no {write.controller} controller"
                yield absent, "", write.value, write.pointer
    unified = v2.unified(given)
    if "" in paths:
        kept = set[str]() if any(paths) else None
        for write in [*v2.writes(given, kept), *unified]:
            yield _shown(paths[""], write)
    elif unified and layout is not None:
        raise v2.unavailable(unified[0])


def _shown(directory: str, write: Write) -> Planned:
    return f"setting {write.file}", f"{directory}/{write.file}", write.value, write.pointer


def _devices(paths: Mapping[str, str], resources: Resources) -> Iterator[Planned]:
    listed = devices.rules(resources.devices)
    if devices.unrestricted(listed):
        return
    if "devices" in paths:
        for file, line in devices.v1_lines(listed):
            yield "setting a device rule", f"{paths['devices']}/{file}", line, devices.POINTER
    elif "" in paths:
        value = ", ".join(map(devices.rule_words, listed))
        yield "attaching a device program, in which the last matching rule decides", paths[""], value, devices.POINTER
