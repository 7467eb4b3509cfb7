"""exec: the process that options make of the container's own, and where a message says that a setting comes from."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyoci import codec, log
from pyoci.config.model import Capabilities, Config, Process, User
from pyoci.config.parse import parse_config
from pyoci.config.source import Source
from pyoci.errors import ConfigError, Error, KernelError, UsageError
from pyoci.lifecycle.exec import Exec, cgroup_options, pin, source_of
from pyoci.options import ExecOptions

MOUNT = {"namespaces": [{"type": "mount"}]}
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
OWN: dict[str, Any] = {
    "args": ["own"],
    "cwd": "/own",
    "env": ["OWN=1"],
    "terminal": True,
    "user": {"uid": 5, "gid": 6, "umask": 7, "additionalGids": [8]},
    "capabilities": {name: ["CAP_KILL"] for name in SETS},
    "apparmorProfile": "own profile",
    "selinuxLabel": "own label",
}


def execution(options: ExecOptions, process: dict[str, Any] | None = OWN) -> Exec:
    """Return an exec in a container that is nothing but its configuration."""
    document = {"ociVersion": "1.2.0", "root": {"path": "r"}, "linux": MOUNT} | ({"process": process} if process else {})
    config: Config = parse_config(codec.loads(json.dumps(document).encode(), "config.json"))
    directory: Any = SimpleNamespace(
        fd=0, config=lambda _document: config, source=lambda document: Source(document, bytes)
    )
    state: Any = SimpleNamespace(document="config.json")
    return Exec(directory, state, options)


def process_of(own: dict[str, Any] | None = OWN, **options: Any) -> Process:
    """Return what is executed."""
    options.setdefault("argv", ["program", "word"])
    found = execution(ExecOptions(**options), own)._config().process
    assert found is not None
    return found


def test_without_options_all_but_the_command_and_the_terminal_is_the_containers() -> None:
    own = execution(ExecOptions()).directory.config("config.json").process
    assert own is not None
    found = process_of()
    assert found.args == ("program", "word")
    assert found.terminal is False
    for name in ("cwd", "env", "user", "capabilities", "noNewPrivileges", "apparmorProfile", "selinuxLabel"):
        assert getattr(found, name) == getattr(own, name), name


def test_each_option() -> None:
    assert process_of(cwd="/else").cwd == "/else"
    assert process_of(env=["A=", "B=2"]).env == ("OWN=1", "A=", "B=2")
    assert process_of(apparmor="other").apparmorProfile == "other"
    assert process_of(process_label="other").selinuxLabel == "other"
    assert process_of(tty=True).terminal is True


@pytest.mark.parametrize(("own", "option", "result"), [(False, False, False), (False, True, True), (True, False, True)])
def test_new_privileges_are_never_given_back(own: bool, option: bool, result: bool) -> None:
    assert process_of(OWN | {"noNewPrivileges": own}, no_new_privs=option).noNewPrivileges is result


@pytest.mark.parametrize(
    ("options", "user"),
    [
        ({}, User(uid=5, gid=6, umask=7, additionalGids=(8,))),
        ({"user": "0"}, User(uid=0, gid=6, umask=7, additionalGids=())),
        ({"user": "1:0"}, User(uid=1, gid=0, umask=7, additionalGids=())),
        ({"user": "1:2", "additional_gids": [3]}, User(uid=1, gid=2, umask=7, additionalGids=(3,))),
        ({"additional_gids": [3]}, User(uid=5, gid=6, umask=7, additionalGids=(3,))),
    ],
)
def test_user(options: dict[str, Any], user: User) -> None:
    """Another user gets none of the groups of the container's."""
    assert process_of(**options).user == user


def sets_of(found: Capabilities | None) -> dict[str, tuple[str, ...]]:
    assert found is not None
    return {name: tuple(getattr(found, name)) for name in SETS}


def test_added_capabilities_are_never_inheritable() -> None:
    """CVE-2022-29162.  Ambient become those that the process has inheritable."""
    found = sets_of(process_of(capabilities=["CAP_CHOWN", "CAP_KILL"]).capabilities)
    added = ("CAP_KILL", "CAP_CHOWN", "CAP_KILL")
    kept = ("CAP_KILL",)
    assert found == {
        "bounding": added, "effective": added, "permitted": added, "inheritable": kept, "ambient": (*kept, "CAP_KILL"),
    }  # fmt: skip


