"""A plan is a function of its inputs, says where each step comes from, and survives its encoding."""

import struct
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import SCHEMAS, Json, values

from pyoci import native
from pyoci.cgroups.layout import Layout
from pyoci.config.forms import normal_path
from pyoci.config.model import Mount
from pyoci.config.parse import parse_config
from pyoci.config.tables import MOUNT_OPTIONS
from pyoci.errors import ConfigError
from pyoci.plan import build, cover
from pyoci.plan.builder import Facts, Request
from pyoci.stage.encode import encode
from pyoci.steps import Filter, Plan

HEAD, RECORD_SIZE = struct.Struct("=6I"), 8 + 6 * 8
HYBRID = {"": "/sys/fs/cgroup/unified", "cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct"}
KINDS = ("pid", "network", "ipc", "uts", "cgroup", "time")
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

paths = st.lists(st.sampled_from(("a", "b", "etc", "é", "..", "x y")), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
options = st.lists(st.sampled_from((*sorted(MOUNT_OPTIONS), "size=1m", "mode=755")), max_size=4)
mounts = st.lists(
    st.fixed_dictionaries(
        {"destination": paths, "type": st.sampled_from(("tmpfs", "bind", "cgroup", "devpts", "ext4")), "source": paths},
        optional={"options": options},
    ),
    max_size=4,
)
namespaces = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(KINDS)}, optional={"path": paths}),
    unique_by=lambda each: each["type"],
    max_size=5,
).map(lambda listed: [{"type": "mount"}, *listed])  # without it next to nothing may be asked for


