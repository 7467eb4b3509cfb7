"""pyoci validate: what create would refuse, and what it would ignore, each with its place."""

import ast
import inspect
import json
import sys
from pathlib import Path

import pytest

from pyoci import cli
from pyoci.commands import validate as verb
from pyoci.config import findings
from pyoci.tools import jsonschema_check, schema, validate

GOOD = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}}


def examined(document: object) -> list[tuple[str, str, str]]:
    """Return severity, pointer and message of the findings about a document."""
    found = validate.examine(json.dumps(document).encode(), "config.json")
    return [(finding.severity, finding.pointer, finding.message) for finding in found]


def run(*words: str) -> int:
    return verb.run(cli.parse(["validate", *words]))


def unknown(hint: str = "") -> str:
    return "is not in the specification, and ignored" + (f'; did you mean "{hint}"?' if hint else "")


OTHER = "is for another platform than Linux, and ignored"
NAMESPACES = [{"type": "mount"}, {"type": "pid", "paht": "/x"}]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"annotations": {"any": "thing"}, "linux": {"sysctl": {}}}, []),
        ({"hostnam": "x"}, [("warning", "/hostnam", unknown("hostname"))]),
        ({"entirelyElse": {"below": 1}}, [("warning", "/entirelyElse", unknown())]),
        ({"root": {"path": "r", "readOnly": True}}, [("warning", "/root/readOnly", unknown("readonly"))]),
        ({"a/b~": 1}, [("warning", "/a~1b~0", unknown())]),
        ({"linux": {"namespaces": NAMESPACES}}, [("warning", "/linux/namespaces/1/paht", unknown("path"))]),
        (
            {"linux": {"resources": {"rdma": {"mlx": {"hcaHandles": 1, "hcaObject": 1}}}}},
            [("warning", "/linux/resources/rdma/mlx/hcaObject", unknown("hcaObjects"))],
        ),
        ({"windows": {}, "vm": {}}, [("warning", "/windows", OTHER), ("warning", "/vm", OTHER)]),
        ({"linux": {"vm": {}}}, [("warning", "/linux/vm", unknown())]),
        (
            {"process": {"cwd": "tmp", "args": ["a"], "user": {"uid": 0, "gid": 0, "username": "a"}}},
            [
                ("error", "/process/cwd", '"tmp" is not an absolute path'),
                ("warning", "/process/user/username", OTHER),
            ],
        ),
        ({"hostname": 1}, [("error", "/hostname", "expected a string, not an integer")]),
        ({"hostname": None}, [("warning", "/hostname", "is null, and read as absent")]),
        (
            {"process": {"cwd": "/", "args": ["a"], "user": {"uid": 0}, "env": ["HOME="]}},
            [
                ("warning", "/process/user/gid", "is missing, and read as 0"),
                ("warning", "/process/env/0", "HOME is empty, and set from the container's /etc/passwd"),
            ],
        ),
        ({"root": {}}, [("error", "/root/path", '"path" is missing')]),
        ({"mounts": {"unknown": 1}}, [("error", "/mounts", "expected an array, not an object")]),
        ({"root": [{"unknown": 1}]}, [("error", "/root", "expected an object, not an array")]),
    ],
)
def test_findings(changes, found):
    assert examined(GOOD | changes) == found


def test_what_is_not_json_is_one_problem():
    (finding,) = validate.examine(b'{"a": 1,\n "a": 2}', "config.json")
    assert (finding.severity, finding.pointer, finding.line, finding.column) == ("error", "", 2, 2)


@pytest.mark.parametrize("document", [None, 1, "text", []])
def test_a_document_that_is_no_object(document):
    assert [severity for severity, *_ in examined(document)] == ["error"]


def test_rules_across_members_are_told():
    (found,) = examined(GOOD | {"hostname": "x"})
    assert found[:2] == ("error", "/hostname")
    assert "namespace" in found[2]


def write(place: Path, changes: dict[str, object]) -> Path:
    (place / "config.json").write_text(json.dumps(GOOD | changes, indent=1))
    return place


