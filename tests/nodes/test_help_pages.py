"""The help page of every node says what the node is, in each language, with the ranges that the node really has."""

from __future__ import annotations

import re

import pytest

LANGUAGES = {
    "en": {"to": "to", "inputs": r"## Inputs?\n", "outputs": r"## Outputs?\n", "mistakes": "## Common mistakes\n"},
    "zh": {"to": "到", "inputs": "## 输入\n", "outputs": "## 输出\n", "mistakes": "## 常见错误\n"},
}
PICTURE = re.compile(r"!\[([^\]]+)\]\(([^)]+)\)")
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)]+)\)")
SEEDS = {"seed", "run_seed"}
FILES = {"model_name", "encoder_name", "vae_name", "lora_name"}
"""Inputs whose options are files."""


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request):
    return request.param


@pytest.fixture(scope="module")
def pages(language, schemas, repo_root):
    """Text by node id."""
    folder = repo_root / "web" / "docs"
    names = {name: f"{name}.md" if language == "en" else f"{name}/{language}.md" for name in schemas}
    return {name: (folder / path).read_text(encoding="utf-8") for name, path in names.items()}


def entry(page, port_id):
    """What a page says of an input: from its name in bold to the next entry."""
    entries = re.split(r"\n(?=- |## |\n\|)", page)
    return next((one for one in entries if one.startswith("- ") and f"**{port_id}**" in one), "")


def test_no_page_without_a_node(schemas, repo_root):
    found = {
        path.relative_to(repo_root / "web" / "docs").parts[0] for path in (repo_root / "web" / "docs").rglob("*.md")
    }
    assert {name.removesuffix(".md") for name in found} == set(schemas)


def test_its_parts(pages, language):
    words = LANGUAGES[language]
    for name, page in pages.items():
        assert page.startswith("# LoomVideo "), name
        assert re.search(words["inputs"], page), name
        assert re.search(words["outputs"], page), name
        assert page.partition(words["mistakes"])[2].count("\n- ") >= 1, name


def test_its_picture_is_there_and_says_what_it_shows(pages, repo_root):
    """ComfyUI resolves pictures against the folder of the English pages, in every language."""
    for name, page in pages.items():
        pictures = PICTURE.findall(page)
        assert pictures, name
        for words, target in pictures:
            assert len(words) > 5, name
            assert (repo_root / "web" / "docs" / target).is_file(), f"{name}: {target}"


def test_it_has_no_links_that_lead_nowhere_in_comfyui(pages):
    for name, page in pages.items():
        assert [target for target in LINK.findall(page) if not target.startswith("https://")] == [], name


def test_every_input_has_an_entry(pages, schemas):
    missing = [
        f"{name}.{port.id}"
        for name, schema in schemas.items()
        for port in schema.inputs
        if not entry(pages[name], port.id)
    ]
    assert missing == []


def test_ranges_are_those_of_the_node(pages, schemas, language):
    wrong = []
    for name, schema in schemas.items():
        for port in schema.inputs:
            if port.kind in ("Int", "Float") and port.id not in SEEDS:
                least, most = (f"{port.more[end]:.10g}" for end in ("min", "max"))
                if f"{least} {LANGUAGES[language]['to']} {most}" not in entry(pages[name], port.id):
                    wrong.append(f"{name}.{port.id}: {least} to {most}")
    assert wrong == []


def test_every_option_is_named(pages, schemas):
    silent = []
    for name, schema in schemas.items():
        for port in schema.inputs:
            if port.kind == "Combo" and port.id not in FILES:
                page = pages[name]
                silent += [f"{name}.{port.id}: {option}" for option in port.options if f"`{option}`" not in page]
    assert silent == []


def test_pictures_are_used(repo_root):
    folder = repo_root / "web" / "docs"
    used = {target for path in folder.rglob("*.md") for _, target in PICTURE.findall(path.read_text(encoding="utf-8"))}
    assert {f"images/{path.name}" for path in (folder / "images").iterdir()} == used
