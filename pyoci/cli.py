"""The verbs and options of the command line as data, and the parser and the help that are made from them.

The syntax is that of Go's flag packages, which callers expect: ``--flag=value``, ``--flag value``, ``-flag``;
booleans stand alone or have ``=true`` or ``=false``.  There are no abbreviations.

The parser is our own because argparse takes 12 ms to import in the package form, knows no long options with a single
dash, and exits by itself, with status 2 where callers expect 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pyoci.config.readers import did_you_mean, quote
from pyoci.errors import UsageError, printable

Values = dict[str, Any]  # options by their long names: bool, int, str or list[str], as their kind says


class Kind(Enum):
    """What the value of an option is."""

    FLAG = "a boolean, True where the option stands alone"
    COUNT = "a decimal number"
    TEXT = "a string"
    NONEMPTY = "a string; an empty one is an error, as it is mostly an unset variable of a script"
    LIST = "a list of strings: the option can be repeated"


@dataclass(frozen=True, slots=True)
class Option:
    """An option; short is its one-letter name, or "", and metavar stands for its value in the help."""

    name: str
    short: str
    kind: Kind
    metavar: str
    help: str

    def default(self) -> bool | int | str | list[str]:
        """Return the value of the option where it is not given."""
        match self.kind:
            case Kind.FLAG:
                return False
            case Kind.COUNT:
                return 0
            case Kind.LIST:
                return []
            case _:
                return ""

    def spellings(self) -> list[str]:
        """Return the names with their dashes, the short one first."""
        return [*([f"-{self.short}"] if self.short else []), f"--{self.name}"]

    def usage(self) -> str:
        """Return the line of help."""
        more = "..." if self.kind is Kind.LIST else ""
        names = f"{', '.join(self.spellings())} {self.metavar}{more}".rstrip()
        return f"  {names:<30} {self.help}\n"


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb with its options, and the usage and number of its positional arguments.

    Where options are not interspersed, the first positional argument ends them: what follows belongs to another
    program.
    """

    summary: str
    words: str
    options: tuple[Option, ...] = ()
    min_words: int = 1
    max_words: int | None = 1
    interspersed: bool = True


@dataclass(frozen=True, slots=True)
class Command:
    """A parsed command line; options holds every option of the verb by its long name."""

    verb: str
    globals: Values
    options: Values
    words: list[str]


FLAG, COUNT, TEXT, NONEMPTY, LIST = Kind.FLAG, Kind.COUNT, Kind.TEXT, Kind.NONEMPTY, Kind.LIST