def test_a_line_for_each(tmp_path, capfd):
    bundle = write(tmp_path, {"hostnam": "x", "hostname": 1})
    assert run("--bundle", str(bundle)) == 1
    assert capfd.readouterr() == (
        f"{bundle}/config.json:6:13: warning: /hostnam: {unknown('hostname')}\n"
        f"{bundle}/config.json:7:14: /hostname: expected a string, not an integer\n",
        "",
    )


def test_as_json(tmp_path, capfd):
    file = write(tmp_path, {"hostnam": "x"}) / "config.json"
    assert run("--format", "json", "-f", str(file)) == 0, "a warning is no failure"
    (finding,) = json.loads(capfd.readouterr().out)
    assert finding == {
        "pointer": "/hostnam",
        "message": unknown("hostname"),
        "line": 6,
        "column": 13,
        "severity": "warning",
    }


def test_nothing_to_say(tmp_path, capfd):
    bundle = write(tmp_path, {})
    assert run("-b", str(bundle)) == 0
    assert run("-b", str(bundle), "--format=json") == 0
    assert capfd.readouterr().out == "[]\n"


def test_what_jsonschema_finds_too_is_listed_once(monkeypatch):
    """What both find is told by pyoci; a difference between them is made up here, because there is none."""
    pytest.importorskip("jsonschema")
    rules = schema.load()
    rules["properties"]["hostname"] = rules["properties"]["domainname"] = {"const": "only this"}
    monkeypatch.setattr(schema, "load", lambda: rules)
    found = examined(GOOD | {"hostname": "other", "domainname": 7})
    assert ("error", "/domainname", "expected a string, not an integer") in found
    assert ("error", "/hostname", "does not match the schema: 'only this' was expected") in found
    assert len([each for each in found if each[1] == "/domainname"]) == 1


def test_without_jsonschema(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert list(jsonschema_check.violations(7, schema.load())) == []


@pytest.mark.parametrize("value", [GOOD | {"linux": {"timeOffsets": {"realtime": {}}}}, GOOD | {"root": {}}, []])
def test_both_name_the_same_place(value):
    pytest.importorskip("jsonschema")
    pointers = {pointer for pointer, _ in jsonschema_check.violations(value, schema.load())}
    assert pointers == {pointer for _, pointer, _ in examined(value)} != set()


def test_the_schema_is_one_document():
    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    rules = schema.load()
    assert references(rules) <= {f"#/$defs/{name}" for name in rules["$defs"]}


def test_only_directories_that_nobody_else_can_change_are_searched(tmp_path):
    assert jsonschema_check.is_trusted(str(tmp_path))
    tmp_path.chmod(0o775)
    assert not jsonschema_check.is_trusted(str(tmp_path))
    assert not jsonschema_check.is_trusted(str(tmp_path / "nothing"))


def test_only_the_first_unknown_members_are_compared(monkeypatch):
    compared = []
    monkeypatch.setattr(schema, "did_you_mean", lambda name, known: compared.append(name) if known else "")
    found = list(schema.unknown_members({f"unknown{number}": 1 for number in range(1000)}, schema.load()))
    assert len(found) == 1000 and len(compared) == 20


@pytest.mark.parametrize(
    "document",
    [GOOD, {}, [], {"hostname": 7, "root": {"path": 1}}, GOOD | {"process": {"cwd": "x", "args": [], "user": {"uid": 0}}}],
)
def test_the_file_alone_says_what_create_refuses_and_reads_leniently(document):
    """Not less than the whole says, but for what the schema knows."""
    text = json.dumps(document).encode()
    whole = [each for each in validate.examine(text, "c") if "schema" not in each.message and "specification" not in each.message]
    assert verb.examine(text, "c") == whole


def test_the_file_alone_makes_no_set_or_dict_of_names():
    """Whoever writes a document chooses its names, see pyoci.members.Members."""
    for module in (findings, verb):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            assert not isinstance(node, (ast.Set, ast.SetComp)), node.lineno
            if isinstance(node, ast.DictComp):
                assert "for name in names" in ast.unparse(node), node.lineno
