"""pyoci completion: print a completion script for a shell, made from the options in pyoci.cli."""

from collections.abc import Iterator

from pyoci.cli import GLOBALS, HELP, VERBS, Command, Kind, Option, Verb
from pyoci.commands.common import show
from pyoci.errors import UsageError, printable

# @CASES@ sets for a verb, or '' for what precedes it: its options, those of them that take a value, and the choices
# for its first word.
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


def run(command: Command) -> int:
    """Print the script.

    Raises:
        UsageError: there is none for this shell.
    """
    shell = command.words[0]
    if shell == "fish":
        return show("\n".join(fish()) + "\n")
    if shell not in ("bash", "zsh"):
        raise UsageError(f'completion: the shell must be bash, zsh or fish, not "{printable(shell)}"')
    return show((ZSH if shell == "zsh" else "") + BASH.replace("@CASES@", "\n".join(cases())))


def first_words(verb: Verb) -> list[str]:
    """Return the choices for the first word of a verb, where ID stands for the IDs of the containers."""
    word = verb.words.partition(" ")[0]
    if "ID" in word:
        is_new = any(option.name == "bundle" for option in verb.options)
        return [] if is_new else ["ID"]
    return word.split("|") if word else []


def cases() -> Iterator[str]:
    """Yield the branches of _pyoci_verb."""
    yield case("", GLOBALS, [*VERBS, "help"])
    yield case("help", (), list(VERBS))
    for name, verb in VERBS.items():
        yield case(name, verb.options, first_words(verb))


def case(verb: str, options: tuple[Option, ...], choices: list[str]) -> str:
    options = (*options, HELP)
    flags = [name for option in options for name in option.spellings()]
    values = [name for option in options for name in option.spellings() if option.kind is not Kind.FLAG]
    return (
        f"    {verb or repr('')}) flags='{' '.join(flags)}' values='{' '.join(values)}' "
        f"choices='{' '.join(choices)}' ;;"
    )


def fish() -> Iterator[str]:
    """Yield the lines for fish."""
    yield "complete -c pyoci -f"
    yield from fish_options("__fish_use_subcommand", GLOBALS)
    for name, verb in VERBS.items():
        yield f"complete -c pyoci -n __fish_use_subcommand -a {name} -d {quoted(verb.summary)}"
        seen = f"'__fish_seen_subcommand_from {name}'"
        yield from fish_options(seen, verb.options)
        for word in first_words(verb):
            yield f"complete -c pyoci -n {seen} -a {IDS if word == 'ID' else word}"


def fish_options(condition: str, options: tuple[Option, ...]) -> Iterator[str]:
    for option in (*options, HELP):
        names = f"-s {option.short} -l {option.name}" if option.short else f"-l {option.name}"
        takes_value = "" if option.kind is Kind.FLAG else "-rF "
        yield f"complete -c pyoci -n {condition} {names} {takes_value}-d {quoted(option.help)}"


def quoted(text: str) -> str:
    """Return a string as a word of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
