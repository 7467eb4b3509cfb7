"""A static file that is cut off, or is not what the build made: one line and status 1, wherever one of ours can say it."""

import os
import re
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from tests.source.tree import TREE

PYOCI = TREE / "build" / "pyoci"
WORK = TREE / "build" / "native"
PAGE = 4096
MISSING = "pyoci: the executable is damaged: a part of its file is missing or cannot be read\n"
STAGE = "pyoci: the executable is damaged: the stage in it is not the one that was built\n"
LOAD, WRITABLE = 1, 2


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Demand the static file."""
    if PYOCI.is_symlink():
        pytest.skip("requires libpython3.x.a: the build could not make the static file")


@pytest.fixture(scope="module")
def whole() -> bytes:
    """Give the file's bytes."""
    return PYOCI.read_bytes()


class Damaged:
    """A place for damaged copies."""

    def __init__(self, directory: Path) -> None:
        """Take the directory."""
        self.path = directory / "pyoci"

    def run(self, content: bytes | bytearray, *words: str | Path) -> tuple[int, str]:
        """Run a file of this content; give its exit status and its standard error."""
        self.path.write_bytes(content)
        self.path.chmod(0o755)
        shown = subprocess.run(
            [self.path, *(words or ("--version",))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
        return shown.returncode, shown.stderr


@pytest.fixture
def damaged(tmp_path: Path) -> Damaged:
    """Give a place for copies."""
    return Damaged(tmp_path)


def segments(whole: bytes) -> list[tuple[int, int, int, int]]:
    """Give flags, offset, size and size in memory of what the kernel loads."""
    start, size, count = struct.unpack_from("<Q", whole, 32)[0], *struct.unpack_from("<2H", whole, 54)
    heads = [struct.unpack_from("<2I6Q", whole, start + size * number) for number in range(count)]
    return [(head[1], head[2], head[5], head[6]) for head in heads if head[0] == LOAD]


def watching(whole: bytes) -> int:
    """Give the size from which on the file has the code that watches, and its texts: where the last of them ends."""
    return whole.index(b"this is a defect, or the executable is damaged\n") + PAGE


def test_the_data_ends_with_a_page(whole: bytes) -> None:
    """Else the kernel writes behind the data when it loads the file, and kills who executes one that is cut off."""
    flags, offset, size, memory = segments(whole)[-1]
    assert flags & WRITABLE and memory > size
    assert (offset + size) % PAGE == 0


def test_a_file_that_is_cut_off(whole: bytes, damaged: Damaged) -> None:
    """At every boundary that matters, and at places between them."""
    _, offset, size, _ = segments(whole)[-1]
    end, start = offset + size, watching(whole)
    assert start < 4 * PAGE, "the code that watches stands at the beginning"
    sizes = {start, end - 1, end - PAGE, end - PAGE + 1, *(place for _, place, _, _ in segments(whole)[2:])}
    sizes |= {start + (end - start) * part // 20 for part in range(20)}
    assert {size: shown for size in sorted(sizes) if (shown := damaged.run(whole[:size])) != (1, MISSING)} == {}
    assert damaged.run(whole[:end]) == (0, "")  # only the names of sections are missing


def test_a_file_without_our_code_is_for_the_kernel_to_refuse(whole: bytes, damaged: Damaged) -> None:
    """It has no headers, or ends before the code that would say something: nothing of ours has run."""
    for size in (0, 1, 64, 300):
        with pytest.raises(OSError, match="Exec format error"):
            damaged.run(whole[:size])
    for size in (0x400, PAGE):
        status, words = damaged.run(whole[:size])
        assert -status in (signal.SIGBUS, signal.SIGSEGV)
        assert words == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a container")
def test_a_stage_that_was_altered(whole: bytes, damaged: Damaged, tmp_path: Path) -> None:
    content, stage = bytearray(whole), (WORK / "pyoci-stage").read_bytes()
    content[whole.index(stage) + len(stage) // 2] ^= 1
    bundle, root = tmp_path / "bundle", tmp_path / "root"
    (bundle / "rootfs").mkdir(parents=True)
    subprocess.run([PYOCI, "spec", "--bundle", bundle], check=True, timeout=60)
    words = ("--root", root, "--cgroup-manager", "disabled", "run", "--bundle", bundle, "damaged")
    assert damaged.run(content, *words) == (1, STAGE)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("filler", [b"\0", b"\xcc", b"\x0f\x0b"], ids=["zeros", "traps", "invalid"])
def test_code_that_was_overwritten(whole: bytes, damaged: Damaged, filler: bytes) -> None:
    """All of it but the first pages: whatever runs first crashes."""
    _, offset, size, _ = segments(whole)[1]
    start = watching(whole) // PAGE * PAGE
    content = bytearray(whole)
    size -= (offset + size - start) % len(filler)
    content[start : offset + size] = filler * ((offset + size - start) // len(filler))
    status, words = damaged.run(content)
    assert status == 1
    assert re.fullmatch(r"pyoci: internal error: a crash \(signal \d\d at 0x[0-9a-f]{16}\); .*damaged\n", words)
