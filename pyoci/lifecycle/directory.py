"""The directory of a container below the state root.

    ROOT/ID/journal      one JSON line before each side effect; enough for ``delete --force``
    ROOT/ID/state.json   the State, written when the container is created
    ROOT/ID/config.json  the configuration as it was at create
    ROOT/ID/deviceN      device nodes that the container's user namespace could not make
    ROOT/ID/steps.json   what the steps behind the gate do, in words: read when a start fails
    ROOT/ID/gate         FIFO that ``start`` writes to; the stage reads it
    ROOT/ID/status       FIFO that the stage reports to once the gate is open

The directory itself is the lock (flock(2)), which is held as long as a verb takes and no longer.  Root and directory
are opened once, looked at by that descriptor, and what is in them is found by it: whoever could put a directory
there could have any hook run by us.
"""

import fcntl
import os
import stat
from typing import Any, Self

from pyoci import codec
from pyoci.config.model import Config
from pyoci.config.parse import parse_config
from pyoci.config.source import Source
from pyoci.errors import Error, NoContainerError, StateError, wrap
from pyoci.files import O_FILE, read_all, write_all, write_file
from pyoci.lifecycle.root import O_DIRECTORY, make_root, open_root, require_ours
from pyoci.lifecycle.state import SAVED, State
from pyoci.members import plain
from pyoci.process import stat_fields
from pyoci.undo import Undo

# By these a directory that is half removed is still known as ours, and what is left of it can be taken back.
LAST = ("config.json", "state.json", "journal")


