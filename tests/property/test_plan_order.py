"""The order of steps that security rests on, in every plan."""

from typing import Any

from hypothesis import given
from test_plan import documents, layouts, planned, relaxed

from pyoci import operations as ops
from pyoci.cgroups.layout import Layout
from pyoci.linux import BARRIER_MAPS, BARRIER_READY

# What moves the process into namespaces, where others may see it.
ENTERING = (ops.Join, ops.JoinProcess, ops.Fork, ops.Unshare)
# What needs capabilities that the program does not have.
PRIVILEGED = (
    *ENTERING,
    *(ops.OpenTree, ops.Fsmount, ops.SetAttributes, ops.Attach, ops.Remount, ops.Propagate, ops.HostPropagation),
    *(ops.Device, ops.MaskPath, ops.ReadonlyPath, ops.Pivot, ops.RootReadonly, ops.Console, ops.Sysctl),
    *(ops.Rlimit, ops.Scheduler, ops.Bounding, ops.Groups, ops.Ids),
)
MOUNTING = (ops.Fsmount, ops.OpenTree, ops.Attach, ops.Remount)


def operations(document: dict[str, Any], layout: Layout) -> list[ops.Operation]:
    """Return the operations of a plan."""
    return [step.operation for step in planned(document, layout).steps]


def places(listed: list[ops.Operation], *kinds: type[ops.Operation]) -> list[int]:
    """Return where operations of some kinds are."""
    return [index for index, each in enumerate(listed) if isinstance(each, kinds)]


@relaxed
@given(documents(), layouts)
def test_the_stage_is_hidden_before_it_enters_anything(document: dict[str, Any], layout: Layout) -> None:
    listed = operations(document, layout)
    assert places(listed, ops.Undumpable)[0] < min(places(listed, *ENTERING))


@relaxed
@given(documents(), layouts)
def test_nothing_privileged_follows_the_filter_or_the_capabilities(document: dict[str, Any], layout: Layout) -> None:
    listed = operations(document, layout)
    last = max(places(listed, *PRIVILEGED))
    assert places(listed, ops.Capabilities)[0] > last
    assert all(index > last for index in places(listed, ops.Seccomp))
    if document["process"]["noNewPrivileges"]:
        assert all(index > places(listed, ops.NoNewPrivs)[0] for index in places(listed, ops.Seccomp))


@relaxed
@given(documents(), layouts)
def test_every_filter_is_loaded(document: dict[str, Any], layout: Layout) -> None:
    assert len(places(operations(document, layout), ops.Seccomp)) == ("seccomp" in document["linux"])


@relaxed
@given(documents(), layouts)
def test_paths_are_protected_after_the_mounts_and_before_the_pivot(document: dict[str, Any], layout: Layout) -> None:
    listed = operations(document, layout)
    mounted, pivot = max(places(listed, *MOUNTING), default=-1), places(listed, ops.Pivot)
    for index in places(listed, ops.MaskPath, ops.ReadonlyPath):
        assert mounted < index < pivot[0]
    assert len(pivot) == 1


@relaxed
@given(documents(), layouts)
def test_sources_of_the_host_are_opened_before_its_mounts_are_covered(document: dict[str, Any], layout: Layout) -> None:
    listed = operations(document, layout)
    attached = places(listed, ops.Attach)
    for index in places(listed, ops.OpenTree):
        tree = listed[index]
        assert isinstance(tree, ops.OpenTree)
        assert tree.in_root or not attached or index < attached[0]


@relaxed
@given(documents(), layouts)
def test_the_helper_ends_before_anything_of_the_container_runs(document: dict[str, Any], layout: Layout) -> None:
    listed = operations(document, layout)
    helped = [each for each in listed if isinstance(each, ops.Fork) and each.helper]
    ends = places(listed, ops.HelperEnd)
    assert len(ends) == bool(helped)
    running = places(listed, ops.Hook, ops.Gate)
    assert all(end < min(running) for end in ends)


@relaxed
@given(documents(), layouts)
def test_descriptors_are_closed_before_the_user_changes(document: dict[str, Any], layout: Layout) -> None:
    """CVE-2024-21626: nothing of the host is open when a path of the container is resolved for the program."""
    listed = operations(document, layout)
    closed = places(listed, ops.Close)
    assert closed[0] < min(places(listed, ops.Ids, ops.ResolveExec))
    close = listed[closed[0]]
    assert isinstance(close, ops.Close)
    later = {slot for step in planned(document, layout).steps[closed[0] + 1 :] for slot, _ in step.slots()}
    assert set(close.keep) == later


@relaxed
@given(documents(), layouts)
def test_the_program_comes_last_and_behind_the_gate(document: dict[str, Any], layout: Layout) -> None:
    listed = operations(document, layout)
    assert places(listed, ops.Exec) == [len(listed) - 1]
    ready = [index for index, each in enumerate(listed) if isinstance(each, ops.Barrier) and each.point == BARRIER_READY]
    (gate,) = places(listed, ops.Gate)
    assert ready == [gate - 1]
    barrier, waiting, program = listed[gate - 1], listed[gate], listed[-1]
    filtered = "seccomp" in document["linux"]
    assert barrier == ops.Barrier(point=BARRIER_READY, outlive=not filtered, hang_up=True)
    assert isinstance(waiting, ops.Gate) and waiting.filtered == filtered
    assert isinstance(program, ops.Exec) and program.report


@relaxed
@given(documents(), layouts)
def test_a_new_user_namespace_is_mapped_before_its_root_is_taken(document: dict[str, Any], layout: Layout) -> None:
    listed = operations(document, layout)
    if "uidMappings" not in document["linux"]:
        return
    (mapped,) = [index for index, each in enumerate(listed) if each == ops.Barrier(point=BARRIER_MAPS)]
    (fork,) = [index for index in places(listed, ops.Fork)]
    assert fork < mapped < places(listed, ops.BecomeRoot)[0]
