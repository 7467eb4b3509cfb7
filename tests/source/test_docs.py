"""What the documents name exists, and what docs/concepts.md shows is what pyoci prints."""

import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.golden.transcripts import BLOCK, CONCEPTS, commands, refreshed, run, script, session
from tests.source.test_layers import LAYERS, layer
from tests.source.tree import TREE

FOLDERS = ("pyoci", "native", "tests", "spec", "docs", "bundles", ".ci")
DOCUMENTS = sorted([*TREE.glob("*.md"), *(each for name in FOLDERS for each in (TREE / name).rglob("*.md"))])
PATH = re.compile(rf"(?<![\w/.}}-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w.*/-]*[\w*/](?:::\w+)?")
MADE = re.compile(r"bundles/\w+/rootfs(/.*)?|pyoci/_native\.abi3\.so|frozen\.c")  # by the build
PLACEHOLDER = re.compile(r"[/_][A-Z]{2,}\b")
BARE = re.compile(r"`([\w-]+\.(?:py|c|h|toml|tsv|sh|md|ld))`")
FUNCTIONS = re.compile(r"((?:`\w+\(\)`(?:, | and )?)+)\sin\s`([\w/.]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(#[\w-]*)?\)")
OPERATION = re.compile(r"\boperations? ((?:`\w+`(?:, | and )?)+)")
VERB = re.compile(r"(?:`|^[$#>] )pyoci ([a-z]+)\b", re.M)
CONTAINERS = ("web", "friend", "mapped", "layered", "small", "filtered", "demo")  # of docs/concepts.md
TARGET = re.compile(r"`make ([a-z][a-z0-9-]*)")


@cache
def names() -> set[str]:
    """Return the names of all files of the project."""
    files = [path for folder in FOLDERS for path in (TREE / folder).rglob("*")] + list(TREE.iterdir())
    return {path.name for path in files}


@cache
def verbs() -> set[str]:
    """Return the commands of pyoci, from its help."""
    return set(re.findall(r"^  ([a-z]+) ", run("pyoci --help"), re.M))


def defines(path: Path, name: str) -> bool:
    """Return whether a file of Python or C defines a function."""
    form = rf"^ *def {name}\(" if path.suffix == ".py" else rf"^[\w ].*\b{name}\([^;]*$"
    return path.is_file() and re.search(form, path.read_text(), re.M) is not None


def anchors(text: str) -> set[str]:
    """Return the anchors of a document, as forges make them of its headings."""
    headings = re.findall(r"^#+ (.*)", text, re.M)
    return {"#" + re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def missing_files(text: str) -> Iterator[str]:
    for token in PATH.findall(text):
        path, _, test = token.partition("::")
        if MADE.fullmatch(path) or PLACEHOLDER.search(path) and not (TREE / path).exists():
            continue
        if "*" in path and list(TREE.glob(path)):
            continue
        if not (TREE / path).exists() or test and not defines(TREE / path, test):
            yield token
    yield from (name for name in BARE.findall(text) if name not in names() and not MADE.fullmatch(name))


def missing_functions(text: str) -> Iterator[str]:
    for functions, path in FUNCTIONS.findall(text):
        for name in re.findall(r"(\w+)\(", functions):
            if not defines(TREE / path, name):
                yield f"{name}() in {path}"


def missing_links(text: str, folder: Path) -> Iterator[str]:
    for path, anchor in LINK.findall(text):
        if "://" in path:
            continue
        target = folder / path
        known = anchors(target.read_text() if path else text) if target.exists() and anchor else set()
        if not target.exists() or anchor and anchor not in known:
            yield path + anchor


def missing_words(text: str) -> Iterator[str]:
    """Find operations, commands of pyoci and targets of make that do not exist."""
    operations = anchors((TREE / "docs/operations.md").read_text())
    for listed in OPERATION.findall(text):
        yield from (
            f"operation {name}"
            for name in re.findall(r"\w+", listed.replace(" and ", " "))
            if f"#{name}" not in operations
        )
    yield from (f"pyoci {verb}" for verb in VERB.findall(text) if verb not in verbs())
    makefile = (TREE / "Makefile").read_text()
    yield from (f"make {each}" for each in TARGET.findall(text) if not re.search(rf"^{each}:", makefile, re.M))


def missing(text: str, folder: Path) -> list[str]:
    return [
        *missing_files(text),
        *missing_functions(text),
        *missing_links(text, folder),
        *missing_words(text),
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TREE)))
def test_what_a_document_names_exists(document: Path) -> None:
    assert missing(document.read_text(), document.parent) == []


