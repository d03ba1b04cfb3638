"""What the documentation promises is there: files and headings that it links to, tests, nodes and messages."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
TEST = re.compile(r"`(?:([\w/]+\.py)::)?(test_\w+)`")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
VARIES = "…"


@cache
def text_of(page):
    return FENCED.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page):
    """Anchors of a page's headings, as the forges make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-{sum(one.startswith(slug) for one in found)}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    broken = []
    for target, anchor in LINK.findall(text_of(page)):
        file = page.parent / target if target else page
        is_there = file.exists() and (not anchor or anchor in anchors(file.resolve()))
        broken += [] if is_there else [f"{target}#{anchor}"]
    assert broken == []


def test_every_page_is_linked_from_the_readme():
    linked = {target for target, _ in LINK.findall(text_of(ROOT / "README.md"))}
    assert {page.relative_to(ROOT).as_posix() for page in PAGES[1:]} - linked == set()


def test_every_picture_is_shown():
    pictures = {path for path in (DOCS / "images").rglob("*") if path.is_file()}
    shown = {(page.parent / target).resolve() for page in PAGES for target, _ in LINK.findall(text_of(page))}
    assert sorted(path.relative_to(ROOT).as_posix() for path in pictures - shown) == []


def test_the_readmes_table_has_every_node(schemas):
    table = text_of(ROOT / "README.md").partition("| node | what it does |")[2].partition("\n\n")[0]
    named = set()
    for row in table.splitlines()[2:]:
        named |= {name.strip().removeprefix("LoomVideo ") for name in row.split("|")[1].split(",")}
    assert named == {
        schema.display_name.removeprefix("LoomVideo ").removesuffix(" (Qwen3-VL)") for schema in schemas.values()
    }


def test_nodes_that_pages_name_exist(schemas):
    """A name is three words or more with capitals: LoomVideo Model Loader."""
    nodes = {schema.display_name.removesuffix(" (Qwen3-VL)") for schema in schemas.values()}
    for page in PAGES:
        for name in re.findall(r"\bLoomVideo [A-Z][\w-]+(?: [A-Z][\w-]+)+", " ".join(text_of(page).split())):
            assert any(name.startswith(node) for node in nodes), f"{page.name}: {name}"


def source_texts():
    """Every text of the code, its formatted parts replaced by VARIES."""
    for path in [*(ROOT / "nodes").rglob("*.py"), *(ROOT / "loom_core").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else VARIES for part in node.values)


def test_messages_of_the_troubleshooting_page_are_real():
    """Each piece between variable parts stands in a text of the code; "found", "expected" and "to fix" join texts."""
    rows = [row.split("|")[1] for row in text_of(DOCS / "troubleshooting.md").splitlines() if row.startswith("| ")]
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    code = "\n".join(source_texts())
    assert len(messages) > 40
    invented = []
    for message in messages:
        pieces = re.split(rf"{VARIES}|; expected |^expected |^found ", message)
        invented += [message for piece in pieces if len(piece.strip()) > 3 and piece.strip() not in code]
    assert invented == []


def test_recipes_are_those_of_the_planner():
    """The page on performance has the planner's table, which is tested against the planner."""

    def rows(name, heading):
        table = (DOCS / name).read_text(encoding="utf-8").partition(heading)[2].partition("\n\n")[0]
        return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]

    planned = {(row[0], row[1]): (row[6], row[7]) for row in rows("performance.md", "| card | weights | MLLM on ")}
    recipes = rows("getting-started.md", "| card | weights | needed ")
    assert [row[0] for row in recipes] == ["24 GB", "16 GB", "12 GB"]
    for row in recipes:
        assert planned[row[0], row[1]] == (row[2], row[6])


def test_tests_of_the_compatibility_page_exist():
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    tests = {
        node.name
        for path in (ROOT / "tests" / "comfyui").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    named = {name for _, name in TEST.findall(text) if not name.endswith("_py")}
    assert len(named) > 15
    assert named - tests == set()


def test_files_of_the_compatibility_page_exist():
    text = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`(inside/[\w/]+\.py)", text))
    assert files
    assert [file for file in files if not (ROOT / "tests" / "comfyui" / file).is_file()] == []
