"""The report of a step that failed, as the exception that explains it."""

import os
from errno import ECHILD, ENOENT, ETIMEDOUT, errorcode

from pyoci.errors import Error, HookError, KernelError, errno_text
from pyoci.native import lib
from pyoci.programs import ended, one_line, printed
from pyoci.stage.protocol import Report

DETAILS = {
    "DETAIL_PLAN": "the plan is malformed",
    "DETAIL_TARGET": "the target in the root file system cannot be reached or made",
    "DETAIL_NOT_DIRECTORY": "the target must be a real directory of the root file system, not a link",
    "DETAIL_SOURCE": "the source cannot be opened",
    "DETAIL_OPTION": "the file system refused an option",
    "DETAIL_CREATE": "the file system could not be made",
    "DETAIL_ATTACH": "the mount could not be attached",
    "DETAIL_ATTRIBUTES": "the mount's attributes could not be set",
    "DETAIL_DIFFERENT_DEVICE": "a different file is already there",
    "DETAIL_PROCFS": "no trustworthy procfs can be had",
    "DETAIL_READ_BACK": "the value reads back differently",
    "DETAIL_ESCAPED": "the directory lies outside the root file system",
}


def failure(report: Report, step: tuple[str, str, str, dict[str, str]]) -> Error:
    """Turn a REPORT_FAILED into the exception that explains it.

    step is the failed step as ``(op, what, origin, hints)``, hints keyed by errno as text.
    """
    op, what, origin, hints = step
    if op == "hook":
        return _hook_failure(report, what, origin)
    if op in ("resolve_exec", "exec"):
        return Error(_exec_failure(report, what), origin, _why_not_run(report, what))
    hint = hints.get(str(report.err), "")
    for name, text in DETAILS.items():
        if report.detail == getattr(lib, name):
            hint = f"{text}{f': {hint}' if hint else ''}"
    if report.text:
        hint = f"{hint}: {one_line(report.text)}" if hint else one_line(report.text)
    return KernelError(what, report.err, origin, hint)


def _exec_failure(report: Report, name: str) -> str:
    """Use the words that Podman and Docker look for (exit status 126 or 127)."""
    if report.detail == lib.DETAIL_NOT_FOUND and "/" not in name:
        return f'exec: "{name}": executable file not found in $PATH: {errno_text(report.err)}'
    words = os.strerror(report.err).lower()
    return f'exec: "{name}": {words} ({errorcode.get(report.err, report.err)})'


REASONS = {
    "directory": "it is a directory",
    "special": "it is not a regular file",
    "dangling": "it is a symbolic link to a file that does not exist",
    "mode": "the file has no execute permission for anybody",
    "user": "the file's mode does not let this user execute it",
    "noexec": "its file system is mounted noexec",
    "empty": "the file is empty",
    "format": "the file is neither a script that begins with #! nor an ELF program",
    "carriage": "its first line, #!{}, ends with a carriage return, as files written on Windows do",
    "interpreter": "its first line names the interpreter {}, which cannot be found in the container",
    "script": "it is run by {}, which could not be started",
    "loader": "it needs the dynamic loader {}, which cannot be found in the container",
}


# e_machine of elf(5), and how the architectures of images are called.
MACHINES = {3: "386", 8: "mips", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}


def _why_not_run(report: Report, name: str) -> str:
    """Say what the stage has found in the file, or what is odd about its name; "" when that is nothing."""
    word, _, about = report.text.partition(" ")
    if word == "machine" and about.isdecimal():
        machine = MACHINES.get(int(about), f"machine {int(about)}")
        return f"it is a program for another architecture, {machine}, or damaged"
    if word in REASONS:
        return REASONS[word].replace("{}", one_line(about))
    if not name:
        return "the name of the program is empty"
    if " " in name.strip() and report.err == ENOENT:
        return "the name has spaces in it: each argument is a string of its own"
    return ""


def _hook_failure(report: Report, what: str, origin: str) -> HookError:
    """Say how a hook ended and what it printed last."""
    if report.err == ETIMEDOUT:
        how = "ran out of time and was killed"
    elif report.err == ECHILD:
        how = ended(os.waitstatus_to_exitcode(report.detail))
    else:
        how = errno_text(report.err)
    return HookError(f"{what} {how}", origin, printed(report.text))