def part(name: str, *members: str) -> st.SearchStrategy[Any]:
    """Return a strategy for valid values of a member of linux or process, from the schema."""
    schema = SCHEMAS[name]
    for member in members:
        schema = schema["properties"][member]
    return values(schema, name)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Make configurations that most often pass the rules across members."""
    hook = st.fixed_dictionaries(
        {"path": paths},
        optional={"args": st.lists(st.text("ab=é"), min_size=1, max_size=3), "env": st.just(["A=b"]), "timeout": st.just(3)},
    )
    device = st.fixed_dictionaries(
        {"path": paths, "type": st.sampled_from("cbu"), "major": st.integers(0, 4095), "minor": st.integers(0, 2**20 - 1)}
    )
    user = draw(st.sampled_from(([], [{"type": "user"}], [{"type": "user", "path": "/ns"}])))
    maps = [{"containerID": 0, "hostID": 9, "size": 9}]
    return {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": draw(st.booleans())},
        "process": {
            "args": draw(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=3)),
            "cwd": "/",
            "terminal": draw(st.booleans()),
            "noNewPrivileges": draw(st.booleans()),
            "env": draw(st.lists(st.sampled_from(("A=b", "PATH=/bin:", "C=")), max_size=3)),
            "rlimits": draw(st.sampled_from(([], [{"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1}]))),
        },
        "mounts": draw(mounts),
        "hooks": draw(st.dictionaries(st.sampled_from(("prestart", "createContainer", "startContainer")), st.lists(hook, max_size=2))),
        "linux": {
            "namespaces": [*draw(namespaces), *user],
            **({"uidMappings": maps, "gidMappings": maps} if user and "path" not in user[0] else {}),
            **draw(st.sampled_from(({}, {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}))),
            "devices": draw(st.lists(device, max_size=2)),
            "maskedPaths": draw(st.lists(paths, max_size=3)),
            "readonlyPaths": draw(st.lists(paths, max_size=3)),
            **draw(st.fixed_dictionaries({}, optional={"rootfsPropagation": st.sampled_from(("shared", "slave", "private"))})),
        },
    }


def planned(document: dict[str, Any], mode: Layout) -> Plan:
    """Return the plan; reject the example if the document breaks a rule."""
    try:
        config = parse_config(Json(document))
        compiled = Filter(program=bytes(8)) if config.linux.seccomp else None
        request = Request(id="id", bundle="/b", rootfs="/b/rootfs", preserveFds=1, extraEnv=["HOME=/"], filter=compiled)
        return build.create(config, request, Facts(privileged=True, euid=0, layout=mode))
    except ConfigError:
        assume(False)
        raise


layouts = st.sampled_from((Layout(mounts={"": "/sys/fs/cgroup"}, own={}), Layout(mounts=HYBRID, own={})))


@relaxed
@given(documents(), layouts)
def test_the_same_inputs_give_the_same_plan(document: dict[str, Any], layout: Layout) -> None:
    one, other = planned(document, layout), planned(document, layout)
    assert one == other
    assert encode(one) == encode(other)


@relaxed
@given(documents(), layouts)
def test_every_step_says_what_it_does_and_where_it_comes_from(document: dict[str, Any], layout: Layout) -> None:
    plan = planned(document, layout)
    for step in plan.steps:
        assert step.what
        value: Any = document
        for token in step.origin.split("/")[1:]:
            if isinstance(value, dict) and token not in value:
                break  # a default of the specification: its place is where the setting would be
            value = value[int(token)] if isinstance(value, list) else value[token]


@relaxed
@given(documents(), layouts)
def test_every_slot_is_filled_before_it_is_used(document: dict[str, Any], layout: Layout) -> None:
    plan = planned(document, layout)
    filled = {given.slot for given in plan.inputs}
    for step in plan.steps:
        for slot, fills in step.slots():
            assert fills or slot in filled, step
            filled.add(slot)


def tables() -> list[tuple[str, dict[str, Any]]]:
    """Read the operations in the order of their numbers."""
    files = sorted((Path(__file__).parents[2] / "spec" / "operations").glob("[0-9]-*.toml"))
    return [entry for file in files for entry in tomllib.loads(file.read_text()).items()]


OPERATIONS = tables()
# How many numbers an operand is, and how wide each is.
WIDE = {"number64": "Q", "flags64": "Q", "device": "Q", "strings": "II", "slots": "II", "ids": "II", "filter": "II"}
SIGNED = {"slot": "i", "new_slot": "i", "optional_slot": "i", "signed": "i"}


@relaxed
@given(documents(), layouts)
def test_what_is_encoded_decodes_to_the_same(document: dict[str, Any], layout: Layout) -> None:
    """The decoder is this file's own, after native/plan.h and spec/operations."""
    plan = planned(document, layout)
    block = encode(plan)
    magic, version, nsteps, nstrings, nslots, ninputs = HEAD.unpack_from(block)
    strings = block[HEAD.size + nsteps * RECORD_SIZE :]
    assert (magic, version, len(strings)) == (native.lib.PLAN_MAGIC, native.lib.PLAN_VERSION, nstrings)
    assert (nsteps, ninputs) == (len(plan.steps), len(plan.inputs))
    assert strings[:1] == strings[-1:] == b"\0"
    slots: dict[str, int] = {given.slot: index for index, given in enumerate(plan.inputs)}
    for index, step in enumerate(plan.steps):
        record = block[HEAD.size + index * RECORD_SIZE :][:RECORD_SIZE]
        number, flags = struct.unpack_from("=HH", record)
        name, entry = OPERATIONS[number]
        assert name == step.operation.NAME
        for bit, flag in enumerate(entry.get("flags", {})):
            assert getattr(step.operation, flag) == bool(flags >> bit & 1)
        at = 8
        operands = entry.get("operands", {}).items()
        for operand, how in sorted(operands, key=lambda pair: pair[1]["kind"] not in WIDE):
            form = WIDE.get(how["kind"]) or SIGNED.get(how["kind"], "I")
            values = struct.unpack_from(f"={form}", record, at)
            at += struct.calcsize(f"={form}")
            found = decoded(how["kind"], values, strings)
            expected = getattr(step.operation, operand)
            if how["kind"] in SIGNED and how["kind"] != "signed":
                expected = slots.setdefault(expected, len(slots)) if expected else -1
            elif how["kind"] == "slots":
                expected = [slots[each] for each in expected]
            assert found == (list(expected) if isinstance(found, list) else expected), (name, operand)
    assert len(slots) == nslots


