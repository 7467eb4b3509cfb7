"""The command line as data, and the short parser that reads it.

The spelling is that of the field (Go's flag packages): ``--flag=value``, ``--flag value``, ``-flag``, booleans
bare or ``=true``.  No abbreviations.  argparse would cost 12 ms, knows no single-dash long options and ends
with status 2, where callers expect 1.
"""

from pyoci.errors import UsageError, printable
from pyoci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Value = bool | int | str | list[str]


class Option(Record):
    """One option: its names without dashes, what its value is called ("" for a boolean), what it does.

    many options may be repeated and collect a list; filled ones refuse an empty value.
    """

    names: "tuple[str, ...]"
    value: str = ""
    text: str = ""
    number: bool = False
    many: bool = False
    filled: bool = False

    @property
    def key(self) -> str:
        """The first name, as it is asked for."""
        return self.names[0]

    def default(self) -> "Value":
        """Give what an option that is not there means."""
        return [] if self.many else 0 if self.number else "" if self.value else False


class Verb(Record):
    """One verb: what it does, its words after the options, its options.

    Words stop the options of a verb with command set at its first word: the rest belongs to somebody else.
    """

    summary: str
    words: str
    options: "tuple[Option, ...]" = ()
    least: int = 1
    most: int = 1
    command: bool = False


class Command(Record):
    """A command line that was understood; options have every option of the verb, by its first name."""

    verb: str
    globals: "Mapping[str, Value]"
    options: "Mapping[str, Value]"
    words: "list[str]"


def flag(names: str, text: str) -> Option:
    """Describe a boolean option."""
    return Option(names=tuple(names.split()), text=text)


def value(names: str, kind: str, text: str, *, many: bool = False) -> Option:
    """Describe an option with a value."""
    return Option(names=tuple(names.split()), value=kind, text=text, number=kind == "N", many=many)


IGNORED = "accepted for compatibility"
BUNDLE = value("bundle b", "DIR", "the bundle (default: the current directory)")
CONFIG = value("config f", "FILE", "another file than the bundle's config.json")
CONSOLE = value("console-socket", "SOCKET", "send the terminal's master to this Unix socket")
PIDFD = value("pidfd-socket", "SOCKET", "send a pidfd of the process to this Unix socket")
PID_FILE = value("pid-file", "FILE", "write the pid of the process to this file")
PRESERVE = value("preserve-fds", "N", "hand N descriptors behind 2 to the program")
DETACH = flag("detach d", "do not wait for the program's end")
NO_SUBREAPER = flag("no-subreaper", IGNORED)
REGEX = flag("regex r", "the id is a regular expression (POSIX, extended); all that match are meant")
NO_PIVOT = flag("no-pivot", "move the root instead of pivot_root(2); for a root file system on an initramfs")
NO_KEYRING = flag("no-new-keyring", "keep the caller's session keyring")
MAKE = (BUNDLE, CONFIG, CONSOLE, PIDFD, PID_FILE, PRESERVE, DETACH, NO_SUBREAPER, NO_PIVOT, NO_KEYRING)
FORMAT = value("format f", "FORMAT", "table (default) or json")

GLOBALS = (
    value("root", "DIR", "where the containers are recorded (default: /run/pyoci)"),
    value("log", "FILE", "append errors to this file, too"),
    value("log-format", "FORMAT", "text (default) or json"),
    value("log-level", "LEVEL", "error (default), warning, info or debug"),
    flag("debug", "log everything"),
    flag("systemd-cgroup", "let systemd make the cgroups"),
    value("cgroup-manager", "NAME", "cgroupfs (default), systemd or disabled"),
    value("rootless", "BOOL", IGNORED),
    value("criu", "PATH", IGNORED),
    flag("version v", "print the version"),
    flag("help h", "print this help"),
)