HELP = Option("help", "h", FLAG, "", "print this help")
GLOBALS = (
    Option("root", "", TEXT, "DIR", "directory of container state (default: /run/pyoci)"),
    Option("log", "", TEXT, "FILE", "also append errors to this file"),
    Option("log-format", "", TEXT, "FORMAT", "text (default) or json"),
    Option("log-level", "", TEXT, "LEVEL", "error (default with --log), warning (default without), info or debug"),
    Option("debug", "", FLAG, "", "log everything"),
    Option("systemd-cgroup", "", FLAG, "", "not supported yet: create and run fail"),
    Option("cgroup-manager", "", TEXT, "NAME", "cgroupfs (default) or disabled; systemd is not supported yet"),
    Option("rootless", "", TEXT, "BOOL", "accepted for compatibility"),
    Option("criu", "", TEXT, "PATH", "accepted for compatibility"),
    Option("version", "v", FLAG, "", "print the version"),
)
BUNDLE = Option("bundle", "b", TEXT, "DIR", "bundle directory (default: the current directory)")
CONFIG = (BUNDLE, Option("config", "f", TEXT, "FILE", "configuration file (default: config.json in the bundle)"))
PROCESS = (
    Option("console-socket", "", TEXT, "SOCKET", "send the terminal's master to this Unix socket"),
    Option("pidfd-socket", "", TEXT, "SOCKET", "send a pidfd of the process to this Unix socket"),
    Option("pid-file", "", TEXT, "FILE", "write the process ID to this file"),
    Option("preserve-fds", "", COUNT, "N", "pass N more file descriptors, from 3 on, to the process"),
    Option("detach", "d", FLAG, "", "do not wait for the process to exit"),
    Option("no-subreaper", "", FLAG, "", "accepted for compatibility"),
)
CREATE = (
    *CONFIG,
    *PROCESS,
    Option("no-pivot", "", FLAG, "", "move the root instead of pivot_root(2), for a rootfs on an initramfs"),
    Option("no-new-keyring", "", FLAG, "", "keep the caller's session keyring"),
)
EXEC = (
    Option("process", "p", TEXT, "FILE", "read the process object, as in config.json, from this file"),
    *PROCESS,
    Option("tty", "t", FLAG, "", "allocate a terminal"),
    Option("cwd", "", TEXT, "DIR", "working directory"),
    Option("env", "e", LIST, "NAME=VALUE", "set an environment variable"),
    Option("user", "u", NONEMPTY, "UID[:GID]", "user and group, as numbers"),
    Option("additional-gids", "g", LIST, "GID", "add a supplementary group, as a number"),
    Option("cap", "c", LIST, "CAP", "add a capability"),
    Option("no-new-privs", "", FLAG, "", "set no_new_privs"),
    Option("process-label", "", TEXT, "LABEL", "SELinux label"),
    Option("apparmor", "", TEXT, "PROFILE", "AppArmor profile"),
    Option("cgroup", "", LIST, "PATH", "run in a cgroup below the container's"),
    Option("ignore-paused", "", FLAG, "", "allow a paused container; the command runs when it is resumed"),
)
REGEX = Option("regex", "r", FLAG, "", "ID is a regular expression (Python's re), which may match any part of an ID")
FORMAT = Option("format", "f", TEXT, "FORMAT", "table (default) or json")
# Numbers are strings here: 0 is not the same as no value, and some may be negative.
UPDATE = (
    Option("resources", "r", TEXT, "FILE", "read the resources object, as in config.json, from this file (-: stdin)"),
    Option("blkio-weight", "", NONEMPTY, "NUMBER", "block I/O weight, 10 to 1000"),
    Option("cpu-period", "", NONEMPTY, "US", "CPU period in microseconds"),
    Option("cpu-quota", "", NONEMPTY, "US", "CPU time per period, in microseconds"),
    Option("cpu-burst", "", NONEMPTY, "US", "unused CPU time that can accumulate, in microseconds"),
    Option("cpu-share", "", NONEMPTY, "NUMBER", "CPU time relative to other cgroups"),
    Option("cpu-idle", "", NONEMPTY, "NUMBER", "1: run only when no other cgroup wants to"),
    Option("cpu-rt-period", "", NONEMPTY, "US", "realtime period in microseconds"),
    Option("cpu-rt-runtime", "", NONEMPTY, "US", "realtime CPU time per period, in microseconds"),
    Option("cpuset-cpus", "", NONEMPTY, "LIST", "CPUs that the container can use, such as 0-3,6"),
    Option("cpuset-mems", "", NONEMPTY, "LIST", "memory nodes that the container can use"),
    Option("kernel-memory", "", NONEMPTY, "BYTES", "kernel memory limit (cgroup v1)"),
    Option("kernel-memory-tcp", "", NONEMPTY, "BYTES", "TCP buffer limit (cgroup v1)"),
    Option("memory", "", NONEMPTY, "BYTES", "memory limit; -1 is unlimited"),
    Option("memory-reservation", "", NONEMPTY, "BYTES", "soft memory limit"),
    Option("memory-swap", "", NONEMPTY, "BYTES", "limit of memory and swap together; -1 is unlimited"),
    Option("pids-limit", "", NONEMPTY, "NUMBER", "maximum number of tasks; -1 is unlimited"),
    Option("l3-cache-schema", "", TEXT, "TEXT", "L3 cache schema; not supported yet"),
    Option("mem-bw-schema", "", TEXT, "TEXT", "memory bandwidth schema; not supported yet"),
)
DELETE = (
    Option("force", "f", FLAG, "", "kill the container if it is running; ignore one that does not exist"),
    REGEX,
)
KILL = (Option("all", "a", FLAG, "", "send the signal to every process of the container"), REGEX)
PLAN = (
    *CREATE,
    Option("exec", "", TEXT, "FILE", "plan an exec of this process object in a container of the bundle"),
    Option("diff", "", TEXT, "DIR", "show the difference to the plan of another bundle"),
    Option("view", "", TEXT, "LAYOUT", "plan for a host with cgroups v1, v2 or hybrid (default: this host)"),
    Option("json", "", FLAG, "", "print JSON"),
)
SPEC = (
    BUNDLE,
    Option("file", "f", TEXT, "FILE", "output file (default: config.json in the bundle)"),
    Option("rootless", "", FLAG, "", "for a user without privileges"),
)

