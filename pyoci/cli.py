"""The command line as data, and the short parser that reads it.

The spelling is that of the field (Go's flag packages): ``--flag=value``, ``--flag value``, ``-flag``, booleans
bare or ``=true``.  No abbreviations.  argparse would cost 12 ms, knows no single-dash long options and ends
with status 2, where callers expect 1.
"""

from pyoci.errors import UsageError
from pyoci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Value = bool | int | str | list[str]
    Row = tuple[str, str, str] | tuple[str, str, str, str]


class Option:
    """One option, made from its row when a command line is read.

    A row has the option's names without dashes, what its value is called ("" for a boolean, "N" for a number),
    what it does, and perhaps a word: options with "many" may be repeated and collect a list; with "filled" they
    refuse an empty value.  Rows are constants, which cost nothing at every start, as fifty objects do.
    """

    __slots__ = ("filled", "many", "names", "number", "text", "value")

    def __init__(self, names: str, value: str, text: str, how: str = "") -> None:
        """Take the parts of a row."""
        self.names = names.split()
        self.value = value
        self.text = text
        self.number = value == "N"
        self.many = how == "many"
        self.filled = how == "filled"

    @property
    def key(self) -> str:
        """The first name, as it is asked for."""
        return self.names[0]

    def default(self) -> "Value":
        """Give what an option that is not there means."""
        return [] if self.many else 0 if self.number else "" if self.value else False


class Verb:
    """One verb: what it does, its words after the options (how many, at least and at most), its options' rows.

    Words stop the options of a verb with command set at its first word: the rest belongs to somebody else.
    """

    __slots__ = ("command", "least", "most", "options", "summary", "words")

    def __init__(
        self,
        summary: str,
        words: str,
        options: "tuple[Row, ...]" = (),
        least: int = 1,
        most: int = 1,
        command: bool = False,
    ) -> None:
        """Take the parts."""
        self.summary = summary
        self.words = words
        self.options = options
        self.least = least
        self.most = most
        self.command = command


class Command(Record):
    """A command line that was understood; options have every option of the verb, by its first name."""

    verb: str
    globals: "Mapping[str, Value]"
    options: "Mapping[str, Value]"
    words: "list[str]"


IGNORED = "accepted for compatibility"
BUNDLE = ("bundle b", "DIR", "the bundle (default: the current directory)")
CONFIG = ("config f", "FILE", "another file than the bundle's config.json")
CONSOLE = ("console-socket", "SOCKET", "send the terminal's master to this Unix socket")
PIDFD = ("pidfd-socket", "SOCKET", "send a pidfd of the process to this Unix socket")
PID_FILE = ("pid-file", "FILE", "write the pid of the process to this file")
PRESERVE = ("preserve-fds", "N", "hand N descriptors behind 2 to the program")
DETACH = ("detach d", "", "do not wait for the program's end")
NO_SUBREAPER = ("no-subreaper", "", IGNORED)
REGEX = ("regex r", "", "the id is a regular expression")
NO_PIVOT = ("no-pivot", "", "move the root instead of pivot_root(2); for a root file system on an initramfs")
NO_KEYRING = ("no-new-keyring", "", "keep the caller's session keyring")
MAKE = (BUNDLE, CONFIG, CONSOLE, PIDFD, PID_FILE, PRESERVE, DETACH, NO_SUBREAPER, NO_PIVOT, NO_KEYRING)
FORMAT = ("format f", "FORMAT", "table (default) or json")

GLOBALS = (
    ("root", "DIR", "where the containers are recorded (default: /run/pyoci)"),
    ("log", "FILE", "append errors to this file, too"),
    ("log-format", "FORMAT", "text (default) or json"),
    ("log-level", "LEVEL", "error, warning (default), info or debug"),
    ("debug", "", "log everything"),
    ("systemd-cgroup", "", "let systemd make the cgroups"),
    ("cgroup-manager", "NAME", "cgroupfs (default), systemd or disabled"),
    ("rootless", "BOOL", IGNORED),
    ("criu", "PATH", IGNORED),
    ("version v", "", "print the version"),
    ("help h", "", "print this help"),
)

LIMITS = (
    ("blkio-weight", "N", "weight for block devices, 10 to 1000"),
    ("cpu-period", "US", "length of a period in microseconds"),
    ("cpu-quota", "US", "CPU time in each period, in microseconds"),
    ("cpu-burst", "US", "unused CPU time that may be saved up, in microseconds"),
    ("cpu-share", "N", "CPU time relative to others"),
    ("cpu-idle", "N", "1: run only when nobody else wants to"),
    ("cpu-rt-period", "US", "length of a realtime period in microseconds"),
    ("cpu-rt-runtime", "US", "realtime CPU time in each period, in microseconds"),
    ("cpuset-cpus", "LIST", "CPUs that may be used"),
    ("cpuset-mems", "LIST", "memory nodes that may be used"),
    ("kernel-memory", "BYTES", "limit of kernel memory (v1)"),
    ("kernel-memory-tcp", "BYTES", "limit of TCP buffers (v1)"),
    ("memory", "BYTES", "limit of memory; -1 is unlimited"),
    ("memory-reservation", "BYTES", "memory that is kept free of reclaim"),
    ("memory-swap", "BYTES", "limit of memory and swap together; -1 is unlimited"),
    ("pids-limit", "N", "number of tasks; -1 is unlimited"),
    ("l3-cache-schema", "TEXT", "schema of the L3 cache"),
    ("mem-bw-schema", "TEXT", "schema of the memory bandwidth"),
)

