"""What ComfyUI shows of the nodes in each language is all there, and speaks of the nodes as they are."""

from __future__ import annotations

import re

import pytest

LANGUAGES = ("zh",)
HAN = re.compile(r"[\u4e00-\u9fff]")
SAME = re.compile(
    r"@Image (?:\d|N)|<\w+>|\b[\w/]+\.(?:safetensors|pth|txt|mp4|jsonl)\b|\b(?:models|output)/\w+|\b\w+_\w+\b"
    r"|(?<![\w.])-?\d+(?:\.\d+)*\w*",
    re.ASCII,
)
"""What no translation changes: mentions, placeholders, files, names of code, numbers."""


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("make_locales")


@pytest.fixture(scope="module")
def english(script):
    return script.flat(script.read("en"))


def test_english_is_what_the_nodes_say(script, schemas):
    assert script.read("en") == script.english(schemas.values()), "run `python scripts/make_locales.py`"


def test_english_has_every_port(script, schemas):
    words = script.read("en")
    assert set(words) == set(schemas)
    for name, schema in schemas.items():
        assert {port.id for port in schema.inputs} <= set(words[name]["inputs"]), name
        assert len(words[name]["outputs"]) == len(schema.outputs), name
    assert words["LoomVideoReferenceSlots"]["inputs"]["images_image_2"]["tooltip"]


def test_comfyui_reads_these_files(script):
    found = {path.relative_to(script.FOLDER).as_posix() for path in script.FOLDER.rglob("*") if path.is_file()}
    files = (script.FILE, "settings.json")  # the second by hand
    assert found == {f"{language}/{file}" for language in ("en", *LANGUAGES) for file in files}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated_and_none_is_left_over(script, english, language):
    words = script.flat(script.read(language))
    assert sorted(english.keys() - words.keys()) == []
    assert sorted(words.keys() - english.keys()) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_mentions_files_and_numbers_are_those_of_the_english(script, english, language):
    changed = {
        place: (expected, found)
        for place, text in script.flat(script.read(language)).items()
        if place[-1] != "name"
        and (found := sorted(set(SAME.findall(text)))) != (expected := sorted(set(SAME.findall(english[place]))))
    }
    assert changed == {}


def test_chinese_is_chinese(script):
    words = script.flat(script.read("zh"))
    assert [place for place, text in words.items() if place[-1] != "name" and not HAN.search(text)] == []
    named = [text for place, text in words.items() if place[-1] == "name"]
    assert {text for text in named if not HAN.search(text)} <= {"VAE", "CLIP", "LoRA", "Latent", "Sigmas"}


@pytest.mark.parametrize("language", ("en", *LANGUAGES))
def test_names_and_descriptions_are_messages_that_compile(script, language):
    """In vue-i18n's syntax a bare @ links, braces are arguments and a bar parts plurals; tooltips are not compiled."""
    for place, text in script.flat(script.read(language)).items():
        if place[-1] != "tooltip":
            assert not re.search(r"[@{}|]", re.sub(r"\{'[@{}|]'\}", "", text)), place


def test_special_characters_are_written_as_literals(script):
    assert script.compiled("@Image 1 {a|b}") == "{'@'}Image 1 {'{'}a{'|'}b{'}'}"


def test_a_sentence_that_changed_loses_its_translation(script):
    old = {"Node": {"display_name": "Node", "inputs": {"a": {"tooltip": "before"}, "b": {"tooltip": "same"}}}}
    new = {"Node": {"display_name": "Node", "inputs": {"a": {"tooltip": "after"}, "b": {"tooltip": "same"}}}}
    translated = {
        "Node": {"display_name": "节点", "inputs": {"a": {"tooltip": "旧"}, "b": {"tooltip": "同"}}},
        "Gone": {"display_name": "无"},
    }
    kept = script.without_stale(translated, old, new)
    assert kept == {"Node": {"display_name": "节点", "inputs": {"b": {"tooltip": "同"}}}}