VERBS = {
    "completion": Verb("print a shell completion script", "bash|zsh|fish"),
    "create": Verb("create a container", "ID", CREATE),
    "delete": Verb("delete a stopped container", "ID", DELETE),
    "exec": Verb(
        "run a command in a container", "ID [COMMAND [ARG...]]", EXEC, max_words=None, interspersed=False
    ),
    "features": Verb("print the supported features as JSON", "", min_words=0, max_words=0),
    "kill": Verb(
        "send a signal to a container (default: the image's stop signal, or TERM)",
        "ID [SIGNAL]",
        KILL,
        max_words=2,
        interspersed=False,
    ),
    "list": Verb(
        "list containers",
        "",
        (FORMAT, Option("quiet", "q", FLAG, "", "print only IDs")),
        min_words=0,
        max_words=0,
    ),
    "pause": Verb("suspend all processes of a container", "ID"),
    "plan": Verb("show what create would do, without touching the host", "[ID]", PLAN, min_words=0),
    "ps": Verb(
        "list the processes of a container", "ID [PS-OPTION...]", (FORMAT,), max_words=None, interspersed=False
    ),
    "resume": Verb("resume a paused container", "ID"),
    "run": Verb(
        "create and start a container, and delete it when it exits",
        "ID",
        (*CREATE, Option("keep", "", FLAG, "", "do not delete the container when it exits")),
    ),
    "spec": Verb("write an example config.json", "", SPEC, min_words=0, max_words=0),
    "start": Verb("start a created container", "ID"),
    "state": Verb("print the state of a container", "ID"),
    "update": Verb("change the resource limits of a container", "ID", UPDATE),
    "validate": Verb(
        "check a configuration",
        "",
        (*CONFIG, Option("format", "", TEXT, "FORMAT", "text (default) or json")),
        min_words=0,
        max_words=0,
    ),
}


def by_name(options: tuple[Option, ...]) -> dict[str, Option]:
    """Return options by each of their names, --help among them."""
    return {name: option for option in (*options, HELP) for name in (option.short, option.name) if name}


# By the verb; "" stands for the options before it.
OPTIONS = {"": by_name(GLOBALS)} | {verb: by_name(VERBS[verb].options) for verb in VERBS}
DEFAULTS: dict[str, Values] = {
    verb: {option.name: option.default() for option in options.values()} for verb, options in OPTIONS.items()
}
TRUE, FALSE = ("true", "1", "t", "T", "TRUE", "True"), ("false", "0", "f", "F", "FALSE", "False")
MAX_COUNT_DIGITS = 9


def parse(argv: list[str]) -> Command:
    """Parse the arguments of the program.

    The verb of --help and --version is ``help`` (words: the verb to explain, if any) and ``version``.

    Raises:
        UsageError: an unknown verb or option, a missing or malformed value, too few or too many words.
    """
    general: Values = {}
    return parse_verb(general, parse_globals(argv, general))


def parse_globals(argv: list[str], general: Values) -> list[str]:
    """Parse the options before the verb into *general*, as far as they are right, and return the rest."""
    general.update(DEFAULTS[""])
    return parse_options(argv, "", general, interspersed=False)


