"""Parsing of single values: messages, pointers, and all findings at once."""

from typing import Any

import pytest

from pyoci.config import model, parse, resources, tables
from pyoci.config.readers import did_you_mean, quote
from pyoci.errors import ConfigError
from tests.helpers_json import members


class Json:
    """A document like those of pyoci.codec; *places* has the place of every pointer."""

    name = "config.json"

    def __init__(self, value: Any, places: dict[str, tuple[int, int]] | None = None) -> None:
        self.value = members(value)
        self.known = places or {}

    def places(self, pointers: list[str]) -> list[tuple[int, int]]:
        return [self.known.get(pointer, (1, 1)) for pointer in pointers]


def minimal(**members: Any) -> dict[str, Any]:
    return {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, **members}


def problems(document: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse.parse_config(Json(document))
    return {problem.pointer: problem.message for problem in caught.value.problems}


def test_a_minimal_document_has_the_defaults_of_the_specification() -> None:
    config = parse.parse_config(Json(minimal()))
    assert config == model.Config(ociVersion="1.3.0", root=model.Root(path="rootfs"))
    assert config.process is None
    assert config.mounts == () and config.linux.namespaces == ()
    assert config.root.readonly is False
    assert config.linux.seccomp is None and config.hooks.poststop == ()


def test_absent_and_empty_seccomp_flags_differ() -> None:
    def flags(**more: Any) -> Any:
        config = parse.parse_config(
            Json(minimal(linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", **more}}))
        )
        assert config.linux.seccomp is not None
        return config.linux.seccomp.flags

    assert flags() is None
    assert flags(flags=[]) == ()


def test_all_problems_are_reported_in_the_order_of_the_document() -> None:
    document = minimal(
        process={"args": [], "cwd": "work", "env": ["A=b", "=c"], "user": {"uid": 2**32 - 1}},
        linux={"namespaces": [{"type": "pid"}, {"type": "netwrk"}]},
    )
    places = {"/process/args": (9, 1), "/process/cwd": (4, 20), "/linux/namespaces/1/type": (4, 3)}
    with pytest.raises(ConfigError) as caught:
        parse.parse_config(Json(document, places))
    found = [(p.line, p.column, str(p)) for p in caught.value.problems]
    assert found == [
        (1, 1, '/process/env/1: "=c" is not of the form NAME=value'),
        (1, 1, "/process/user/uid: 4294967295 is out of range: 0 to 4294967294"),
        (4, 3, '/linux/namespaces/1/type: unknown namespace type "netwrk"; did you mean "network"?'),
        (4, 20, '/process/cwd: "work" is not an absolute path'),
        (9, 1, "/process/args: needs at least one entry"),
    ]
    assert str(caught.value).startswith('config.json:1:1: /process/env/1: "=c" is not')
    assert str(caught.value).endswith("(and 4 more problems)")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "expected an object, not a boolean"),
        (3, "expected an object, not an integer"),
        (1.5, "expected an object, not the number 1.5"),
        ("x", "expected an object, not a string"),
        ([], "expected an object, not an array"),
    ],
)
def test_a_wrong_type_is_named_in_the_words_of_json(value: Any, message: str) -> None:
    assert problems(minimal(root=value)) == {"/root": message}
    assert problems(value) == {"": message}


@pytest.mark.parametrize("value", [True, 1.0, "1", [1]])
def test_only_an_integer_is_an_integer(value: Any) -> None:
    limit = minimal(linux={"resources": {"pids": {"limit": value}}})
    assert problems(limit)["/linux/resources/pids/limit"].startswith("expected an integer, not ")


def test_zero_and_unlimited_pids_are_limits() -> None:
    for number in (0, -1):
        config = parse.parse_config(Json(minimal(linux={"resources": {"pids": {"limit": number}}})))
        assert config.linux.resources == resources.Resources(pids=resources.Pids(limit=number))


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.0.0-rc5+b.1", "1.3.0+dev", "1.99.0"])
def test_versions_of_major_1_are_read(version: str) -> None:
    assert parse.parse_config(Json({**minimal(), "ociVersion": version})).ociVersion == version


@pytest.mark.parametrize(
    "version", ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.0-", "1.0.0+", "01.0.0", "1.0.0-01"]
)
def test_what_is_not_a_version(version: str) -> None:
    assert "is not a version (SemVer 2.0.0)" in problems({**minimal(), "ociVersion": version})["/ociVersion"]


@pytest.mark.parametrize("version", ["0.2.0", "2.0.0", "10.0.0"])
def test_versions_of_another_major_are_refused(version: str) -> None:
    assert "only 1.x.y is" in problems({**minimal(), "ociVersion": version})["/ociVersion"]


