"""features tells every annotation that changes what pyoci does: each is named in one module, and nowhere else."""

import ast
import re

from pyoci.config import annotations
from tests.source.tree import MODULES, parse

HOME = "pyoci.config.annotations"
# How a key of an annotation looks: a reversed domain of three parts or more.
KEY = re.compile(r"(?:run\.oci|org|com)(?:\.[A-Za-z0-9_-]+){2,}")
WRITTEN = {"pyoci.commands.features"}  # those of its own document


def test_every_annotation_that_is_read_is_told() -> None:
    constants = {value for name, value in vars(annotations).items() if name.isupper() and isinstance(value, str)}
    assert set(annotations.HONOURED) == constants
    found = {
        (module, node.value)
        for module, path in MODULES.items()
        if module not in {HOME, *WRITTEN}
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and KEY.fullmatch(node.value)
    }
    assert not found


def test_annotations_are_looked_up_by_those_names() -> None:
    """A lookup in the annotations of a configuration has a name of that module as its key."""
    for module, path in MODULES.items():
        for node in ast.walk(parse(path)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "get"
                and isinstance(node.func.value, ast.Attribute)
                and node.func.value.attr == "annotations"
            ):
                key = node.args[0]
                assert isinstance(key, ast.Name) and key.id in vars(annotations), f"{module}:{node.lineno}"
