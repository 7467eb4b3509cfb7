"""The decoder refuses every plan that it could not address safely, and the delivery every half of one."""

import errno
import os
import random
import signal
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stage.encoder import FORMS, HEAD, NONE, OPERATIONS, WORDS, Plan, number, record
from tests.stage.harness import ALL_SEALS, MS_PRIVATE, MS_REC, Stage, detached

EMPTY = Plan().encode()
TABLE = b"\0abc\0"
NSLOTS = 2
MAX = 0xFFFFFFFF
# A step that fails when it runs, and keeps what should have been refused from doing so.
STOP = Plan().step("resolve_exec").steps[0]

GOOD = {"strings": (0, 0), "slots": (0, 0), "ids": (0, 0), "filter": (0, 0), "optional_slot": (NONE,)}
BAD_TEXTS = [(len(TABLE),), (MAX,)]
BAD_SLOTS = [(NSLOTS,), (-1,), (-0x80000000,), (0x7FFFFFFF,)]
BAD_ARRAYS = [(4, 0), (8, 0), (0xFFFFFFF8, 0), (0, 2), (0, MAX)]
# Kinds that are not named here are numbers, which the kernel judges.
BAD: dict[str, list[tuple[int, ...]]] = {
    "text": BAD_TEXTS,
    "path": BAD_TEXTS,
    "host_path": BAD_TEXTS,
    "strings": [(len(TABLE), 0), (len(TABLE), 1), (MAX, 1), (1, 2), (0, len(TABLE)), (0, MAX)],
    "slot": BAD_SLOTS,
    "new_slot": BAD_SLOTS,
    "optional_slot": [(NSLOTS,), (-2,), (-0x80000000,), (0x7FFFFFFF,)],
    "slots": [*BAD_ARRAYS, (0, 1), (0, 0x40000001)],  # "\0abc" is the number of no slot
    "ids": [*BAD_ARRAYS, (0, 0x40000001)],
    "filter": [*BAD_ARRAYS, (0, 1), (0, 0x20000001)],
}


def outcome(plan: bytes) -> tuple[int, int]:
    with Stage(plan, namespaces=0) as stage:
        report = stage.failed()
        return report.err, report.detail


REFUSED = (errno.EINVAL, number("DETAIL_PLAN"))
STOPPED = (errno.ENOENT, number("DETAIL_NOT_FOUND"))


def raw(steps: list[bytes], table: bytes = TABLE, nslots: int = NSLOTS, **head: int) -> bytes:
    values = {
        "magic": number("PLAN_MAGIC"),
        "version": number("PLAN_VERSION"),
        "nsteps": len(steps),
        "nstrings": len(table),
        "nslots": nslots,
        "ninputs": 0,
    }
    return HEAD.pack(*(values | head).values()) + b"".join(steps) + table


def operands(op: str, changes: dict[str, tuple[int, ...]]) -> bytes:
    kinds = OPERATIONS[op].operands.items()
    values = [changes.get(name, GOOD.get(kind, (0,))) for name, kind in kinds]
    return struct.pack(OPERATIONS[op].format, *(number for value in values for number in value))


def step(op: str, **changes: tuple[int, ...]) -> bytes:
    """A step of an operation that is right but for the changes, each the fields of an operand."""
    return record(OPERATIONS[op].number, 0, operands(op, changes))


def wrong_steps(op: str) -> Iterator[tuple[str, bytes]]:
    operation = OPERATIONS[op]
    for bit in (len(operation.flags), 15):
        yield f"flag {1 << bit}", record(operation.number, 1 << bit, operands(op, {}))
    yield "unused", record(operation.number, 0, operands(op, {}), unused=1)
    for name, kind in operation.operands.items():
        for value in BAD.get(kind, []):
            yield f"{name} {value}", step(op, **{name: value})


def test_an_empty_plan_runs_and_ends() -> None:
    with Stage(EMPTY, namespaces=0) as stage:
        assert stage.report() is None
        assert stage.status() == 0


@pytest.mark.parametrize(
    "plan",
    [
        raw([], magic=0),
        raw([], version=number("PLAN_VERSION") - 1),
        raw([], version=number("PLAN_VERSION") + 1),
        raw([], nsteps=1),
        raw([], nsteps=0xFFFFFFFF),
        raw([], nstrings=4),
        raw([], nstrings=0),
        raw([], nstrings=0xFFFFFFFF),
        raw([], nslots=number("PLAN_MAX_SLOTS") + 1),
        raw([], nslots=0, ninputs=1),
        raw([], table=b""),
        raw([], table=b"abc\0"),
        raw([], table=b"\0abc"),
        EMPTY[:-1],
        EMPTY[:20],
        EMPTY + b"\0",
    ],
    ids=lambda plan: plan.hex()[:60],
)
def test_a_malformed_block_is_refused(plan: bytes) -> None:
    assert outcome(plan) == REFUSED


@pytest.mark.parametrize("op", OPERATIONS)
def test_a_step_with_a_wrong_operand_is_refused_before_any_step_runs(op: str) -> None:
    known = record(OPERATIONS[op].number, (1 << len(OPERATIONS[op].flags)) - 1, operands(op, {}))
    assert outcome(raw([STOP, known])) == STOPPED
    for what, bad in wrong_steps(op):
        assert outcome(raw([STOP, bad])) == REFUSED, what


@pytest.mark.parametrize("op", [len(OPERATIONS), 0xFFFF])
def test_an_unknown_operation_is_refused(op: int) -> None:
    assert outcome(raw([STOP, record(op)])) == REFUSED