# Texts, even where they are numbers: one that is absent must be told from 0, and some may be negative.
LIMITS = (
    value("blkio-weight", "NUMBER", "weight for block devices, 10 to 1000"),
    value("cpu-period", "US", "length of a period in microseconds"),
    value("cpu-quota", "US", "CPU time in each period, in microseconds"),
    value("cpu-burst", "US", "unused CPU time that may be saved up, in microseconds"),
    value("cpu-share", "NUMBER", "CPU time relative to others"),
    value("cpu-idle", "NUMBER", "1: run only when nobody else wants to"),
    value("cpu-rt-period", "US", "length of a realtime period in microseconds"),
    value("cpu-rt-runtime", "US", "realtime CPU time in each period, in microseconds"),
    value("cpuset-cpus", "LIST", "CPUs that may be used"),
    value("cpuset-mems", "LIST", "memory nodes that may be used"),
    value("kernel-memory", "BYTES", "limit of kernel memory (v1)"),
    value("kernel-memory-tcp", "BYTES", "limit of TCP buffers (v1)"),
    value("memory", "BYTES", "limit of memory; -1 is unlimited"),
    value("memory-reservation", "BYTES", "memory that is kept free of reclaim"),
    value("memory-swap", "BYTES", "limit of memory and swap together; -1 is unlimited"),
    value("pids-limit", "NUMBER", "number of tasks; -1 is unlimited"),
    value("l3-cache-schema", "TEXT", "schema of the L3 cache"),
    value("mem-bw-schema", "TEXT", "schema of the memory bandwidth"),
)

VERBS = {
    "create": Verb(summary="make a container, whose program waits for start", words="ID", options=MAKE),
    "delete": Verb(
        summary="remove a stopped container",
        words="ID",
        options=(flag("force f", "kill it first; silent when there is none"), REGEX),
    ),
    "exec": Verb(
        summary="run one more program in a container",
        words="ID [COMMAND [ARG...]]",
        most=-1,
        command=True,
        options=(
            value("process p", "FILE", "a process object as in config.json"),
            CONSOLE,
            PIDFD,
            PID_FILE,
            PRESERVE,
            DETACH,
            flag("tty t", "give the program a terminal"),
            value("cwd", "DIR", "working directory"),
            value("env e", "NAME=VALUE", "add to the environment", many=True),
            Option(names=("user", "u"), value="UID[:GID]", text="user, by number", filled=True),
            value("additional-gids g", "GID", "additional group, by number", many=True),
            value("cap c", "CAP", "add a capability", many=True),
            flag("no-new-privs", "set no_new_privs"),
            value("process-label", "LABEL", "SELinux label"),
            value("apparmor", "PROFILE", "AppArmor profile"),
            value("cgroup", "PATH", "cgroup below the container's", many=True),
            flag("ignore-paused", "also in a paused container; it runs once that is resumed"),
            NO_SUBREAPER,
        ),
    ),
    "kill": Verb(
        summary="send a signal (default TERM)",
        words="ID [SIGNAL]",
        most=2,
        command=True,
        options=(flag("all a", "to every process of the container"), REGEX),
    ),
    "list": Verb(
        summary="list the containers",
        words="",
        least=0,
        most=0,
        options=(FORMAT, flag("quiet q", "ids only")),
    ),
    "pause": Verb(summary="freeze all processes of a container", words="ID"),
    "plan": Verb(
        summary="show the steps that would make a container, touching nothing",
        words="[ID]",
        least=0,
        options=(*MAKE, flag("json", "as JSON")),
    ),
    "ps": Verb(
        summary="list the processes of a container",
        words="ID [PS-OPTION...]",
        most=-1,
        command=True,
        options=(FORMAT,),
    ),
    "resume": Verb(summary="let a paused container run on", words="ID"),
    "run": Verb(
        summary="create, start, wait and delete",
        words="ID",
        options=(*MAKE, flag("keep", "do not delete the container at its end")),
    ),
    "spec": Verb(
        summary="write a config.json to begin with",
        words="",
        least=0,
        most=0,
        options=(
            BUNDLE,
            value("file f", "FILE", "write to this file"),
            flag("rootless", "for a user without privileges"),
        ),
    ),
    "start": Verb(summary="let the program of a created container run", words="ID"),
    "state": Verb(summary="print the state of a container", words="ID"),
    "update": Verb(
        summary="change the limits of a container",
        words="ID",
        options=(
            value("resources r", "FILE", "a resources object as in config.json; - is standard input"),
            *LIMITS,
        ),
    ),
}

TRUE, FALSE = ("true", "1", "t", "T", "TRUE", "True"), ("false", "0", "f", "F", "FALSE", "False")


def parse(argv: "list[str]") -> Command:
    """Read the words behind the program's name.

    A verb of ``help`` or ``version`` stands for --help (words: the verb it is asked for, if any) and --version.

    Raises:
        UsageError: an unknown verb or option, a missing or malformed value, too few or too many words.
    """
    general = defaults(GLOBALS)
    return parse_verb(general, parse_globals(argv, general))


def parse_globals(argv: "list[str]", general: "dict[str, Value]") -> "list[str]":
    """Read the options in front of the verb into *general*, up to where it fails; gives the rest."""
    return read_options(argv, GLOBALS, general, "", stop=True)


