"""The command line: every spelling the callers use gives the same Command, anything else one UsageError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci import __main__, cli
from pyoci.errors import UsageError
from pyoci.options import parse_signal, parse_size, parse_user


@pytest.mark.parametrize(
    "argv",
    [
        ["create", "--bundle", "/b", "ID"],
        ["create", "--bundle=/b", "ID"],
        ["create", "-bundle", "/b", "ID"],
        ["create", "-b", "/b", "ID"],
        ["create", "ID", "--bundle", "/b"],
    ],
)
def test_spellings_of_a_value(argv):
    command = cli.parse(argv)
    assert (command.verb, command.options["bundle"], command.words) == ("create", "/b", ["ID"])


@pytest.mark.parametrize(("spelling", "expected"), [("--force", True), ("--force=true", True), ("--force=false", False), ("-f", True)])
def test_spellings_of_a_boolean(spelling, expected):
    assert cli.parse(["delete", spelling, "ID"]).options["force"] is expected


def test_options_behind_the_first_word_belong_to_the_command():
    command = cli.parse(["exec", "--tty", "ID", "sh", "--cwd", "x", "-c", "y"])
    assert command.words == ["ID", "sh", "--cwd", "x", "-c", "y"]
    assert command.options["cwd"] == ""
    assert cli.parse(["ps", "ID", "-ef"]).words == ["ID", "-ef"]


def test_values_may_begin_with_a_dash():
    assert cli.parse(["update", "--memory-swap", "-1", "ID"]).options["memory-swap"] == "-1"
    assert cli.parse(["update", "--resources", "-", "ID"]).options["resources"] == "-"


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        (["ID", "--", "sh", "-c"], ["ID", "sh", "-c"]),
        (["--tty", "ID", "--", "--", "x"], ["ID", "--", "x"]),
        (["ID", "sh", "--", "x"], ["ID", "sh", "--", "x"]),
        (["--", "ID", "sh"], ["ID", "sh"]),
        (["--", "ID", "--", "sh"], ["ID", "sh"]),
    ],
)
def test_two_dashes_may_stand_before_the_id_and_behind_it(words, rest):
    assert cli.parse(["exec", *words]).words == rest


def test_limits_that_are_not_given_are_not_zero():
    options = cli.parse(["update", "--memory", "64m", "ID"]).options
    assert {name: text for name, text in options.items() if text} == {"memory": "64m"}
    assert cli.parse(["update", "--pids-limit", "-1", "--cpu-idle", "0", "ID"]).options["pids-limit"] == "-1"


def test_globals_are_read_up_to_the_wrong_one():
    general = {}
    with pytest.raises(UsageError):
        cli.parse_globals(["--log", "/l", "--nonsense", "--root", "/r", "list"], general)
    assert (general["log"], general["root"]) == ("/l", "")


EVERY_OPTION = [("", option) for option in cli.GLOBALS] + [
    (name, option) for name, verb in cli.VERBS.items() for option in verb.options
]
WORDS = {cli.Kind.COUNT: st.integers(0, 999_999_999).map(str), cli.Kind.NONEMPTY: st.text(min_size=1)}


@pytest.mark.parametrize(("verb", "option"), EVERY_OPTION, ids=lambda each: getattr(each, "name", each))
def test_every_option_has_one_line_of_help(verb, option):
    line = option.usage()
    assert line.startswith(f"  {', '.join(option.spellings())}") and line.endswith(f" {option.help}\n")
    assert option.help and len(line) <= 120 and cli.usage(verb).count(line) == 1
    assert (option.metavar == "") == (option.kind is cli.Kind.FLAG)


@pytest.mark.parametrize("verb", ["", *cli.VERBS])
def test_no_two_options_have_the_same_name(verb):
    options = (*(cli.VERBS[verb].options if verb else cli.GLOBALS), cli.HELP)
    names = [name for option in options for name in (option.short, option.name) if name]
    assert len(set(names)) == len(names)


def parsed(verb, words):
    """The options of a command line with these words before the verb ("") or behind it."""
    if not verb:
        general = {}
        assert cli.parse_globals([*words, "list"], general) == ["list"]
        return general
    command = cli.parse([verb, *words, *["ID"] * cli.VERBS[verb].min_words])
    assert command.verb == verb
    return command.options


@given(st.data())
def test_every_option_of_every_verb_parses_in_all_its_spellings(data):
    verb, option = data.draw(st.sampled_from(EVERY_OPTION))
    if (verb, option.name) == ("", "version"):
        return
    name = data.draw(st.sampled_from([f"{dashes}{name}" for name in (option.short, option.name) if name for dashes in ("-", "--")]))
    if option.kind is cli.Kind.FLAG:
        text, expected = data.draw(st.sampled_from([("", True), *((f"={word}", True) for word in cli.TRUE), *((f"={word}", False) for word in cli.FALSE)]))
        words = [f"{name}{text}"]
    else:
        text = data.draw(WORDS.get(option.kind, st.text()))
        words = data.draw(st.sampled_from([[f"{name}={text}"], [name, text]]))
        expected = [text] if option.kind is cli.Kind.LIST else int(text) if option.kind is cli.Kind.COUNT else text
    before = parsed(verb, [])
    assert parsed(verb, words) == before | {option.name: expected}
    assert type(before[option.name]) is type(expected)


@pytest.mark.parametrize(("verb", "option"), EVERY_OPTION, ids=lambda each: getattr(each, "name", each))
def test_what_no_option_can_be(verb, option):
    wrong = {cli.Kind.FLAG: ["=", "=maybe"], cli.Kind.COUNT: ["=", "=x", "=-1", "=1000000000"], cli.Kind.NONEMPTY: ["="]}
    for text in wrong.get(option.kind, []):
        with pytest.raises(UsageError, match=f"--{option.name}"):
            parsed(verb, [f"--{option.name}{text}"])
    if option.kind is not cli.Kind.FLAG:
        with pytest.raises(UsageError, match="flag needs an argument"):
            cli.parse([verb, f"--{option.name}"] if verb else [f"--{option.name}"])


def test_an_option_that_can_be_repeated_collects_its_values():
    assert cli.parse(["exec", "-e", "A=1", "--env=B=2", "ID"]).options["env"] == ["A=1", "B=2"]
    assert cli.parse(["exec", "ID"]).options["env"] == []


def test_every_verb_can_be_run():
    assert set(__main__.RUN) == {*cli.VERBS, "help", "version"}


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_has_help(verb):
    command = cli.parse([verb, "--help"])
    assert (command.verb, command.words) == ("help", [verb])
    assert cli.usage(verb).startswith(f"usage: pyoci {verb} ")


@pytest.mark.parametrize(
    "argv",
    [
        ["create"],
        ["create", "a", "b"],
        ["create", "--bund", "/b", "a"],
        ["create", "---bundle", "/b", "a"],
        ["create", "a", "--bundle"],
        ["delete", "--force=maybe", "a"],
        ["create", "--preserve-fds", "two", "a"],
        ["exec", "--user", "", "a", "true"],
        ["checkpoint", "--help"],
        ["nonsense"],
        ["--nonsense"],
    ],
)
def test_what_is_refused(argv):
    with pytest.raises(UsageError):
        cli.parse(argv)


@given(st.lists(st.text(min_size=0, max_size=12), max_size=6))
def test_no_command_line_fails_in_another_way(argv):
    try:
        command = cli.parse(argv)
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert command.verb in (*cli.VERBS, "help", "version")


@pytest.mark.parametrize(("text", "number"), [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", 37), ("0", 0), ("rtmax-1", 63)])
def test_signals(text, number):
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "65", "-9", "SIGNOPE", "RTMIN+99", "9x", "RTMAX+1"])
def test_signals_that_are_none(text):
    with pytest.raises(UsageError):
        parse_signal(text)


@pytest.mark.parametrize(("text", "ids"), [("1", (1, None)), ("01", (1, None)), ("1:2", (1, 2)), ("4294967294", (4294967294, None))])
def test_users(text, ids):
    assert parse_user(text) == ids


@pytest.mark.parametrize("text", ["", "1:", ":1", "+1", "-1", " 1", "0x1", "4294967295", "4294967296", "9" * 40, "root"])
def test_users_that_are_none(text):
    """CVE-2026-30892: what is no number is never uid 0."""
    with pytest.raises(UsageError):
        parse_user(text)


SIZES = {
    **{"-1": -1, "0": 0, "12": 12, "12b": 12, "64m": 64 << 20, "1G": 1 << 30, "2kb": 2048, "1t": 1 << 40, "1p": 1 << 50},
    **{"64MiB": 64 << 20, "64mib": 64 << 20, "2 GB": 2 << 30, "1.5g": 3 << 29, "0.5k": 512, "1.25KiB": 1280, "1.1k": 1126},
}


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_sizes(text, size):
    assert parse_size(text, "memory") == size


@pytest.mark.parametrize(
    "text", ["", "m", "ib", "64i", "64ib", "1.g", ".5g", "1.5.2g", "1,5g", "-2", "-1m", "1x", "1e3", "٣", " 1", "9" * 30, "9p" * 2, "8192p"]
)
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError):
        parse_size(text, "memory")
