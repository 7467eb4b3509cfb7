"""A bundle: the directory that holds config.json and the root file system; runtime-spec bundle.md."""

import errno
import os
from dataclasses import dataclass

from pyoci import codec
from pyoci.config.model import Config
from pyoci.config.parse import parse_config
from pyoci.config.source import Source
from pyoci.errors import Error, wrap
from pyoci.files import absolute, read_given


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that has been read: absolute paths, the text of config.json as it was, and what it says.

    document is the name of the configuration in messages.
    """

    path: str
    rootfs: str
    text: bytes
    config: Config
    document: str

    def source(self) -> Source:
        """Return where the settings come from."""
        return Source(self.document, lambda: self.text)


def load(path: str, config_file: str = "") -> Bundle:
    """Read the bundle at *path*, with another configuration file than its config.json if one is named.

    Raises:
        Error: the file cannot be read.
        ConfigError: it is not JSON, or not a valid configuration.
    """
    directory, text = read(path, config_file)
    document = config_file or "config.json"
    config = parse_config(codec.loads(text, document))
    root = config.root.path
    return Bundle(
        path=directory,
        rootfs=root if root.startswith("/") else f"{directory}/{root}",
        text=text,
        config=config,
        document=document,
    )


def read(path: str, config_file: str = "") -> tuple[str, bytes]:
    """Return the directory of a bundle and the text of its configuration; see load().

    Raises:
        Error: the file cannot be read.
    """
    directory = absolute(path or ".")
    if directory != "/":
        directory = directory.rstrip("/")
    if directory.endswith("/."):
        directory = directory[:-2]
    file = absolute(config_file) if config_file else f"{directory}/config.json"
    try:
        return directory, read_given(file)
    except OSError as error:
        hint = "a bundle is a directory with a config.json" if error.errno == errno.ENOENT else ""
        raise wrap(f"reading {file}", error, hint=hint) from error


def open_rootfs(rootfs: str) -> int:
    """Open the root file system, once; everything else goes through this descriptor.

    Raises:
        Error: it is missing or no directory.
    """
    try:
        return os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        raise Error(
            f"the root file system {rootfs} is not a directory (ENOTDIR)", "/root/path"
        ) from None
    except OSError as error:
        raise wrap(f"opening the root file system {rootfs}", error, "/root/path") from error
