"""Put the state of CPython after its start into the static file; snapshot.c says what and why.

Two segments of the file can be written: all variables, and the memory that was allocated.  The variables of our
objects and archives, and the memory, take the values that two runs with ``--snapshot`` agree on; those of the C
library keep the ones that the linker gave them.  Both segments move to the end of the file.
"""

import re
import struct
import subprocess
from pathlib import Path

HEADER = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr: type, flags, offset, vaddr, paddr, filesz, memsz, align
TYPE, FLAGS, OFFSET, ADDRESS, IN_FILE, IN_MEMORY = 0, 1, 2, 3, 5, 6
PT_NULL, PT_LOAD, PF_W = 0, 1, 2
PLACE = struct.Struct("<QQ")  # address and size of what follows
PAGE, WORD = 4096, 8
# What two runs do not agree on: three ids of the thread, and addresses in memory that nobody uses.
DIFFERENT_WORDS = 8

Pieces = dict[int, bytearray]  # by their addresses
Ranges = list[tuple[int, int]]  # addresses and sizes


def record(program: Path) -> Pieces:
    """Let a program start and write its memory."""
    written = subprocess.run([program, "--snapshot"], env={}, stdout=subprocess.PIPE, check=True).stdout
    pieces, at = {}, 0
    while at < len(written):
        address, size = PLACE.unpack_from(written, at)
        at += PLACE.size
        pieces[address] = bytearray(written[at : at + size])
        at += size
    return pieces


def ranges(link_map: Path, owners: set[str]) -> Ranges:
    """Return what the linker took from *owners*, objects and archives."""
    placed = link_map.read_text().partition("\nLinker script and memory map\n")[2]
    lines = re.finditer(r"^ \S+\s+0x([0-9a-f]+) +0x([0-9a-f]+) (.+?)(?:\(\S+\))?$", placed, re.MULTILINE)
    return [(int(line[1], 16), int(line[2], 16)) for line in lines if line[3] in owners]


def agreed(program: Path, wanted: Ranges) -> Pieces:
    """Return the memory in the ranges, without what is of one process.

    Raises:
        SystemExit: that is too much.
    """
    pieces, others, different = record(program), record(program), 0
    found: Pieces = {}
    for start, memory in pieces.items():
        other = others[start]
        for address, size in wanted:
            first, end = address - start, min(address - start + size, len(memory))
            if 0 <= first < end:
                found[address], again = memory[first:end], other[first:end]
                different += clear(found[address], again)
    if different > DIFFERENT_WORDS:
        raise SystemExit(f"snapshot: two starts differ in {different} words")
    return found


def clear(memory: bytearray, other: bytearray) -> int:
    """Clear the words that are not the same in both; gives how many."""
    if memory == other:
        return 0
    places = [at for at in range(0, len(memory), WORD) if memory[at : at + WORD] != other[at : at + WORD]]
    for at in places:
        memory[at : at + WORD] = bytes(len(memory[at : at + WORD]))
    return len(places)


def shorten(file: bytearray, headers: list[list[int]]) -> None:
    """Take from an ELF file all that lies behind code and constants: it is written anew, or not needed.

    That is the variables, the byte code of modules, which have been imported, and the table of sections.
    """
    end = min(each[OFFSET] for each in headers if each[TYPE] == PT_LOAD and each[FLAGS] & PF_W and each[IN_FILE])
    for header in headers:
        if header[TYPE] == PT_LOAD and header[OFFSET] > end and not header[FLAGS] & PF_W:
            header[:] = [PT_NULL] + [0] * (len(header) - 1)
    struct.pack_into("<Q", file, 40, 0)  # e_shoff
    struct.pack_into("<HH", file, 60, 0, 0)  # e_shnum, e_shstrndx
    del file[end:]


def fill(file: bytes, pieces: Pieces, *, short: bool) -> bytes:
    """Return an ELF file whose variables have these values; *short* without what a recording does not need."""
    table, count = struct.unpack_from("<Q", file, 32)[0], struct.unpack_from("<H", file, 56)[0]
    headers = [list(HEADER.unpack_from(file, table + i * HEADER.size)) for i in range(count)]
    written = bytearray(file)
    if short:
        shorten(written, headers)
    for segment in [header for header in headers if header[TYPE] == PT_LOAD and header[FLAGS] & PF_W]:
        before, size, start, end = segment[OFFSET], segment[IN_FILE], segment[ADDRESS], segment[IN_MEMORY]
        image = bytearray(file[before : before + size].ljust(end, b"\0"))
        for address, piece in pieces.items():
            if start <= address < start + end:
                image[address - start : address - start + len(piece)] = piece
        written += bytes((start - len(written)) % PAGE)
        if start in pieces:  # the memory: what lies behind it was never asked for
            image = pieces[start]
        image += bytes(-(start + len(image)) % PAGE)  # else the kernel would write zeros there
        for header in headers:  # those that lie in it, too
            if start <= header[ADDRESS] < start + end:
                header[OFFSET] += len(written) - before
        segment[IN_FILE], segment[IN_MEMORY] = len(image), len(image) + (PAGE if start in pieces else 0)
        written += image
    for i, header in enumerate(headers):
        HEADER.pack_into(written, table + i * HEADER.size, *header)
    return bytes(written)