def decoded(kind: str, values: tuple[int, ...], strings: bytes) -> Any:
    """Return what an operand means."""
    rest = strings[values[0] :]
    if kind in ("text", "path", "host_path"):
        return text_of(rest.split(b"\0", 1)[0])
    if kind == "strings":
        return [text_of(each) for each in rest.split(b"\0", values[1])[: values[1]]]
    if kind in ("slots", "ids", "filter"):
        assert values[0] % 8 == 0
    if kind == "filter":
        return rest[: 8 * values[1]]
    if kind in ("slots", "ids"):
        return list(struct.unpack_from(f"={values[1]}{'i' if kind == 'slots' else 'I'}", rest))
    return values[0]


def text_of(raw: bytes) -> str:
    """Decode as pyoci encodes."""
    return raw.decode("utf-8", "surrogateescape")


# What the text of a place decides about: /dev and its nodes, /proc and /sys, the cgroups, what is masked.
KNOWN = ("/dev", "/dev/null", "/dev/ptmx", "/dev/pts", "/proc", "/proc/uptime", "/proc/kcore", "/sys", "/sys/fs/cgroup", "/a")


@st.composite
def respelled(draw: st.DrawFn, path: str, *, up: bool) -> str:
    """Spell an absolute path in another way that means the same by its text."""
    fillers = ["/", "/", "//", "/./", "/.//", *(["/x/../"] if up else [])]
    text = "".join(draw(st.sampled_from(fillers)) + part for part in path.split("/")[1:])
    return text + draw(st.sampled_from(("", "/", "/.", *(["/y/.."] if up else []))))


@relaxed
@given(st.data(), layouts)
def test_a_place_may_be_spelled_in_any_way(data: st.DataObject, layout: Layout) -> None:
    known = st.lists(st.sampled_from(KNOWN), max_size=5)
    kinds = st.sampled_from(("tmpfs", "bind", "proc", "cgroup", "sysfs", "none"))
    entries = [(path, data.draw(kinds), data.draw(options)) for path in data.draw(known)]
    devices, masks, readonly = data.draw(known), data.draw(known), data.draw(known)
    user = data.draw(st.sampled_from(([], [{"type": "user"}])))
    maps = {f"{kind}Mappings": [{"containerID": 0, "hostID": 9, "size": 9}] for kind in ("uid", "gid") if user}

    def document(spell: Any) -> dict[str, Any]:
        listed = [
            {"destination": spell(path, True), "type": kind, "source": "/proc" if path == "/proc" else "/a", "options": chosen}
            for path, kind, chosen in entries
        ]
        return {
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": {"args": ["x"], "cwd": "/"},
            "mounts": listed,
            "linux": {
                "namespaces": [{"type": "mount"}, *user],
                **maps,
                "devices": [{"path": spell(path, True), "type": "c", "major": 1, "minor": 3} for path in devices],
                "maskedPaths": [spell(path, False) for path in masks],
                "readonlyPaths": [spell(path, False) for path in readonly],
            },
        }

    plain = planned(document(lambda path, _: path), layout)
    assert planned(document(lambda path, up: data.draw(respelled(path, up=up))), layout) == plain


@given(st.lists(st.tuples(st.sampled_from(("/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/a-b")), st.booleans()), max_size=8), paths)
def test_a_path_lies_in_the_last_mount_that_leads_to_it(entries: list[tuple[str, bool]], path: str) -> None:
    path = normal_path(path)
    listed = [Mount(destination=where, options=["remount"] if again else []) for where, again in entries]
    leading = [
        index
        for index, (where, again) in enumerate(entries)
        if not again and (path + "/").startswith(where.rstrip("/") + "/")
    ]
    assert cover.covering(listed, ["/a", path])[1] == (leading[-1] if leading else -1)
    for index, (where, _) in enumerate(entries):
        before = [i for i in range(index) if entries[i] == (where, False)]
        assert cover.remounted(listed)[index] == (before[-1] if before else -1)