VERBS = {
    "create": Verb(summary="make a container, whose program waits for start", words="ID", options=MAKE),
    "delete": Verb(
        summary="remove a stopped container",
        words="ID",
        options=(("force f", "", "kill it first; silent when there is none"), REGEX),
    ),
    "exec": Verb(
        summary="run one more program in a container",
        words="ID [COMMAND [ARG...]]",
        most=-1,
        command=True,
        options=(
            ("process p", "FILE", "a process object as in config.json"),
            CONSOLE,
            PIDFD,
            PID_FILE,
            PRESERVE,
            DETACH,
            ("tty t", "", "give the program a terminal"),
            ("cwd", "DIR", "working directory"),
            ("env e", "NAME=VALUE", "add to the environment", "many"),
            ("user u", "UID[:GID]", "user, by number", "filled"),
            ("additional-gids g", "GID", "additional group, by number", "many"),
            ("cap c", "CAP", "add a capability", "many"),
            ("no-new-privs", "", "set no_new_privs"),
            ("process-label", "LABEL", "SELinux label"),
            ("apparmor", "PROFILE", "AppArmor profile"),
            ("cgroup", "PATH", "cgroup below the container's", "many"),
            ("ignore-paused", "", "also in a paused container; it runs once that is resumed"),
            NO_SUBREAPER,
        ),
    ),
    "kill": Verb(
        summary="send a signal (default TERM)",
        words="ID [SIGNAL]",
        most=2,
        command=True,
        options=(("all a", "", "to every process of the container"), REGEX),
    ),
    "list": Verb(
        summary="list the containers",
        words="",
        least=0,
        most=0,
        options=(FORMAT, ("quiet q", "", "ids only")),
    ),
    "pause": Verb(summary="freeze all processes of a container", words="ID"),
    "plan": Verb(
        summary="show the steps that would make a container, touching nothing",
        words="[ID]",
        least=0,
        options=(*MAKE, ("json", "", "as JSON")),
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
        options=(*MAKE, ("keep", "", "do not delete the container at its end")),
    ),
    "spec": Verb(
        summary="write a config.json to begin with",
        words="",
        least=0,
        most=0,
        options=(
            BUNDLE,
            ("file f", "FILE", "write to this file"),
            ("rootless", "", "for a user without privileges"),
        ),
    ),
    "start": Verb(summary="let the program of a created container run", words="ID"),
    "state": Verb(summary="print the state of a container", words="ID"),
    "update": Verb(
        summary="change the limits of a container",
        words="ID",
        options=(
            ("resources r", "FILE", "a resources object as in config.json; - is standard input"),
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
    return parse_verb(*parse_globals(argv))


def parse_globals(argv: "list[str]") -> "tuple[dict[str, Value], list[str]]":
    """Read the options in front of the verb; gives them and the rest."""
    return read_options(argv, GLOBALS, "", stop=True)


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
    options, words = read_options(rest[1:], (*verb.options, GLOBALS[-1]), name, stop=verb.command)
    if options["help"]:
        return Command(verb="help", globals=general, options={}, words=[name])
    if len(words) < verb.least:
        raise UsageError(f"{name} needs {verb.words.split()[0]}; see pyoci {name} --help")
    if verb.most >= 0 and len(words) > verb.most:
        raise UsageError(f'{name}: unexpected argument "{printable(words[verb.most])}"')
    return Command(verb=name, globals=general, options=options, words=words)


def read_options(
    argv: "list[str]", rows: "tuple[Row, ...]", verb: str, *, stop: bool
) -> "tuple[dict[str, Value], list[str]]":
    """Take the options out of *argv*; with stop only those before the first word.  Gives them and the words."""
    options = [Option(*row) for row in rows]
    known = {name: option for option in options for name in option.names}
    values: dict[str, Value] = {option.key: option.default() for option in options}
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
    return values, words


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


def printable(text: str) -> str:
    """Make a word of the command line fit for a message."""
    return "".join(c if c.isprintable() else "?" for c in text)


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


def _option_lines(rows: "tuple[Row, ...]") -> "list[str]":
    lines = []
    for option in (Option(*row) for row in rows):
        names = ", ".join(
            f"-{name}" if len(name) == 1 else f"--{name}" for name in sorted(option.names, key=len)
        )
        lines.append(f"  {names + (' ' + option.value if option.value else ''):<34} {option.text}")
    return lines
