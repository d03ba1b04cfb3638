"""What the documentation promises is there: files and headings that it links to, tests, nodes and messages."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
HELP = [*sorted((ROOT / "web" / "docs").glob("*.md")), *sorted((ROOT / "web" / "docs").glob("*/zh.md"))]
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
    """A name is three words or more with capitals, LoomVideo Model Loader, or an id, LoomVideoModelLoader."""
    nodes = {schema.display_name.removesuffix(" (Qwen3-VL)") for schema in schemas.values()}
    for page in [*PAGES, *HELP]:
        text = " ".join(text_of(page).split())
        for name in re.findall(r"\bLoomVideo [A-Z][\w-]+(?: [A-Z][\w-]+)+", text):
            assert any(name.startswith(node) for node in nodes), f"{page.name}: {name}"
        assert set(re.findall(r"\bLoomVideo[A-Z]\w+", text)) - set(schemas) == set(), page.name


def test_nodes_that_chinese_pages_name_have_that_name():
    named = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    nodes = {node["display_name"] for node in named.values()}
    pages = [page for page in HELP if page.name == "zh.md"]
    found = {name for page in pages for name in re.findall("“(LoomVideo [^”]+)”", text_of(page))}
    assert len(found) > 5
    assert {name for name in found if not any(node.startswith(name) for node in nodes)} == set()


def test_inputs_that_pages_name_exist(schemas):
    """Written as **strength** of LoomVideo Source Latent Scaler."""
    nodes = {schema.display_name.removesuffix(" (Qwen3-VL)"): schema for schema in schemas.values()}
    longest_first = "|".join(map(re.escape, sorted(nodes, key=len, reverse=True)))
    of = re.compile(rf"((?:\*\*\w+\*\*(?: and |, )?)+) of ({longest_first})\b")
    found = 0
    for page in [*PAGES, *HELP]:
        for inputs, node in of.findall(" ".join(text_of(page).split())):
            ports = {port.id for port in (*nodes[node].inputs, *nodes[node].outputs)}
            ports |= {port.more.get("display_name") for port in nodes[node].outputs}
            found += 1
            assert set(re.findall(r"\*\*(\w+)\*\*", inputs)) - ports == set(), f"{page.name}: {inputs} of {node}"
    assert found > 3


@pytest.mark.parametrize("page", HELP, ids=lambda page: page.relative_to(page.parents[1]).as_posix())
def test_links_of_help_pages_lead_to_files(page):
    """ComfyUI resolves them against the folder of the English pages."""
    assert [target for target, _ in LINK.findall(text_of(page)) if not (ROOT / "web" / "docs" / target).is_file()] == []


def test_checks_of_the_preflight_page_are_those_of_the_code():
    page = (DOCS / "preflight.md").read_text(encoding="utf-8")
    rows = page.partition("| check | what is looked at |")[2].partition("\n\n")[0].splitlines()[2:]
    told = {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    assert checks_of_the_code() == told


def checks_of_the_code():
    """Of every finding that is made: the first word of `Finding.note` and the like, or `check=`."""
    folders = (ROOT / "loom_core" / "doctor", ROOT / "nodes" / "preflight")
    files = [*(path for folder in folders for path in folder.glob("*.py")), ROOT / "nodes" / "adapter" / "preflight.py"]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (*files, ROOT / "loom_core" / "cli" / "doctor.py")]
    words, constants = [], {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Tuple)
            and isinstance(node.targets[0], ast.Tuple)
        ):
            constants |= dict(zip(map(ast.unparse, node.targets[0].elts), node.value.elts, strict=False))
        if isinstance(node, ast.Call):
            words += [word.value for word in node.keywords if word.arg == "check"]
            if ast.unparse(node.func) in ("Finding.note", "Finding.warning", "Finding.of_error"):
                words += node.args[:1]
    named = [constants.get(word.id) if isinstance(word, ast.Name) else word for word in words]
    return {word.value for word in named if isinstance(word, ast.Constant)}


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


def rows(name, heading):
    """Cells of a table of a page."""
    table = (DOCS / name).read_text(encoding="utf-8").partition(heading)[2].partition("\n\n")[0]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]


def test_recipes_are_those_of_the_planner():
    """The page on performance has the planner's table, which is tested against the planner."""

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


def test_versions_of_the_compatibility_page_are_those_of_the_files():
    """Oldest versions stand in pyproject.toml, those that `make` installs in the Makefile, types in package.json."""
    stated = {
        name: (oldest, tested) for name, oldest, tested, _ in rows("compatibility.md", "| part | oldest | tested ")
    }
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', project))
    (oldest["Python"],) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    (oldest["ComfyUI"],) = re.findall(r'requires-comfyui = ">=([\d.]+)"', project)
    del oldest["setuptools"]  # builds the package
    assert {name: bound for name, (bound, _) in stated.items() if bound} == oldest
    host = (ROOT / "nodes" / "adapter" / "host.py").read_text(encoding="utf-8")
    assert f'MINIMUM_VERSION = "{oldest["ComfyUI"]}"' in host
    installation = (ROOT / "loom_core" / "doctor" / "installation.py").read_text(encoding="utf-8")
    told = dict(re.findall(r'"([\w-]+)": \(?"([\d.]+)"', installation))
    assert len(told) > 3
    assert told == {name: oldest[name] for name in told}
    for file in (ROOT / "requirements.txt", ROOT / "requirements-test.txt"):
        bounds = dict(re.findall(r"^([\w-]+)>=([\d.]+)", file.read_text(encoding="utf-8"), re.MULTILINE))
        assert bounds == {name: oldest[name] for name in bounds}, file.name

    pinned = re.findall(r"([\w-]+)==([\d.]+\d)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert len(pinned) > 3
    types = json.loads((ROOT / "tests" / "web" / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    pinned.append(("@comfyorg/comfyui-frontend-types", types["@comfyorg/comfyui-frontend-types"]))
    assert [(name, version) for name, version in pinned if version not in stated[name][1].split(", ")] == []
