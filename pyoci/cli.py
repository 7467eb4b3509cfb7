"""The command line as data, and the short parser that reads it.

The options of a verb are a text: the help that is printed, and the table that the parser reads, one line an
option.  Only the text of the verb at hand is taken apart, and only for a call that has options.

The spelling is that of the field (Go's flag packages): ``--flag=value``, ``--flag value``, ``-flag``, booleans
bare or ``=true``.  No abbreviations.  argparse would cost 12 ms, knows no single-dash long options and ends
with status 2, where callers expect 1.
"""

from pyoci.config.readers import did_you_mean, quote
from pyoci.errors import UsageError, printable
from pyoci.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Value = bool | int | str | list[str]


class Option:
    """One option: the name it is asked for by, and what its value is called in the help ("" for a boolean).

    A value that is called N is a count, one with dots at its end may be repeated and collects a list, and one
    that begins with UID must not be empty.
    """

    __slots__ = ("key", "value")

    def __init__(self, key: str, value: str) -> None:
        """Take both."""
        self.key = key
        self.value = value

    def default(self) -> "Value":
        """Give what an option that is not there means."""
        if self.value.endswith("..."):
            return []
        return 0 if self.value == "N" else "" if self.value else False


class Verb:
    """One verb: what it does, its words after the options, its options as lines of help.

    Words stop the options of a verb with command set at its first word: the rest belongs to somebody else.
    """

    __slots__ = ("command", "least", "most", "options", "summary", "words")

    def __init__(
        self, summary: str, words: str, options: str = "", least: int = 1, most: int = 1, *, command: bool = False
    ) -> None:
        """Take all; a Record takes longer to make, and every call of pyoci makes all verbs."""
        self.summary = summary
        self.words = words
        self.options = options
        self.least = least
        self.most = most
        self.command = command


class Command(Record):
    """A command line that was understood; options have every option of the verb, by its long name."""

    verb: str
    globals: "Mapping[str, Value]"
    options: "Mapping[str, Value]"
    words: "list[str]"


GLOBALS = """\
  --root DIR                     where the containers are recorded (default: /run/pyoci)
  --log FILE                     append errors to this file, too
  --log-format FORMAT            text (default) or json
  --log-level LEVEL              error (default with --log), warning (default without), info or debug
  --debug                        log everything
  --systemd-cgroup               not supported yet: create and run refuse it
  --cgroup-manager NAME          cgroupfs (default) or disabled; systemd is not supported yet
  --rootless BOOL                accepted for compatibility
  --criu PATH                    accepted for compatibility
  -v, --version                  print the version
"""
HELP = """\
  -h, --help                     print this help
"""
BUNDLE = """\
  -b, --bundle DIR               the bundle (default: the current directory)
"""
MADE = """\
  --console-socket SOCKET        send the terminal's master to this Unix socket
  --pidfd-socket SOCKET          send a pidfd of the process to this Unix socket
  --pid-file FILE                write the pid of the process to this file
  --preserve-fds N               hand N descriptors behind 2 to the program
  -d, --detach                   do not wait for the program's end
  --no-subreaper                 accepted for compatibility
"""
CONFIG = f"""\
{BUNDLE}\
  -f, --config FILE              another file than the bundle's config.json
"""
CREATE = f"""\
{CONFIG}\
{MADE}\
  --no-pivot                     move the root instead of pivot_root(2); for a root file system on an initramfs
  --no-new-keyring               keep the caller's session keyring
"""
EXEC = f"""\
  -p, --process FILE             a process object as in config.json
{MADE}\
  -t, --tty                      give the program a terminal
  --cwd DIR                      working directory
  -e, --env NAME=VALUE...        add to the environment
  -u, --user UID[:GID]           user, by number
  -g, --additional-gids GID...   additional group, by number
  -c, --cap CAP...               add a capability
  --no-new-privs                 set no_new_privs
  --process-label LABEL          SELinux label
  --apparmor PROFILE             AppArmor profile
  --cgroup PATH...               cgroup below the container's
  --ignore-paused                also in a paused container; it runs once that is resumed
"""
REGEX = """\
  -r, --regex                    the id is a regular expression
"""
FORMAT = """\
  -f, --format FORMAT            table (default) or json
"""
# Texts, even where they are numbers: one that is absent must be told from 0, and some may be negative.
UPDATE = """\
  -r, --resources FILE           a resources object as in config.json; - is standard input
  --blkio-weight NUMBER          weight for block devices, 10 to 1000
  --cpu-period US                length of a period in microseconds
  --cpu-quota US                 CPU time in each period, in microseconds
  --cpu-burst US                 unused CPU time that may be saved up, in microseconds
  --cpu-share NUMBER             CPU time relative to others
  --cpu-idle NUMBER              1: run only when nobody else wants to
  --cpu-rt-period US             length of a realtime period in microseconds
  --cpu-rt-runtime US            realtime CPU time in each period, in microseconds
  --cpuset-cpus LIST             CPUs that may be used
  --cpuset-mems LIST             memory nodes that may be used
  --kernel-memory BYTES          limit of kernel memory (v1)
  --kernel-memory-tcp BYTES      limit of TCP buffers (v1)
  --memory BYTES                 limit of memory; -1 is unlimited
  --memory-reservation BYTES     memory that is kept free of reclaim
  --memory-swap BYTES            limit of memory and swap together; -1 is unlimited
  --pids-limit NUMBER            number of tasks; -1 is unlimited
  --l3-cache-schema TEXT         schema of the L3 cache
  --mem-bw-schema TEXT           schema of the memory bandwidth
"""

