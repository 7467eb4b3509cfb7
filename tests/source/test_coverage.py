"""spec/coverage.md: every requirement of the specification has its row, and what the rows name exists."""

import ast
import re

from tests.source.tree import TREE, parse

ROW = re.compile(r"\| (\d+) \| \w+ \| .* \|([^|]*)\|([^|]*)\|")
TEST = re.compile(r"([\w/]+\.py)(?:::(\w+))?")
REQUIREMENTS = 166
ROWS = [row.groups() for row in map(ROW.fullmatch, (TREE / "spec" / "coverage.md").read_text().splitlines()) if row]


def functions(file: str) -> set[str]:
    """Return the names of the tests in a file below tests/."""
    path = TREE / "tests" / file
    nodes = parse(path).body if path.is_file() else []
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_requirement_has_one_row() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, REQUIREMENTS + 1))


def test_every_test_that_is_named_exists() -> None:
    assert not [
        f"{number}: {file}::{name}"
        for number, _, tests in ROWS
        for file, name in TEST.findall(tests)
        if name not in functions(file)
    ]


def test_every_module_that_is_named_exists() -> None:
    assert not [
        f"{number}: {module}"
        for number, modules, _ in ROWS
        for module in modules.replace(",", " ").split()
        if not (TREE / "pyoci" / module).is_file() and not (TREE / module).is_file()
    ]


def test_what_is_not_open_is_held() -> None:
    assert not [
        number
        for number, modules, tests in ROWS
        if not tests.strip().startswith("open: ") and not (modules.strip() and TEST.match(tests.strip()))
    ]