@pytest.mark.parametrize(
    "text",
    [
        "see `native/stage/absent.c`",
        "see `tests/source/test_docs.py::test_absent`",
        "see `tests/absent/*.py`",
        "see `absent.py`",
        "`names()` and `absent()` in `tests/source/test_docs.py`",
        "`op_absent()` in `native/stage/pivot.c`",
        "`root_is_ours()` in `native/stage/mount.c`",
        "[pivot](absent.md)",
        "[pivot](docs/operations.md#absent)",
        "the operations `pivot` and `absent`",
        "run `pyoci absent --bundle x`",
        "run `make absent`",
    ],
)
def test_what_does_not_exist_is_found(text: str) -> None:
    assert len(missing(text, TREE)) == 1


def test_what_exists_is_found() -> None:
    text = """`native/stage/pivot.c`, `tests/source/test_docs.py::test_what_exists_is_found`, `native/stage/*.c`, `pivot.c`;
    `names()` and `defines()` in `tests/source/test_docs.py`, `op_pivot()` and `root_is_ours()` in `native/stage/pivot.c`,
    [pivot](docs/operations.md#pivot), operations `pivot` and `root`, `pyoci plan --json`, `make golden`"""
    assert missing(text, TREE) == []


def test_concepts_show_what_pyoci_prints() -> None:
    text = CONCEPTS.read_text()
    assert text == refreshed(text), "make golden writes the output anew"


@pytest.mark.requires("root", "overlay", "seccomp", "keyrings", "pids")
@pytest.mark.skipif(not shutil.which("busybox") or not shutil.which("ps"), reason="busybox or ps is not installed")
def test_concepts_are_a_session() -> None:
    if there := [name for name in CONTAINERS if Path("/run/pyoci", name).exists()]:
        pytest.skip(f"containers of these names exist: {there}")
    for name in ("hello", "shell"):
        run(f"bundles/rootfs bundles/{name}/rootfs")
    try:
        steps = session(CONCEPTS.read_text())
    finally:
        run(
            f"for name in {' '.join(CONTAINERS)}; do pyoci delete --force $name; done; umount -q /tmp/layers/rootfs || true"
        )
    assert [(command, real) for command, shown, real in steps if masked(shown) != masked(real)] == []


def masked(output: str) -> str:
    """Return an output without what differs from run to run: numbers, and the space that they take."""
    return re.sub(r" +", " ", re.sub(r" *\d+", " 0", output))


def test_concepts_have_commands_of_both_kinds() -> None:
    prompts = [command[0] for block in BLOCK.findall(CONCEPTS.read_text()) for command, _ in commands(block)]
    assert prompts.count("$") >= 10
    assert prompts.count("#") >= 20


def test_a_command_may_have_several_lines() -> None:
    block = "$ cat <<END\n> a\n> END\na\n# true\n"
    assert commands(block) == [("$ cat <<END\n> a\n> END\n", "a\n"), ("# true\n", "")]
    assert script("$ cat <<END\n> a\n> END\n") == "cat <<END\na\nEND\n"


def test_output_that_is_not_real_is_found() -> None:
    text = "```console\n$ echo real\nnot real\n# false\nkept\n```\n"
    assert refreshed(text) == "```console\n$ echo real\nreal\n# false\nkept\n```\n"


def layout(text: str) -> list[str]:
    """Return the modules and packages of pyoci that the table in docs/architecture.md names, in its order."""
    table = text.partition("\n## Layout\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`pyoci/.*?) \|", table, re.M)
    return [f"pyoci.{name}" for cell in cells for name in re.findall(r"`(?:pyoci/)?(\w+)(?:/|\.py)`", cell)]


def test_the_layout_is_that_of_the_layers() -> None:
    listed = layout((TREE / "docs" / "architecture.md").read_text())
    assert sorted(listed) == sorted(name for names in LAYERS for name in names if name.count(".") == 1)
    assert listed == sorted(listed, key=layer)


def test_a_layout_is_read_in_its_order() -> None:
    text = "\n## Layout\n| `pyoci/a/` | `x.py` |\n| `pyoci/b.py`, `c.py` | y |\n| `native/d.py` | z |\n\n## More\n| `pyoci/e.py` | |\n"
    assert layout(text) == ["pyoci.a", "pyoci.b", "pyoci.c"]