def parse_verb(general: Values, rest: list[str]) -> Command:
    """Parse the verb and what follows it; see parse."""
    if general["version"]:
        return Command("version", general, {}, [])
    if general["help"] or not rest or rest[0] == "help":
        return Command("help", general, {}, rest[1:] if rest[:1] == ["help"] else [])
    name = rest[0]
    verb = VERBS.get(name)
    if verb is None:
        raise unknown_verb(name)
    options = dict(DEFAULTS[name])
    words = parse_options(rest[1:], name, options, interspersed=verb.interspersed)
    if options["help"]:
        return Command("help", general, {}, [name])
    if len(words) < verb.min_words:
        raise UsageError(f"{name} needs {verb.words.split()[0]}; see pyoci {name} --help")
    if verb.max_words is not None and len(words) > verb.max_words:
        raise UsageError(f'{name}: unexpected argument "{printable(words[verb.max_words])}"')
    return Command(name, general, options, words)


def parse_options(argv: list[str], verb: str, values: Values, *, interspersed: bool) -> list[str]:
    """Parse the options of a verb, or the global ones, into *values*, and return the other arguments."""
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word == "--":
            words += rest
        elif not word.startswith("-") or word == "-":
            words.append(word)
            if not interspersed:
                words += rest
        else:
            _parse_option(word, rest, verb, values)
    if not interspersed and verb and words[1:2] == ["--"]:
        del words[1]  # "exec ID -- COMMAND" is as common as "exec -- ID COMMAND"
    return words


def _parse_option(word: str, rest: Iterator[str], verb: str, values: Values) -> None:
    """Parse one option; its value may be the next of *rest*."""
    spelling, equals, text = word.partition("=")
    name = spelling.lstrip("-")
    option = OPTIONS[verb].get(name) if len(spelling) - len(name) <= 2 else None
    if option is None:
        raise unknown_option(spelling, verb)
    if option.kind is Kind.FLAG:
        if equals and text not in TRUE + FALSE:
            raise UsageError(f'{spelling} must be true or false, not "{printable(text)}"')
        values[option.name] = not equals or text in TRUE
        return
    if not equals:
        following = next(rest, None)
        if following is None:
            raise UsageError(f"flag needs an argument: {word}")
        text = following
    match option.kind:
        case Kind.NONEMPTY if not text:
            raise UsageError(f"{spelling} must not be empty")
        case Kind.COUNT:
            if not text.isascii() or not text.isdigit() or len(text) > MAX_COUNT_DIGITS:
                raise UsageError(f'{spelling} must be a number, not "{printable(text)}"')
            values[option.name] = int(text)
        case Kind.LIST:
            values[option.name] = [*values[option.name], text]
        case _:
            values[option.name] = text


def unknown_verb(name: str) -> UsageError:
    """Return the error, with the verb that may be meant."""
    return UsageError(f"unknown command {quote(name)}{did_you_mean(name, VERBS)}; see pyoci --help")


def unknown_option(spelling: str, verb: str) -> UsageError:
    """Return the error, with the option that may be meant."""
    near = did_you_mean(spelling, [f"--{name}" for name in OPTIONS[verb] if len(name) > 1])
    return UsageError(f"{f'{verb}: ' if verb else ''}unknown option {printable(spelling)}{near}")


def usage(verb: str = "") -> str:
    """Return the help of a verb, or of pyoci.

    Raises:
        UsageError: there is no such verb.
    """
    if verb and verb not in VERBS:
        raise unknown_verb(verb)
    options = "".join(option.usage() for option in (*(VERBS[verb].options if verb else GLOBALS), HELP))
    if verb:
        head = f"usage: pyoci {verb} [OPTION...] {VERBS[verb].words}".rstrip()
        summary = VERBS[verb].summary
        return f"{head}\n\n{summary[0].upper()}{summary[1:]}.\n\noptions:\n{options}"
    verbs = "".join(f"  {name:<10} {each.summary}\n" for name, each in VERBS.items())
    return (
        "usage: pyoci [OPTION...] COMMAND [OPTION...] [ID] [...]\n\nAn OCI container runtime.\n\n"
        f"commands:\n{verbs}\noptions:\n{options}\npyoci COMMAND --help explains a command.\n"
    )