def defaults(options: "tuple[Option, ...]") -> "dict[str, Value]":
    """Give what options mean that are not there."""
    return {option.key: option.default() for option in options}


def parse_verb(general: "dict[str, Value]", rest: "list[str]") -> Command:
    """Read the verb and what follows it; see parse."""
    if general["version"]:
        return Command(verb="version", globals=general, options={}, words=[])
    if general["help"] or not rest or rest[0] == "help":
        return Command(
            verb="help", globals=general, options={}, words=rest[1:] if rest[:1] == ["help"] else []
        )
    name = rest[0]
    verb = VERBS.get(name)
    if verb is None:
        raise UsageError(f'unknown command "{printable(name)}"; see pyoci --help')
    known = (*verb.options, GLOBALS[-1])
    options = defaults(known)
    words = read_options(rest[1:], known, options, name, stop=verb.command)
    if options["help"]:
        return Command(verb="help", globals=general, options={}, words=[name])
    if len(words) < verb.least:
        raise UsageError(f"{name} needs {verb.words.split()[0]}; see pyoci {name} --help")
    if verb.most >= 0 and len(words) > verb.most:
        raise UsageError(f'{name}: unexpected argument "{printable(words[verb.most])}"')
    return Command(verb=name, globals=general, options=options, words=words)


def read_options(
    argv: "list[str]", options: "tuple[Option, ...]", values: "dict[str, Value]", verb: str, *, stop: bool
) -> "list[str]":
    """Take the options out of *argv* into *values*; with stop only those before the first word.  Gives the words."""
    known = {name: option for option in options for name in option.names}
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word == "--":
            words += rest
        elif word[:1] != "-" or word == "-":
            words.append(word)
            if stop:
                words += rest
        else:
            _read_option(word, rest, known, values, verb)
    return words


def _read_option(
    word: str, rest: "Iterator[str]", known: "dict[str, Option]", values: "dict[str, Value]", verb: str
) -> None:
    """Read one option, and the next word when that is its value."""
    name, equals, text = word.lstrip("-").partition("=")
    option = known.get(name) if len(word) - len(word.lstrip("-")) <= 2 else None
    if option is None:
        raise UsageError(f"{verb + ': ' if verb else ''}unknown option {printable(word.partition('=')[0])}")
    if not option.value:
        if equals and text not in TRUE + FALSE:
            raise UsageError(f'{word.partition("=")[0]} is true or false, not "{printable(text)}"')
        values[option.key] = not equals or text in TRUE
        return
    if not equals:
        following = next(rest, None)
        if following is None:
            raise UsageError(f"flag needs an argument: {word}")
        text = following
    if not text and option.filled:
        raise UsageError(f"{word.partition('=')[0]} needs a value")
    if option.number:
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise UsageError(f'{word.partition("=")[0]} needs a number, not "{printable(text)}"')
        values[option.key] = int(text)
        return
    collected = values[option.key]
    if isinstance(collected, list):
        collected.append(text)
    else:
        values[option.key] = text


def usage(verb: str = "") -> str:
    """Give the help of a verb, or of pyoci.

    Raises:
        UsageError: there is no such verb.
    """
    if not verb:
        lines = [
            "usage: pyoci [OPTION...] COMMAND [OPTION...] [ID] [...]",
            "",
            "An OCI container runtime.",
            "",
            "commands:",
        ]
        lines += [f"  {name:<8} {each.summary}" for name, each in VERBS.items()]
        return (
            "\n".join(
                [
                    *lines,
                    "",
                    "options:",
                    *_option_lines(GLOBALS),
                    "",
                    "pyoci COMMAND --help explains a command.",
                ]
            )
            + "\n"
        )
    found = VERBS.get(verb)
    if found is None:
        raise UsageError(f'unknown command "{printable(verb)}"; see pyoci --help')
    head = f"usage: pyoci {verb} [OPTION...] {found.words}".rstrip()
    return (
        "\n".join(
            [
                head,
                "",
                f"{found.summary[0].upper()}{found.summary[1:]}.",
                "",
                "options:",
                *_option_lines((*found.options, GLOBALS[-1])),
            ]
        )
        + "\n"
    )


def _option_lines(options: "tuple[Option, ...]") -> "list[str]":
    lines = []
    for option in options:
        names = ", ".join(
            f"-{name}" if len(name) == 1 else f"--{name}" for name in sorted(option.names, key=len)
        )
        lines.append(f"  {names + (' ' + option.value if option.value else ''):<34} {option.text}")
    return lines