def test_capabilities_of_a_process_without_any() -> None:
    process = {name: value for name, value in OWN.items() if name != "capabilities"}
    found = sets_of(process_of(process, capabilities=["CAP_CHOWN"]).capabilities)
    assert found == {name: ("CAP_CHOWN",) if name in SETS[:3] else () for name in SETS}
    assert process_of(process).capabilities is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"argv": []}, "exec needs a command, or --process"),
        ({"argv": [""]}, "exec needs a command, or --process"),
        ({"cwd": "tmp"}, "--cwd needs an absolute path, not 'tmp'"),
        ({"env": ["A=b", "NAME"]}, "--env needs NAME=value, not 'NAME'"),
        ({"env": ["=x"]}, "--env needs NAME=value, not '=x'"),
        ({"capabilities": ["CAP_KILL", "CAP_SYS_AMIN"]}, "--cap: unknown capability 'CAP_SYS_AMIN'; did you mean"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        process_of(**options)
    assert str(caught.value).startswith(words)


def test_nothing_to_take_the_defaults_from() -> None:
    with pytest.raises(UsageError, match="no process to take the defaults from; use --process"):
        process_of(None)


def test_a_file_takes_the_place_of_the_options(tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    file.write_text('{"args": ["a"], "cwd": "/", "user": {"uid": 1, "gid": 1}}')
    found = process_of(None, process=str(file), cwd="/ignored")
    assert (found.args, found.cwd, found.terminal) == (("a",), "/", False)
    assert process_of(None, process=str(file), tty=True).terminal is True
    file.write_text('{"args": [], "cwd": "/"}')
    each = execution(ExecOptions(process=str(file)), None)
    with pytest.raises(ConfigError) as caught, each.source:
        each._config()
    assert str(caught.value).startswith(f"{file}:1:10: /args: ")


def test_an_unknown_capability_of_a_file_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = []
    monkeypatch.setattr(log.log, "record", lambda level, message: recorded.append((level, message)))
    file = tmp_path / "process.json"
    file.write_text('{"args": ["a"], "cwd": "/", "capabilities": {"bounding": ["CAP_FLY"]}}')
    process_of(None, process=str(file))
    ((level, message),) = recorded
    assert level == "warning"
    assert message == f"ignoring the unknown capability CAP_FLY [{file}:1:58: /capabilities/bounding]"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = str(tmp_path / "missing")
    with pytest.raises(KernelError) as caught:
        process_of(process=file)
    assert str(caught.value) == f"reading {file}: No such file or directory (ENOENT) [--process]"


OPTIONS = {
    "/process/terminal": ({"tty": True}, "--tty"),
    "/process/args": ({"argv": ["program"]}, "exec program"),
    "/process/cwd": ({"cwd": "/x"}, "--cwd"),
    "/process/user/additionalGids": ({"additional_gids": [1]}, "--additional-gids"),
    "/process/user": ({"user": "1"}, "--user"),
    "/process/capabilities": ({"capabilities": ["CAP_KILL"]}, "--cap"),
    "/process/noNewPrivileges": ({"no_new_privs": True}, "--no-new-privs"),
    "/process/apparmorProfile": ({"apparmor": "x"}, "--apparmor"),
    "/process/selinuxLabel": ({"process_label": "x"}, "--process-label"),
}


def source(pointer: str, **options: Any) -> str:
    """Return what a message names as the source of a setting."""
    found = source_of(ExecOptions(**options), Source("config.json", bytes), lambda: b'{"cwd": "/"}')
    return found.find([pointer])[0].source


@pytest.mark.parametrize("pointer", OPTIONS)
def test_where_a_setting_comes_from(pointer: str) -> None:
    options, name = OPTIONS[pointer]
    assert source(pointer, **options) == name
    assert source(f"{pointer}/0", **options) == name
    assert source(pointer) == "config.json"
    assert source("/process/env", **options) == "config.json"


def test_groups_come_from_their_own_option_and_not_from_that_of_the_user() -> None:
    assert source("/process/user/additionalGids/0", user="1", additional_gids=[1]) == "--additional-gids"
    assert source("/process/user/uid", user="1", additional_gids=[1]) == "--user"


def test_of_a_file_come_all_settings_but_the_terminal() -> None:
    for pointer in ("/process/cwd", "/process/args", "/process/user"):
        assert source(pointer, process="file", cwd="/x", argv=["x"], user="1") == "file"
    assert source("/process/terminal", process="file") == "file"
    assert source("/hostname", process="file") == "config.json"
    assert source("/process/terminal", process="file", tty=True) == "--tty"
    assert source("/process/cwd", process="file", tty=True, cwd="/x") == "file"
    spot = source_of(ExecOptions(process="file"), Source("c", bytes), lambda: b'{"cwd": "/"}').find(["/process/cwd"])[0]
    assert (spot.pointer, spot.line, spot.column) == ("/cwd", 1, 9)


def test_cgroups_that_are_named() -> None:
    assert cgroup_options([]) == []
    assert cgroup_options(["a/b"]) == [([], "a/b")]
    assert cgroup_options(["memory,pids:a", "cpu:b:c"]) == [(["memory", "pids"], "a"), (["cpu"], "b:c")]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["memory:a", "b"], "--cgroup 'b' names no controller, and is not the only one"),
        (["memory:a", "pids,memory:b"], "--cgroup: the controller 'memory' is given twice"),
        (["pids,pids:a"], "--cgroup: the controller 'pids' is given twice"),
    ],
)
def test_cgroups_that_contradict_each_other(given: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        cgroup_options(given)
    assert str(caught.value) == words


def test_pinning_to_cpus() -> None:
    before = os.sched_getaffinity(0)
    pin(0, "", "initial")
    assert os.sched_getaffinity(0) == before
    try:
        pin(0, f"{min(before)}, 8190-8191", "initial")
        assert os.sched_getaffinity(0) == {min(before)}
        with pytest.raises(Error) as caught:
            pin(0, "8190", "final")
    finally:
        os.sched_setaffinity(0, before)
    assert str(caught.value).startswith("keeping the process to the CPUs 8190: Invalid argument (EINVAL)")
    assert "/process/execCPUAffinity/final" in str(caught.value)
