"""pyoci completion: what the shells make of the scripts."""

import re
import shutil
import subprocess

import pytest

from pyoci import cli
from pyoci.commands import completion
from pyoci.errors import UsageError


def script(shell: str, capfd: pytest.CaptureFixture[str]) -> str:
    assert completion.run(cli.parse(["completion", shell])) == 0
    return capfd.readouterr().out


# Some ask "pyoci list", which prints two ids here.
@pytest.mark.parametrize(
    ("words", "choices"),
    [
        (["vali"], ["validate"]),
        (["--root", "/state", "resu"], ["resume"]),
        (["state", ""], ["web-1", "web-2"]),
        (["--root", "/other", "kill", "--all", "web-1"], ["web-1"]),
        (["kill", "web-1", ""], []),
        (["create", ""], []),
        (["validate", "--form"], ["--format"]),
        (["validate", "--format", ""], []),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["help", "compl"], ["completion"]),
        (["--log-"], ["--log-format", "--log-level"]),
        (["nonsense", ""], []),
    ],
)
def test_bash(words, choices, capfd):
    code = (
        f"{script('bash', capfd)}\n"
        'pyoci() { [ "$*" = "--root ${root-} list -q" ] && printf "%s\\n" web-1 web-2; }\n'
        'COMP_WORDS=(pyoci "$@"); COMP_CWORD=$#; _pyoci; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    shown = subprocess.run(["bash", "-uc", code, "bash", *words], capture_output=True, text=True, timeout=30)
    assert shown.stderr == ""
    assert shown.stdout.split() == choices


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_verb_and_option_is_there(shell, capfd):
    text = script(shell, capfd)
    for name, verb in cli.VERBS.items():
        assert name in text
        for option in cli.by_name(verb.options):
            dashes = r"-[ls] " if shell == "fish" else r"(?<![\w-])--?"
            assert re.search(rf"{dashes}{option}(?![\w-])", text), (name, option)


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)])
def test_syntax(shell, capfd):
    text = script(shell, capfd)
    shown = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, timeout=30)
    assert (shown.returncode, shown.stderr) == (0, "")


def test_an_unknown_shell_is_an_error():
    with pytest.raises(UsageError, match="bash, zsh or fish"):
        completion.run(cli.parse(["completion", "tcsh"]))
