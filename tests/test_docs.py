"""What the documentation promises is there: files that it links to, and tests that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")
TEST = re.compile(r"`(?:([\w/]+\.py)::)?(test_\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    broken = [
        target for target in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / target).exists()
    ]
    assert broken == []


def test_tests_of_the_compatibility_page_exist():
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
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
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`(inside/[\w/]+\.py)", text))
    assert files
    assert [file for file in files if not (ROOT / "tests" / "comfyui" / file).is_file()] == []
