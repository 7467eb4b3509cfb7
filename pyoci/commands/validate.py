"""pyoci validate: say all that is wrong with a configuration, and what in it has no effect.

What create refuses is found here.  The members that no schema knows, and the opinion of jsonschema, are the tool
circle's: the static file hands the verb over to the package that is installed beside it, and does its own part where
it stands alone.

    PREFIX/bin/pyoci          the static file
    PREFIX/libexec/pyoci      the launcher (native/launcher.c): checks and runs PREFIX/lib/pyoci

In the tree, and where somebody copies an installation's parts together, the static file is in PREFIX itself.
"""

import posix
import sys

from pyoci import codec
from pyoci.commands.common import show
from pyoci.config.findings import ERROR, WARNING, Finding, in_order, lenient, refused, told
from pyoci.errors import ConfigError, Error, UsageError, printable, wrap
from pyoci.lifecycle import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyoci.cli import Command

S_IFMT, S_IFLNK, SHARED = 0o170000, 0o120000, 0o022


def run(command: "Command") -> int:
    """Print a line for each finding, or all as JSON; warnings alone are no failure.

    Raises:
        Error: the document cannot be read, or somebody else could have changed the package beside the static file.
    """
    form = command.options["format"] or "text"
    if form not in ("text", "json"):
        raise UsageError(f'validate: the format is text or json, not "{printable(str(form))}"')
    if getattr(sys, "frozen", False):
        launcher = find_launcher()
        if launcher:
            hand_over(launcher)
        find = examine
    else:
        from pyoci.tools.validate import examine as find
    directory, file = str(command.options["bundle"]), str(command.options["config"])
    name = file or (f"{directory.rstrip('/')}/config.json" if directory else "config.json")
    findings = find(bundle.read(directory, file)[1], name)
    show(as_json(findings) if form == "json" else as_text(findings, name))
    return int(any(finding.severity == ERROR for finding in findings))


def examine(text: bytes, name: str) -> "list[Finding]":
    """Return what the file itself says about a configuration, in the order of its lines."""
    try:
        document = codec.loads(text, name)
    except ConfigError as error:
        return told(error)
    return in_order(refused(document) + lenient(document))


def as_text(findings: "list[Finding]", name: str) -> str:
    """Give a line for each finding, as an error shows its first."""
    lines = []
    for finding in findings:
        kind = "warning: " if finding.severity == WARNING else ""
        lines.append(f"{printable(name)}:{finding.line}:{finding.column}: {kind}{finding}\n")
    return "".join(lines)


def as_json(findings: "list[Finding]") -> str:
    """Give a list of objects, with the members of Finding."""
    members = [{name: getattr(finding, name) for name in Finding._fields} for finding in findings]
    return codec.dumps(members, indent="  ") + "\n"


def hand_over(launcher: str) -> "NoReturn":
    """Become the installed package's command, with the words and the environment that we were given.

    Raises:
        Error: it is not to be trusted.
    """
    for path in (launcher.rpartition("/")[0], launcher):
        check(path)
    try:
        posix.execve(launcher, sys.argv, posix.environ)
    except OSError as error:
        raise wrap(f"running {launcher}", error) from error


def find_launcher() -> str:
    """Give the path of the launcher beside the static file, "" where there is none."""
    try:
        here = posix.readlink("/proc/self/exe").rpartition("/")[0]
    except OSError:
        return ""
    for prefix in (here.rpartition("/")[0], here):
        path = f"{prefix}/libexec/pyoci"
        try:
            posix.lstat(path)
        except OSError:
            continue
        return path
    return ""


def check(path: str) -> None:
    """Refuse what others could have put there; the launcher does so with what it starts.

    Whoever can change the directories above can change the static file, too.
    """
    try:
        status = posix.lstat(path)
    except OSError as error:
        raise wrap(f"checking {path}", error) from error
    if status.st_mode & S_IFMT == S_IFLNK:
        raise Error(f"{path}: is a symbolic link; refusing to run it")
    if status.st_uid not in (0, posix.geteuid()):
        raise Error(f"{path}: belongs to another user; refusing to run it")
    if status.st_mode & SHARED:
        raise Error(f"{path}: others can write it; refusing to run it (chmod go-w)")