VERBS = {
    "completion": Verb(summary="print what makes a shell complete words of pyoci", words="bash|zsh|fish"),
    "create": Verb(summary="make a container, whose program waits for start", words="ID", options=CREATE),
    "delete": Verb(
        summary="remove a stopped container",
        words="ID",
        options=f"""\
  -f, --force                    kill it first; silent when there is none
{REGEX}""",
    ),
    "exec": Verb(
        summary="run one more program in a container",
        words="ID [COMMAND [ARG...]]",
        most=-1,
        command=True,
        options=EXEC,
    ),
    "features": Verb(
        summary="print what pyoci can do, as JSON for engines", words="", least=0, most=0
    ),
    "kill": Verb(
        summary="send a signal (default: that of the image, else TERM)",
        words="ID [SIGNAL]",
        most=2,
        command=True,
        options=f"""\
  -a, --all                      to every process of the container
{REGEX}""",
    ),
    "list": Verb(
        summary="list the containers",
        words="",
        least=0,
        most=0,
        options=f"""\
{FORMAT}\
  -q, --quiet                    ids only
""",
    ),
    "pause": Verb(summary="freeze all processes of a container", words="ID"),
    "plan": Verb(
        summary="show what create would do, in order, without touching the host",
        words="[ID]",
        least=0,
        options=f"""\
{CREATE}\
  --exec FILE                    what exec would do with this process object, in a container of the bundle
  --diff DIR                     what differs in the plan of another bundle
  --view LAYOUT                  for a host with the cgroups v1, v2 or hybrid, in place of this one
  --json                         as JSON
""",
    ),
    "ps": Verb(
        summary="list the processes of a container",
        words="ID [PS-OPTION...]",
        most=-1,
        command=True,
        options=FORMAT,
    ),
    "resume": Verb(summary="let a paused container run on", words="ID"),
    "run": Verb(
        summary="create, start, wait and delete",
        words="ID",
        options=f"""\
{CREATE}\
  --keep                         do not delete the container at its end
""",
    ),
    "spec": Verb(
        summary="write a config.json to begin with",
        words="",
        least=0,
        most=0,
        options=f"""\
{BUNDLE}\
  -f, --file FILE                write to this file
  --rootless                     for a user without privileges
""",
    ),
    "start": Verb(summary="let the program of a created container run", words="ID"),
    "state": Verb(summary="print the state of a container", words="ID"),
    "update": Verb(summary="change the limits of a container", words="ID", options=UPDATE),
    "validate": Verb(
        summary="say all that is wrong with a configuration",
        words="",
        least=0,
        most=0,
        options=f"""\
{CONFIG}\
  --format FORMAT                text (default) or json
""",
    ),
}

