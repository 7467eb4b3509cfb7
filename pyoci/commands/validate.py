"""pyoci validate: report everything that is wrong in a configuration, and what in it has no effect.

This module finds what create would refuse.  The checks against the schemas belong to the tool circle: the static file
executes the package that is installed beside it, and runs without those checks where there is none.

    PREFIX/bin/pyoci          the static file
    PREFIX/libexec/pyoci      the launcher (native/launcher.c), which checks and runs PREFIX/lib/pyoci

In the build directory the static file is in PREFIX itself.
"""

import os
import stat
import sys
from dataclasses import asdict
from typing import NoReturn

from pyoci import codec
from pyoci.cli import Command
from pyoci.commands.common import show
from pyoci.config.findings import ERROR, WARNING, Finding, deviations, errors, errors_of, in_order
from pyoci.errors import ConfigError, Error, UsageError, printable, wrap
from pyoci.lifecycle import bundle

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def run(command: Command) -> int:
    """Print the findings; the exit status is 1 if there are errors among them, and 0 for warnings alone.

    Raises:
        Error: the document cannot be read, or another user could have changed the package beside the static file.
    """
    form = command.options["format"] or "text"
    if form not in ("text", "json"):
        raise UsageError(f'validate: --format must be text or json, not "{printable(form)}"')
    if getattr(sys, "frozen", False):
        launcher = find_launcher()
        if launcher:
            execute(launcher)
        find = examine
    else:
        from pyoci.tools.validate import examine as find  # the static file does not have it
    directory, file = command.options["bundle"], command.options["config"]
    name = file or (f"{directory.rstrip('/')}/config.json" if directory else "config.json")
    findings = find(bundle.read(directory, file)[1], name)
    show(as_json(findings) if form == "json" else as_text(findings, name))
    return int(any(finding.severity == ERROR for finding in findings))


def examine(text: bytes, name: str) -> list[Finding]:
    """Return the findings that need no schema, in the order of their lines."""
    try:
        document = codec.loads(text, name)
    except ConfigError as error:
        return errors_of(error)
    return in_order(errors(document) + deviations(document))


def as_text(findings: list[Finding], name: str) -> str:
    """Return a line for each finding, in the form of an error message."""
    lines = []
    for finding in findings:
        kind = "warning: " if finding.severity == WARNING else ""
        lines.append(f"{printable(name)}:{finding.line}:{finding.column}: {kind}{finding}\n")
    return "".join(lines)


def as_json(findings: list[Finding]) -> str:
    """Return a JSON array of objects with the members of Finding."""
    return codec.dumps([asdict(finding) for finding in findings], indent="  ") + "\n"


def execute(launcher: str) -> NoReturn:
    """Execute the launcher with our arguments and environment.

    Raises:
        Error: another user could have changed it, or it cannot be executed.
    """
    for path in (launcher.rpartition("/")[0], launcher):
        check(path)
    try:
        os.execve(launcher, sys.argv, os.environ)
    except OSError as error:
        raise wrap(f"running {launcher}", error) from error


def find_launcher() -> str:
    """Return the path of the launcher beside the static file, or "" if there is none."""
    try:
        here = os.readlink("/proc/self/exe").rpartition("/")[0]
    except OSError:
        return ""
    for prefix in (here.rpartition("/")[0], here):
        path = f"{prefix}/libexec/pyoci"
        try:
            os.lstat(path)
        except OSError:
            continue
        return path
    return ""


def check(path: str) -> None:
    """Check that no other user could have changed a file; the launcher checks what it starts.

    The directories above need no check: who can change those can change the static file, too.

    Raises:
        Error: another user could have.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        raise wrap(f"checking {path}", error) from error
    if stat.S_ISLNK(status.st_mode):
        raise Error(f"{path}: is a symbolic link; refusing to run it")
    if status.st_uid not in (0, os.geteuid()):
        raise Error(f"{path}: belongs to another user; refusing to run it")
    if status.st_mode & WRITABLE_BY_OTHERS:
        raise Error(f"{path}: others can write it; refusing to run it (chmod go-w)")
