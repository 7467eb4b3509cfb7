"""The mutants of a module: copies of its text in which one thing is another."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

Edits = Iterator[tuple[ast.AST, str, str]]  # the place, what is to stand there, and how the change is told, if not so

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: where it is, what stood there and what does now, and the whole text with it."""

    line: int
    function: str
    change: str
    text: str


def mutants(text: str) -> Iterator[Mutant]:
    """Return every mutant of a module, in the order of the text."""
    found = [
        mutant
        for function, node in _walk(ast.parse(text), "")
        for place, new, told in _edits(node)
        if (mutant := _splice(text, function, place, new, told)) is not None
    ]
    return iter(sorted(found, key=lambda mutant: mutant.line))


def _walk(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    """Walk what can run: no annotations, no docstrings, nothing for type checkers, and no text inside an f-string."""
    for name, field in ast.iter_fields(node):
        for child in field if isinstance(field, list) else [field]:
            if not isinstance(child, ast.AST) or name in ("annotation", "returns", "decorator_list") or _is_idle(child):
                continue
            inner = f"{function}.{child.name}".strip(".") if isinstance(child, ast.FunctionDef | ast.ClassDef) else function
            yield inner, child
            yield from _walk(child, inner)


def _is_idle(node: ast.AST) -> bool:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        return node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "TYPE_CHECKING":
        return True
    return isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom)


def _edits(node: ast.AST) -> Edits:
    """Yield what may stand in the place of a node or of one below it."""
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield node.test, f"not ({ast.unparse(node.test)})", f"{ast.unparse(node.test)} -> negated"
    elif isinstance(node, ast.comprehension):
        yield from ((test, "True", "") for test in node.ifs)
    elif isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            rest = [*node.keywords[:index], *node.keywords[index + 1 :]]
            told = f"{ast.unparse(node.func)}: {ast.unparse(keyword)} -> dropped"
            yield node, ast.unparse(ast.Call(node.func, node.args, rest)), told
    elif isinstance(node, ast.Raise | ast.AugAssign | ast.Expr | ast.Continue | ast.Break):
        yield node, "pass", ""
    elif isinstance(node, ast.Return) and node.value is not None:
        yield node, "return None", ""
    elif isinstance(node, ast.expr):
        yield from _operator_edits(node)


def _operator_edits(node: ast.expr) -> Edits:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            others = [*node.ops[:index], COMPARISONS[type(operator)](), *node.ops[index + 1 :]]
            yield node, f"({ast.unparse(ast.Compare(node.left, others, node.comparators))})", ""
    elif isinstance(node, ast.BoolOp):
        for index in range(len(node.values)):
            rest = [*node.values[:index], *node.values[index + 1 :]]
            told = f"{ast.unparse(node)} -> without {ast.unparse(node.values[index])}"
            yield node, f"({ast.unparse(ast.BoolOp(node.op, rest) if rest[1:] else rest[0])})", told
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        yield node, f"({ast.unparse(node.operand)})", ""
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield node, f"({ast.unparse(ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right))})", ""
    elif isinstance(node, ast.Constant):
        yield from ((node, repr(value), "") for value in _other_constants(node.value))


def _other_constants(value: object) -> list[object]:
    """Return other numbers, truths and words; not other sentences, which are for people."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 0] if value else [1]
    if isinstance(value, str | bytes) and value and len(value.split()) == 1:
        return [value[:0]]
    return []


def _splice(text: str, function: str, place: ast.AST, new: str, told: str) -> Mutant | None:
    """Put *new* in the place of a node; None where that changes nothing."""
    assert isinstance(place, ast.expr | ast.stmt) and place.end_lineno and place.end_col_offset is not None
    lines = text.encode().splitlines(keepends=True)
    begin = sum(map(len, lines[: place.lineno - 1])) + place.col_offset
    end = sum(map(len, lines[: place.end_lineno - 1])) + place.end_col_offset
    old = text.encode()[begin:end].decode()
    changed = (text.encode()[:begin] + new.encode() + text.encode()[end:]).decode()
    if ast.dump(ast.parse(changed)) == ast.dump(ast.parse(text)):
        return None
    return Mutant(place.lineno, function, " ".join((told or f"{old} -> {new}").split()), changed)
