"""The commands that docs/concepts.md shows, and what they print.

A block of ```console holds commands and their output.  A command behind ``$`` needs no privilege: ``make golden``
writes its output anew.  A command behind ``#`` needs root, and is left as it is.  Further lines of a command begin
with ``>``.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from tests.helpers_runtime import REPOSITORY, default_command

CONCEPTS = REPOSITORY / "docs" / "concepts.md"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.M | re.S)
STRICT = ("-e", "-o", "pipefail")
SECONDS = 60


def commands(block: str) -> list[tuple[str, str]]:
    """Return each command of a block, with its prompts, and what is shown below it."""
    parts = re.split(r"^(?=[$#] )", block, flags=re.M)
    assert not parts[0], f"output without a command: {parts[0]}"
    found = [re.match(r"(.*\n(?:> .*\n)*)", part) for part in parts[1:]]
    return [(match[1], part[match.end() :]) for match, part in zip(found, parts[1:], strict=True) if match]


def script(command: str) -> str:
    """Return a command without its prompts."""
    return re.sub(r"^[$#>] ", "", command, flags=re.M)


def run(command: str, *options: str) -> str:
    """Return what a command prints; pyoci is the one under test, and the working directory that of the project."""
    with tempfile.TemporaryDirectory() as directory:
        pyoci, output = Path(directory, "pyoci"), Path(directory, "output")
        pyoci.write_text(f'#!/bin/sh\nexec {" ".join(default_command())} "$@"\n')
        pyoci.chmod(0o755)
        with output.open("w") as file:  # a container that goes on may hold it open, as it could not a pipe
            done = subprocess.run(
                ["bash", *options, "-c", command],
                cwd=REPOSITORY,
                env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
        text = output.read_text()
    assert done.returncode == 0, f"{command}\n{text}"
    return text


def session(text: str) -> list[tuple[str, str, str]]:
    """Run all commands of a document one behind the other, as root.

    Returns each command with the output that is shown and the real one.
    """
    shown = [each for block in BLOCK.findall(text) for each in commands(block)]
    separate = "printf '\\001'\n"
    printed = run("".join(script(command) + separate for command, _ in shown)).split("\1")[:-1]
    return [(command, output, real) for (command, output), real in zip(shown, printed, strict=True)]


def refreshed(text: str) -> str:
    """Return a document with the real output of every command that needs no privilege."""

    def block(match: re.Match[str]) -> str:
        return "".join(
            command + (run(script(command), *STRICT) if command.startswith("$") else output)
            for command, output in commands(match[0])
        )

    return BLOCK.sub(block, text)
