"""Omitted members and nulls are read as callers mean them, and validate warns of them."""

from typing import Any

import pytest
from test_config_parse import Json, minimal

from pyoci.config import parse
from pyoci.config.lenient import leniences
from pyoci.config.model import User
from pyoci.errors import ConfigError
from tests.helpers_json import members

PROCESS = {"args": ["a"], "cwd": "/"}
ABSENT = [
    ("process",),
    ("hostname",),
    ("mounts",),
    ("hooks",),
    ("hooks", "prestart"),
    ("linux",),
    ("linux", "resources"),
    ("linux", "resources", "unified"),
    ("linux", "resources", "memory", "limit"),
    ("linux", "seccomp"),
    ("linux", "sysctl", "net.core.somaxconn"),
    ("annotations", "a"),
]


def with_null(path: tuple[str, ...]) -> dict[str, Any]:
    value: Any = None
    for name in reversed(path):
        value = {name: value}
    return minimal(**value)


@pytest.mark.parametrize("path", ABSENT, ids="/".join)
def test_a_member_that_is_null_is_absent(path: tuple[str, ...]) -> None:
    read: Any = parse.parse_config(Json(with_null(path)))
    without: Any = {}
    for name in reversed(path[:-1]):
        without = {name: without}
    assert read == parse.parse_config(Json(minimal(**without)))
    assert list(leniences(members(with_null(path)))) == [("/" + "/".join(path), "is null, and read as absent")]


def test_a_required_member_that_is_null_is_missing() -> None:
    with pytest.raises(ConfigError, match=r'/ociVersion: "ociVersion" is missing'):
        parse.parse_config(Json(minimal(ociVersion=None)))


def test_null_is_no_entry_of_a_list() -> None:
    with pytest.raises(ConfigError, match=r"/mounts/0: expected an object, not null"):
        parse.parse_config(Json(minimal(mounts=[None])))


def test_the_other_documents_too() -> None:
    assert parse.parse_process(Json({**PROCESS, "capabilities": None, "user": {"uid": 7}})).user == User(uid=7, gid=0)
    assert parse.parse_resources(Json({"pids": None, "rdma": None})).pids is None


def test_a_user_needs_no_gid() -> None:
    document = minimal(process={**PROCESS, "user": {"uid": 7}})
    process = parse.parse_config(Json(document)).process
    assert process and process.user == User(uid=7, gid=0)
    assert list(leniences(members(document))) == [("/process/user/gid", "is missing, and read as 0")]


def test_an_empty_home_is_told() -> None:
    document = minimal(process={**PROCESS, "env": ["A=b", "HOME="]})
    assert [pointer for pointer, _ in leniences(members(document))] == ["/process/env/1"]
