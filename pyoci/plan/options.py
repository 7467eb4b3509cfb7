"""The options of a mount: config.md#mounts, sorted by spec/tables/mount_options.tsv."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyoci.config.tables import MOUNT_OPTIONS
from pyoci.linux import MOUNT_ATTR__ATIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The option strings of one mount, sorted by their meaning.

    set, clear, recursive_set, recursive_clear: MOUNT_ATTR_* flags.
    propagation: MS_* flags, 0 for none.
    words: options that mount(8) turns into flags of the superblock; data: options of the file system.
    names: the kinds of all other options (bind, rbind, remount, copyup, idmap …).
    """

    set: int = 0
    clear: int = 0
    recursive_set: int = 0
    recursive_clear: int = 0
    propagation: int = 0
    words: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    names: frozenset[str] = frozenset()


def parse_options(strings: Sequence[str]) -> Options:
    """Return the options, sorted by spec/tables/mount_options.tsv.

    The last of two opposites wins.  Options that the table does not have are for the file system.
    """
    masks = {False: [0, 0], True: [0, 0]}
    propagation, words, data, names = 0, [], [], set()
    for text in strings:
        entry = MOUNT_OPTIONS.get(text)
        if entry is None:
            data.extend(_split(text))
            continue
        kind, add, remove, recursive, superblock = entry
        names.add(kind if kind not in ("bind", "nofollow", "idmap") else text)
        if kind == "attr":
            pair = masks[recursive]
            opposite = add | remove
            pair[0] = pair[0] & ~opposite | add
            pair[1] = pair[1] & ~opposite | remove
        elif kind == "propagation":
            propagation = add
        if superblock:
            words.append(superblock)
    for pair in masks.values():
        if pair[1] & MOUNT_ATTR__ATIME:
            pair[1] |= MOUNT_ATTR__ATIME
    return Options(
        set=masks[False][0],
        clear=masks[False][1],
        recursive_set=masks[True][0],
        recursive_clear=masks[True][1],
        propagation=propagation,
        words=words,
        data=data,
        names=frozenset(names),
    )


def _split(text: str) -> list[str]:
    """Split at commas outside quotes, and drop the quotes, which only mount(2) wants."""
    if '"' not in text:
        return [part for part in text.split(",") if part]
    parts, current, quoted = [], "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            parts.append(current)
            current = ""
        else:
            current += char
    return [part for part in (*parts, current) if part]