class Directory:
    """The directory of one container, open; ``with directory:`` holds its lock."""

    def __init__(self, root: int, path: str, name: str, fd: int) -> None:
        """Take over the open directory, and the state root that has it as *name*."""
        self.root = root
        self.path = path
        self.name = name
        self.fd = fd
        self.journal_fd = -1
        self.depth = 0
        self.text = b""

    @classmethod
    def claim(cls, root: str, container_id: str) -> Self:
        """Make the directory for a new container and lock it; its existence is what makes an id unique.

        Raises:
            StateError: there is such a container already.
        """
        make_root(root)
        path = f"{root}/{container_id}"
        root_fd = open_root(root)
        try:
            os.mkdir(container_id, 0o700, dir_fd=root_fd)
            try:
                directory = cls.open(root, container_id)
                directory.lock()
            except NoContainerError:  # somebody's delete --force was quicker than our lock
                raise StateError("the container was deleted while it was made") from None
            except BaseException as error:
                undo = Undo()
                undo.attempt(f"removing {path}", lambda: os.rmdir(container_id, dir_fd=root_fd))
                undo.tell(error)
                raise
        except FileExistsError:
            raise StateError(f"container with given ID already exists: {container_id} in {root}") from None
        except OSError as error:
            raise wrap(f"making the state directory {path}", error) from error
        finally:
            os.close(root_fd)
        return directory

    @classmethod
    def open(cls, root: str, container_id: str) -> Self:
        """Open the directory of a container.

        Raises:
            NoContainerError: there is none.
            Error: somebody else has made the directory, or the root, or could write to them.
        """
        path = f"{root}/{container_id}"
        root_fd = fd = -1
        try:
            root_fd = open_root(root)
            fd = os.open(container_id, O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root_fd)
            require_ours(os.fstat(fd), f"the state directory {path}")
        except BaseException as error:
            for opened in (root_fd, fd):
                if opened >= 0:
                    os.close(opened)
            if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                raise NoContainerError(container_id, root) from None
            if isinstance(error, OSError):
                raise wrap(f"opening the state directory {path}", error) from error
            raise
        return cls(root_fd, path, container_id, fd)

    # ---- the lock ----

    def lock(self) -> None:
        """Wait for the exclusive lock; the kernel drops it when its holder dies.

        Raises:
            NoContainerError: the container was deleted while we waited.
        """
        if not self.depth:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if not self.is_current():
                fcntl.flock(self.fd, fcntl.LOCK_UN)
                raise NoContainerError(self.name, self.path[: -len(self.name) - 1])
        self.depth += 1

    def unlock(self) -> None:
        """Release the lock, when the outermost holder is done."""
        self.depth -= 1
        if self.depth or self.fd < 0:
            return
        try:
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        except OSError:  # then it ends with the descriptor; what the verb has done is no worse for that
            return

    def __enter__(self) -> None:
        """Take the lock; see lock()."""
        self.lock()

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self.unlock()

    def is_locked(self) -> bool:
        """Return whether somebody else holds the lock; for readers, who take none."""
        if self.depth:
            return False
        probe = os.open(".", O_DIRECTORY, dir_fd=self.fd)
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(probe)
        return False

    def is_current(self) -> bool:
        """Return whether the name still is this directory's: it may have been deleted while we waited."""
        try:
            here = os.fstat(self.fd)
            there = os.stat(self.name, dir_fd=self.root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    # ---- what is in it ----

    def read(self, name: str) -> bytes:
        """Read one of our files.

        Raises:
            FileNotFoundError: there is none.
            Error: it is something else, or somebody else's.
        """
        try:
            fd = os.open(name, O_FILE, dir_fd=self.fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise wrap(f"reading {self.path}/{name}", error) from error
        try:
            found = os.fstat(fd)
            require_ours(found, f"{self.path}/{name}")
            if not stat.S_ISREG(found.st_mode):
                raise Error(f"{self.path}/{name} is no regular file")
        except BaseException:
            os.close(fd)
            raise
        return read_all(fd)

    def write(self, name: str, data: bytes) -> None:
        """Make a new file."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=self.fd)
        try:
            write_all(fd, data)
        finally:
            os.close(fd)

    def note(self, **entry: Any) -> None:
        """Add one line to the journal; call it before the side effect that the line announces."""
        try:
            if self.journal_fd < 0:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self.journal_fd = os.open("journal", flags | os.O_NOFOLLOW, 0o600, dir_fd=self.fd)
            write_all(self.journal_fd, codec.dumps(entry).encode() + b"\n")
        except OSError as error:
            raise wrap(f"writing {self.path}/journal", error) from error

    def note_process(self, what: str, pid: int) -> None:
        """Note a process with its start time, by which it is known again; 0 when it is no longer there."""
        found = stat_fields(pid) if pid else None
        self.note(**{what: pid, f"{what}Start": found[1] if found else 0})

    def note_hook(self, pid: int) -> None:
        """Note the hook that runs, which ``delete --force`` may have to kill."""
        self.note_process("hook", pid)

    def journal(self) -> list[dict[str, Any]]:
        """Read the journal; a last line that was cut off is left out."""
        try:
            lines = self.read("journal").split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        entries = []
        for line in lines:
            try:
                entries.append(plain(codec.loads(line, "journal").value))
            except Error:
                continue
        return [entry for entry in entries if isinstance(entry, dict)]

    def save(self, state: State) -> None:
        """Write state.json."""
        self._write("state.json", {name: getattr(state, name) for name in SAVED}, sync=True)

    def save_steps(self, steps: list[Any]) -> None:
        """Write steps.json: [index, op, words, JSON pointer, hints] of each step."""
        self._write("steps.json", steps)

    def _write(self, name: str, value: Any, *, sync: bool = False) -> None:
        try:
            write_file(name, codec.dumps(value).encode(), sync=sync, dir_fd=self.fd)
        except OSError as error:
            raise wrap(f"writing {self.path}/{name}", error) from error

    def step(self, index: int) -> tuple[str, str, str, dict[str, str]]:
        """Return the operation, words, JSON pointer and hints of a step, from steps.json; or words for any."""
        try:
            steps = codec.loads(self.read("steps.json"), "steps.json").value
        except (OSError, Error):
            steps = []
        found = [step for step in steps if step[0] == index]
        op, what, origin, hints = plain(found[0][1:]) if found else ("", "starting the container", "", {})
        return op, what, origin, hints

    def load(self) -> State | None:
        """Read state.json; None when it is not there or not whole (a create that was cut off)."""
        try:
            text = self.read("state.json")
        except FileNotFoundError:
            return None
        try:
            values = codec.loads(text, "state.json").value
            known = dict(values.items())
            known["cgroup"] = plain(known["cgroup"])
            return State(**{name: known[name] for name in SAVED})
        except (Error, AttributeError, KeyError, TypeError):
            return None

    def config(self, document: str) -> Config:
        """Read the configuration as it was at create; *document* is its name in messages."""
        return parse_config(codec.loads(self._config_text(), document))

    def source(self, document: str) -> Source:
        """Return where the settings come from: the configuration as it was at create."""
        return Source(document, self._config_text)

    def _config_text(self) -> bytes:
        """Read the recorded configuration, once: it is gone when an error of its removal is told."""
        if not self.text:
            self.text = self.read("config.json")
        return self.text

    def remove(self) -> None:
        """Remove the directory and the files in it, none of which is ever a directory or followed.

        When one cannot be removed, those stay by which the rest can be taken back later.

        Raises:
            KernelError: what the kernel said of the first file that could not be removed.
        """
        undo = Undo()
        try:
            names = os.listdir(self.fd)
        except OSError as error:
            raise wrap(f"reading the state directory {self.path}", error) from error
        for name in sorted(names, key=lambda name: LAST.index(name) if name in LAST else -1):
            if name in LAST and undo.failures:
                break
            undo.attempt(f"removing {self.path}/{name}", lambda name=name: self._unlink(name))  # type: ignore[misc]
        if not undo.failures:
            undo.attempt(f"removing the state directory {self.path}", self._rmdir)
        undo.finish()

    def _unlink(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            return

    def _rmdir(self) -> None:
        try:
            os.rmdir(self.name, dir_fd=self.root)
        except FileNotFoundError:
            return
        except OSError:
            self.end_journal()
            self.note(left=True)  # else it would look like anybody's empty directory
            raise

    def end_journal(self) -> None:
        """Write no more to the journal."""
        if self.journal_fd >= 0:
            os.close(self.journal_fd)
            self.journal_fd = -1

    def close(self) -> None:
        """Close the directory, which releases the lock."""
        self.end_journal()
        for fd in (self.root, self.fd):
            if fd >= 0:
                os.close(fd)
        self.root = self.fd = -1

    def __del__(self) -> None:
        """Close what the owner has not closed."""
        self.close()
