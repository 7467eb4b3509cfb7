"""pyoci completion: scripts for shells, made from the tables of pyoci.cli."""

from pyoci import cli
from pyoci.commands.common import show
from pyoci.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# @CASES@ sets for a verb (first "", for what stands before it) its flags, those of them that take a value,
# and what its first word can be.
BASH = """\
_pyoci_verb() {
    case $1 in
@CASES@
    *) flags= values= choices= ;;
    esac
}

_pyoci() {
    local current=${COMP_WORDS[COMP_CWORD]} before= verb= root= taken= flags values choices i word
    _pyoci_verb ''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $before ]]; then
            [[ $before = --root ]] && root=$word
            before=
        elif [[ " $values " = *" $word "* ]]; then
            before=$word
        elif [[ $word = -* ]]; then
            :
        elif [[ -z $verb ]]; then
            verb=$word
            _pyoci_verb "$verb"
        else
            taken=yes
        fi
    done
    COMPREPLY=()
    [[ -n $before ]] && return
    if [[ $current = -* ]]; then
        choices=$flags
    elif [[ -n $taken ]]; then
        return
    elif [[ $choices = ID ]]; then
        choices=$("${COMP_WORDS[0]}" --root "$root" list -q 2>/dev/null)
    fi
    for word in $choices; do
        [[ $word = "$current"* ]] && COMPREPLY+=("$word")
    done
}

complete -o default -F _pyoci pyoci
"""
IDS = "'(pyoci list -q 2>/dev/null)'"
ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n\n"


def run(command: "cli.Command") -> int:
    """Print the script for a shell.

    Raises:
        UsageError: there is none for it.
    """
    shell = command.words[0]
    if shell == "fish":
        return show("\n".join(fish()) + "\n")
    if shell not in ("bash", "zsh"):
        raise UsageError(f'completion: the shell is bash, zsh or fish, not "{printable(shell)}"')
    return show((ZSH if shell == "zsh" else "") + BASH.replace("@CASES@", "\n".join(cases())))


def options_of(text: str) -> "Iterator[tuple[list[str], bool, str]]":
    """Give the names of each option in lines of help, whether it takes a value, and what it is for."""
    for line in text.splitlines():
        known = cli.table(line)
        takes = any(option.value for option in known.values())
        yield list(known), takes, line[2:].partition("  ")[2].strip()


def dashed(name: str) -> str:
    """Give an option as it is written."""
    return f"-{name}" if len(name) == 1 else f"--{name}"


def first_words(verb: cli.Verb) -> "list[str]":
    """Give what the first word of a verb can be: ID for a container that is there."""
    word = verb.words.partition(" ")[0]
    if "ID" in word:
        return [] if "bundle" in cli.table(verb.options) else ["ID"]
    return word.split("|") if word else []


def cases() -> "Iterator[str]":
    """Give the branches of _pyoci_verb."""
    described = {name: (verb.options, first_words(verb)) for name, verb in cli.VERBS.items()}
    described = {"": (cli.GLOBALS, [*cli.VERBS, "help"]), "help": ("", list(cli.VERBS))} | described
    for verb, (text, words) in described.items():
        names: list[str] = []
        values: list[str] = []
        for spellings, takes, _ in options_of(text + cli.HELP):
            names += map(dashed, spellings)
            values += map(dashed, spellings if takes else ())
        yield (
            f"    {verb or repr('')}) flags='{' '.join(names)}' values='{' '.join(values)}' "
            f"choices='{' '.join(words)}' ;;"
        )


def fish() -> "Iterator[str]":
    """Give the lines for fish."""
    yield "complete -c pyoci -f"
    yield from fish_options("__fish_use_subcommand", cli.GLOBALS + cli.HELP)
    for name, verb in cli.VERBS.items():
        yield f"complete -c pyoci -n __fish_use_subcommand -a {name} -d {quoted(verb.summary)}"
        seen = f"'__fish_seen_subcommand_from {name}'"
        yield from fish_options(seen, verb.options + cli.HELP)
        for word in first_words(verb):
            yield f"complete -c pyoci -n {seen} -a {IDS if word == 'ID' else word}"


def fish_options(condition: str, text: str) -> "Iterator[str]":
    """Give a line for each option."""
    for names, takes, what in options_of(text):
        spelled = " ".join(f"-{'s' if len(name) == 1 else 'l'} {name}" for name in names)
        yield f"complete -c pyoci -n {condition} {spelled} {'-rF ' if takes else ''}-d {quoted(what)}"


def quoted(text: str) -> str:
    """Give a word of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
