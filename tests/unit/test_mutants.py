"""The tool that changes one thing at a time, and its lists."""

import ast

from tests.mutants import __main__ as tool
from tests.mutants.mutate import mutants

TEXT = '''"""Say nothing."""

def allowed(number: int, *, quiet: bool = False) -> bool:
    if number < 3 and not quiet:
        log("a word", level=1)
    return number == 0
'''
CHANGES = [
    (3, "False -> True"),
    (4, "number < 3 and (not quiet) -> negated"),
    (4, "number < 3 and (not quiet) -> without not quiet"),
    (4, "number < 3 and (not quiet) -> without number < 3"),
    (4, "number < 3 -> (number <= 3)"),
    (4, "3 -> 4"),
    (4, "3 -> 0"),
    (4, "not quiet -> (quiet)"),
    (5, 'log("a word", level=1) -> pass'),
    (5, "log: level=1 -> dropped"),
    (5, "1 -> 2"),
    (5, "1 -> 0"),
    (6, "return number == 0 -> return None"),
    (6, "number == 0 -> (number != 0)"),
    (6, "0 -> 1"),
]


def test_what_is_changed() -> None:
    found = list(mutants(TEXT))
    assert sorted((each.line, each.change) for each in found) == sorted(CHANGES)
    assert {each.function for each in found} == {"allowed"}
    assert len({ast.dump(ast.parse(each.text)) for each in found} | {ast.dump(ast.parse(TEXT))}) == len(found) + 1


def test_modules_and_tests_that_are_listed_exist() -> None:
    for module, words in tool.rows(tool.HERE / "modules.txt"):
        assert (tool.TREE / module).is_file(), module
        assert [name for name in words.split() if name.endswith(".py") and not (tool.TREE / name).is_file()] == [], module


def test_explanations_are_of_listed_modules_and_say_why() -> None:
    listed = {row[0] for row in tool.rows(tool.HERE / "modules.txt")}
    for row in tool.rows(tool.HERE / "explained.txt"):
        explained = tool.Explained(*row)
        assert explained.module in listed and explained.why, row


def test_a_star_of_an_explanation_stands_for_anything() -> None:
    mutant = next(mutants("def f(x):\n    return x[1:] == 'a'\n"))
    assert tool.Explained("m.py", "f", "return x[1:] == * -> *", "why").covers("m.py", mutant)
    assert not tool.Explained("m.py", "g", "*", "why").covers("m.py", mutant)
    assert not tool.Explained("other.py", "f", "*", "why").covers("m.py", mutant)


def test_what_is_not_changed() -> None:
    """What is idle is not changed: annotations, what is for type checkers only, imports, texts for people."""
    text = 'import a\nx: "int | 1"\nif TYPE_CHECKING:\n    import b\n"""Doc."""\nraise_it = f"a {1}"\nsay = "a sentence"\n'
    assert list(mutants(text)) == []