def test_a_nul_in_a_string_is_refused() -> None:
    assert problems(minimal(hostname="a\0b")) == {"/hostname": "the string holds a NUL character"}
    assert problems(minimal(root={"path": "a\0b"})) == {"/root/path": "the string holds a NUL character"}


def test_unknown_members_and_other_platforms_are_ignored() -> None:
    extra = minimal(windows={"layerFolders": 3}, zos=None, unheardOf=[1], root={"path": "r", "more": {}})
    assert parse.parse_config(Json(extra)).root == model.Root(path="r")


def test_pointers_escape_names() -> None:
    assert problems(minimal(annotations={"a/b~c": 1})) == {
        "/annotations/a~1b~0c": "expected a string, not an integer"
    }
    assert problems(minimal(annotations={"": "x"})) == {"/annotations/": '"" must not be empty'}


def test_the_member_class_of_io_priority() -> None:
    process = {"args": ["a"], "cwd": "/", "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7}}
    read = parse.parse_process(Json(process))
    assert read.ioPriority == model.IOPriority(class_="IOPRIO_CLASS_BE", priority=7)
    assert problems(
        minimal(process={**process, "ioPriority": {"class_": "IOPRIO_CLASS_BE", "class": "x"}})
    ) == {
        "/process/ioPriority/class": 'unknown I/O priority class "x"',
    }


def test_a_file_mode_loses_the_type_of_the_file() -> None:
    device = {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20666}
    linux = {"devices": [device], "namespaces": [{"type": "mount"}]}
    assert parse.parse_config(Json(minimal(linux=linux))).linux.devices[0].fileMode == 0o666


def test_unknown_capabilities_are_kept_as_written() -> None:
    process = {"args": ["a"], "cwd": "/", "capabilities": {"bounding": ["CAP_KILL", "CAP_FLY"]}}
    read = parse.parse_process(Json(process))
    assert read.capabilities == model.Capabilities(bounding=("CAP_KILL", "CAP_FLY"))


def test_no_personality_flag_exists() -> None:
    assert problems(minimal(linux={"personality": {"domain": "LINUX", "flags": ["X"]}})) == {
        "/linux/personality/flags": "no flag is supported"
    }


def test_a_process_alone_and_resources_alone_have_pointers_from_their_root() -> None:
    with pytest.raises(ConfigError) as caught:
        parse.parse_process(
            Json({"args": ["a"], "cwd": "/", "rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]})
        )
    assert [problem.pointer for problem in caught.value.problems] == ["/rlimits/0/soft"]
    with pytest.raises(ConfigError) as caught:
        parse.parse_resources(Json({"cpu": {"quota": 10, "burst": 11}}))
    assert [problem.pointer for problem in caught.value.problems] == ["/cpu/burst"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("rslvae", '; did you mean "rslave"?'),
        ("RSLAVE", '; did you mean "rslave"?'),
        ("slav", '; did you mean "slave"?'),
        ("xyzzy", ""),
        ("", ""),
        ("s" * 10_000, ""),
    ],
)
def test_the_nearest_word_is_offered(word: str, hint: str) -> None:
    assert did_you_mean(word, ("slave", "rslave", "private")) == hint


@pytest.mark.parametrize(
    ("word", "words", "nearest"),
    [
        ("nofile", tables.RLIMITS, "RLIMIT_NOFILE"),
        ("net", tables.NAMESPACES, "network"),
        ("mnt", tables.NAMESPACES, "mount"),
        ("SYS_ADMIN", tables.CAPABILITIES, "CAP_SYS_ADMIN"),
        ("sys_admin", tables.CAPABILITIES, "CAP_SYS_ADMIN"),
        ("cap_chown", tables.CAPABILITIES, "CAP_CHOWN"),
        ("allow", tables.SECCOMP_ACTIONS, "SCMP_ACT_ALLOW"),
        ("X86_64", tables.SECCOMP_ARCHITECTURES, "SCMP_ARCH_X86_64"),
        ("fifo", tables.SCHEDULER_POLICIES, "SCHED_FIFO"),
    ],
)
def test_short_forms_are_known(word: str, words: Any, nearest: str) -> None:
    assert did_you_mean(word, words) == f'; did you mean "{nearest}"?'


def test_quoted_text_stays_on_one_line_and_is_not_endless() -> None:
    assert quote("a\nb\x1b") == '"a\\nb\\x1b"'
    assert len(quote("x" * 1000)) == 82