@pytest.mark.parametrize(
    ("slots", "expected"),
    [((0, 1), STOPPED), ((0, 1, 0, 1), STOPPED), ((0, NSLOTS), REFUSED), ((NSLOTS, 0), REFUSED), ((0, -1), REFUSED), ((0, 1, 0x7FFFFFFF), REFUSED)],
)
def test_every_item_of_an_array_of_slots_is_checked(slots: tuple[int, ...], expected: tuple[int, int]) -> None:
    table = bytes(8) + struct.pack(f"={len(slots)}i", *slots) + b"\0"
    for op, operation in OPERATIONS.items():
        for name, kind in operation.operands.items():
            if kind == "slots":
                assert outcome(raw([STOP, step(op, **{name: (8, len(slots))})], table)) == expected, (op, name)


def test_the_ends_of_every_range_are_accepted() -> None:
    """So that what is refused is refused for what it is, and not all of its kind."""
    ends = {
        "text": (len(TABLE) - 1,), "path": (1,), "host_path": (len(TABLE) - 1,), "slot": (NSLOTS - 1,), "new_slot": (NSLOTS - 1,),
        "optional_slot": (NSLOTS - 1,), "strings": (1, 1), "ids": (0, 1),
    }
    for op, operation in OPERATIONS.items():
        changes = {name: ends[kind] for name, kind in operation.operands.items() if kind in ends}
        assert outcome(raw([STOP, step(op, **changes)])) == STOPPED, op
    for offset, expected in ((8, STOPPED), (16, REFUSED)):
        for op, name in (("seccomp", "filter"), ("groups", "groups"), ("join", "namespaces")):
            assert outcome(raw([STOP, step(op, **{name: (offset, 1 if offset == 8 else 0)})], bytes(16))) == expected


def test_every_kind_of_operand_is_tried() -> None:
    numbers = {"number", "number64", "signed", "flags", "flags64", "enum", "mode", "uid", "gid", "device"}
    assert BAD.keys() | numbers == FORMS.keys()


def test_a_flipped_bit_anywhere_never_crashes_the_decoder() -> None:
    plan = Plan().step("fsmount", mount=0, type="nonesuch", options=["a", "b=c"], source="source")
    good = plan.step("device", path="/a/b", type=stat.S_IFIFO).encode()
    for seed in range(60):
        flips = random.Random(seed)
        bad = bytearray(good)
        for _ in range(flips.randint(1, 4)):
            # Not the numbers of the operations: another one might do something to the machine.
            steps = range(HEAD.size, HEAD.size + 2 * len(STOP))
            at = flips.choice([i for i in range(len(bad)) if i not in steps or (i - HEAD.size) % len(STOP) >= 4])
            bad[at] ^= 1 << flips.randrange(8)
        with Stage(bytes(bad), namespaces=0) as stage:
            assert stage.failed().err
            assert stage.status() == 1


def test_the_plan_must_be_sealed_and_of_the_size_announced() -> None:
    for arguments, err in (
        ({"seals": 0}, errno.EPERM),
        ({"seals": ALL_SEALS & ~8}, errno.EPERM),
        ({"size": len(EMPTY) + 1}, errno.EINVAL),
        ({"ninputs": 1}, errno.EPROTO),
    ):
        with Stage(EMPTY, namespaces=0, send=False) as stage:
            stage.send_plan(**arguments)
            assert stage.failed().err == err, arguments


def test_many_inputs_arrive_in_several_messages_and_in_order(rootfs: Path) -> None:
    trees = []
    for i in range(300):
        (rootfs / f"s{i}").touch()
        trees.append(detached(rootfs / f"s{i}"))
    plan = Plan().step("host_propagation", propagation=MS_REC | MS_PRIVATE).step("root", mount=300)
    chosen = (0, 251, 252, 299)
    for i in chosen:
        plan.step("attach", mount=i, target=f"/t{i}")
    with Stage(plan.pause(), rootfs, inputs=tuple(trees)) as stage:
        stage.built()
        assert [stage.mount(f"{rootfs}/t{i}").root.rpartition("/")[2] for i in chosen] == [f"s{i}" for i in chosen]
    for fd in trees:
        os.close(fd)


def test_the_stage_ends_when_its_parent_is_gone() -> None:
    for send in (False, True):
        with Stage(Plan().pause(), namespaces=0, send=send) as stage:
            if send:
                stage.built()
            stage.channel.close()
            assert stage.status() == 1


def test_the_stage_begins_with_clean_signals_and_no_descriptor_that_survives_exec() -> None:
    old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        with Stage(Plan().pause(), namespaces=0) as stage:
            stage.built()
            lines = Path(f"/proc/{stage.pid}/status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            flags = {int(fd.name): fd.read_text() for fd in Path(f"/proc/{stage.pid}/fdinfo").iterdir()}
    finally:
        signal.signal(signal.SIGUSR1, old)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
    assert [int(status[name], 16) for name in ("SigIgn", "SigBlk", "SigCgt")] == [0, 0, 0]
    for fd, text in flags.items():
        if fd > 2:
            assert int(text.split("flags:")[1].split()[0], 8) & os.O_CLOEXEC, text


def test_a_second_step_does_not_run_after_a_failure(tmp_path: Path) -> None:
    plan = Plan().step("device", path="/x", type=stat.S_IFIFO).step("hostname", name="never")
    with Stage(plan) as stage:
        report = stage.failed()
    assert report.step == 0
    assert report.err == errno.EBADF  # there is no root yet


def test_the_records_are_as_large_as_the_header_says() -> None:
    assert (HEAD.size, len(STOP), WORDS) == (24, 56, 6)
    assert struct.calcsize("=IIiII") == 20
