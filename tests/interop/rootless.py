"""podman and buildah as an ordinary user calls them: his own storage, run directory and ranges of subordinate ids."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.interop.podman import Podman

USER, GROUP = 1000, 2000  # who calls, and an additional group of his
FIRST, COUNT = 100000, 65536  # his subordinate ids

FILES = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nann:x:{user}:{user}::{base}:/bin/sh\n",
    "group": "root:x:0:\nann:x:{user}:\nextra:x:{group}:ann\n",
    "subuid": "ann:{first}:{count}\n",
    "subgid": "ann:{first}:{count}\n",
}

# The user is known in a private mount namespace only.  Its mounts are shared there, as on a host with systemd.
ENTER = """
mount --make-rshared /
for file in passwd group subuid subgid; do mount --bind "$1/etc/$file" "/etc/$file"; done
shift
exec setpriv --reuid={user} --regid={user} --groups={user},{group} "$@"
"""


class Rootless(Podman):
    """Run podman and buildah commands as an ordinary user, against one private store, with one runtime."""

    def __init__(self, base: Path, runtime: Path) -> None:
        super().__init__(base, self._reachable(base, runtime))
        (base / "etc").mkdir()
        for name, text in FILES.items():
            filled = text.format(user=USER, group=GROUP, base=base, first=FIRST, count=COUNT)
            (base / "etc" / name).write_text(filled)
        (base / "xdg").mkdir(mode=0o700)
        for directory in (base, base / "xdg"):
            os.chown(directory, USER, USER)
        base.chmod(0o755)
        script = ENTER.format(user=USER, group=GROUP)
        self.enter = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", str(base)]
        self.command = [*self.enter, *self.command]
        self.environ |= {
            "XDG_RUNTIME_DIR": str(base / "xdg"),
            "BUILDAH_RUNTIME": str(self.runtime),
            "BUILDAH_ISOLATION": "oci",
        }

    @staticmethod
    def _reachable(base: Path, runtime: Path) -> Path:
        """Return a path of the runtime that the user may execute: itself, or a copy."""
        base.chmod(0o755)
        test = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "test", "-x", str(runtime)]
        if subprocess.run(test, check=False).returncode == 0:
            return runtime
        copy = base / "bin" / runtime.name
        copy.parent.mkdir()
        shutil.copy(runtime, copy)
        return copy

    def as_user(self, *words: str) -> str:
        """Run a program as the user; it must succeed; return what it printed, without the last newline."""
        done = self.program([*self.enter, *words])
        assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout.rstrip("\n")

    def buildah(self, *words: str) -> str:
        """Run buildah against the same store; it must succeed; return what it printed."""
        store = ("--root", f"{self.base}/storage", "--runroot", f"{self.base}/run", "--storage-driver", "vfs")
        return self.as_user("buildah", *store, *words)

    def directory(self, name: str) -> Path:
        """Return a new directory of the user's."""
        made = self.base / name
        made.mkdir()
        os.chown(made, USER, USER)
        return made