# Values of which an empty one is a mistake: an unset variable of a script, mostly.
NEVER_EMPTY = ("UID", "NUMBER", "US", "BYTES", "LIST")
TRUE, FALSE = ("true", "1", "t", "T", "TRUE", "True"), ("false", "0", "f", "F", "FALSE", "False")


def table(text: str) -> "dict[str, Option]":
    """Give the options that lines of help describe, by each of their names."""
    options = {}
    for line in text.splitlines():
        *names, last = line[2:].partition("  ")[0].split()
        value = ""
        if last[0] == "-":
            names.append(last)
        else:
            value = last
        option = Option(names[-1][2:], value)
        for name in names:
            options[name.strip("-,")] = option
    return options


def defaults(options: "dict[str, Option]") -> "dict[str, Value]":
    """Give what options mean that are not there."""
    return {option.key: option.default() for option in options.values()}


def parse(argv: "list[str]") -> Command:
    """Read the words behind the program's name.

    A verb of ``help`` or ``version`` stands for --help (words: the verb it is asked for, if any) and --version.

    Raises:
        UsageError: an unknown verb or option, a missing or malformed value, too few or too many words.
    """
    general: dict[str, Value] = {}
    return parse_verb(general, parse_globals(argv, general))


def parse_globals(argv: "list[str]", general: "dict[str, Value]") -> "list[str]":
    """Read the options in front of the verb into *general*, up to where it fails; gives the rest."""
    options = table(GLOBALS + HELP)
    general.update(defaults(options))
    return read_options(argv, options, general, "", stop=True)


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
        raise unknown_verb(name)
    known = table(verb.options + HELP)
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
    argv: "list[str]", options: "dict[str, Option]", values: "dict[str, Value]", verb: str, *, stop: bool
) -> "list[str]":
    """Take the options out of *argv* into *values*; with stop only those before the first word.  Gives the words."""
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
            _read_option(word, rest, options, values, verb)
    if stop and verb and words[1:2] == ["--"]:
        del words[1]  # what ends the options may also stand behind the id
    return words


def _read_option(
    word: str, rest: "Iterator[str]", known: "dict[str, Option]", values: "dict[str, Value]", verb: str
) -> None:
    """Read one option, and the next word when that is its value."""
    name, equals, text = word.lstrip("-").partition("=")
    option = known.get(name) if len(word) - len(word.lstrip("-")) <= 2 else None
    if option is None:
        raise unknown_option(word.partition("=")[0], known, verb)
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
    if not text and option.value.startswith(NEVER_EMPTY):
        raise UsageError(f"{word.partition('=')[0]} needs a value")
    if option.value == "N":
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise UsageError(f'{word.partition("=")[0]} needs a number, not "{printable(text)}"')
        values[option.key] = int(text)
        return
    collected = values[option.key]
    if isinstance(collected, list):
        collected.append(text)
    else:
        values[option.key] = text


def unknown_verb(name: str) -> UsageError:
    """Make the error about a verb that there is not."""
    return UsageError(f"unknown command {quote(name)}{did_you_mean(name, VERBS)}; see pyoci --help")


def unknown_option(word: str, known: "dict[str, Option]", verb: str) -> UsageError:
    """Make the error about an option that there is not."""
    near = did_you_mean(word, [f"--{name}" for name in known if len(name) > 1])
    return UsageError(f"{verb + ': ' if verb else ''}unknown option {printable(word)}{near}")


def usage(verb: str = "") -> str:
    """Give the help of a verb, or of pyoci.

    Raises:
        UsageError: there is no such verb.
    """
    if not verb:
        verbs = "".join(f"  {name:<10} {each.summary}\n" for name, each in VERBS.items())
        return (
            "usage: pyoci [OPTION...] COMMAND [OPTION...] [ID] [...]\n\nAn OCI container runtime.\n\n"
            f"commands:\n{verbs}\noptions:\n{GLOBALS}{HELP}\npyoci COMMAND --help explains a command.\n"
        )
    found = VERBS.get(verb)
    if found is None:
        raise unknown_verb(verb)
    head = f"usage: pyoci {verb} [OPTION...] {found.words}".rstrip()
    summary = f"{found.summary[0].upper()}{found.summary[1:]}."
    return f"{head}\n\n{summary}\n\noptions:\n{found.options}{HELP}"
