"""The decoder refuses every plan that it could not address safely, and the delivery every half of one."""

import errno
import os
import random
import signal
import struct
from pathlib import Path

import pytest

from tests.stage.harness import ALL_SEALS, HEAD, MS_PRIVATE, MS_REC, STEP, Plan, Stage, detached, number

EMPTY = Plan().encode()


def refused(plan: bytes) -> None:
    with Stage(plan, namespaces=0) as stage:
        report = stage.failed()
        assert (report.err, report.detail) == (errno.EINVAL, number("DETAIL_PLAN"))


def raw(steps: list[bytes], table: bytes = b"\0abc\0", nslots: int = 2, **head: int) -> bytes:
    values = {
        "magic": number("PLAN_MAGIC"),
        "version": number("PLAN_VERSION"),
        "nsteps": len(steps),
        "nstrings": len(table),
        "nslots": nslots,
        "ninputs": 0,
    }
    return HEAD.pack(*(values | head).values()) + b"".join(steps) + table


def step(op: str, slot: int = 0, flags: int = 0, a: int = 0, b: int = 0, c: int = 0, d: int = 0, n: int = 0) -> bytes:
    return STEP.pack(number(op), flags, slot, a, b, c, d, n, 0)


def test_an_empty_plan_runs_and_ends() -> None:
    with Stage(EMPTY, namespaces=0) as stage:
        assert stage.report() is None
        assert stage.status() == 0


@pytest.mark.parametrize(
    "plan",
    [
        raw([], magic=0),
        raw([], version=2),
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
    refused(plan)


@pytest.mark.parametrize(
    "bad",
    [
        STEP.pack(number("OP_COUNT"), 0, 0, 0, 0, 0, 0, 0, 0),
        step("OP_MKDIR", a=5),
        step("OP_MKDIR", a=0xFFFFFFFF),
        step("OP_MKDIR", flags=1),
        step("OP_SYMLINK", a=1, b=5),
        step("OP_FSMOUNT", d=5),
        step("OP_FSMOUNT", b=1, c=2),
        step("OP_FSMOUNT", b=5, c=1),
        step("OP_FSMOUNT", b=0, c=0xFFFFFFFF),
        step("OP_FSMOUNT", slot=2),
        step("OP_FSMOUNT", slot=-1),
        step("OP_ATTACH", slot=-0x80000000),
        step("OP_ATTACH", flags=16),
        step("OP_MASK_PATH", b=2),
        step("OP_MASK_PATH", c=3),
        step("OP_READONLY_PATH", c=3),
        step("OP_SETATTR", b=3),
        step("OP_GATE", a=2),
        step("OP_JOIN", slot=1, a=2),
        step("OP_JOIN", slot=1, a=0xFFFFFFFF),
        step("OP_GROUPS", a=4, b=0),
        step("OP_GROUPS", a=0, b=2),
        step("OP_GROUPS", a=0, b=0x40000001),
        step("OP_SECCOMP", a=0, b=0x20000001),
        step("OP_SCHEDULER", b=0, c=6),
        step("OP_HOOK", d=1, n=2),
        step("OP_EXEC", c=1, d=2),
    ],
    ids=lambda bad: bad.hex()[:48],
)
def test_a_step_with_a_wrong_operand_is_refused_before_any_step_runs(bad: bytes, tmp_path: Path) -> None:
    refused(raw([step("OP_SETSID"), bad]))


def test_a_flipped_bit_anywhere_never_crashes_the_decoder() -> None:
    plan = Plan().step("OP_FSMOUNT", slot=0, a="nonesuch", b=["a", "b=c"], d="source").step("OP_MKDIR", a="/a/b", n=0o755)
    good = plan.encode()
    for seed in range(60):
        flips = random.Random(seed)
        bad = bytearray(good)
        for _ in range(flips.randint(1, 4)):
            # Not the numbers of the operations: another one might do something to the machine.
            at = flips.choice([i for i in range(len(bad)) if not 24 <= i < 104 or (i - 24) % 40 >= 4])
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
    plan = Plan().step("OP_PROPAGATION", n=MS_REC | MS_PRIVATE).step("OP_ROOT", slot=300)
    chosen = (0, 251, 252, 299)
    for i in chosen:
        plan.step("OP_ATTACH", slot=i, a=f"/t{i}")
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
    plan = Plan().step("OP_MKDIR", a="/x").step("OP_HOSTNAME", a="never")
    with Stage(plan) as stage:
        report = stage.failed()
    assert report.step == 0
    assert report.err == errno.EBADF  # there is no root before OP_ROOT


def test_the_records_are_as_large_as_the_header_says() -> None:
    assert (HEAD.size, STEP.size) == (24, 40)
    assert struct.calcsize("=IIiII") == 20
