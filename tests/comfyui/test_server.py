"""The pack in a running server: found whole, and quick to start."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDED_VERSION = "0.33.0"
"""Of the ComfyUI that tests/workflows/core_nodes.json describes; scripts/workflows/build.py writes it."""


def test_the_pack_loads_without_a_word_of_trouble(server):
    log = server.log.read_text(errors="replace").partition("Starting server")[0]
    lines = [line for line in log.splitlines() if "comfyui-loomvideo" in line or "LoomVideo" in line]
    assert any("seconds" in line for line in lines)  # ComfyUI's list of packs and how long each took
    assert not [line for line in lines if "FAILED" in line or "Error" in line or "WARNING" in line], lines


def test_every_node_is_listed(server):
    listed = {name for name in server.get("/object_info") if name.startswith("LoomVideo")}
    assert listed == set(ids())


def test_every_input_and_output_is_as_in_the_catalogue(server, schemas):
    for name, schema in schemas.items():
        info = server.get(f"/object_info/{name}")[name]
        inputs = info["input"]
        assert {*inputs.get("required", {}), *inputs.get("optional", {})} == {port.id for port in schema.inputs}
        assert set(inputs.get("optional", {})) == {port.id for port in schema.inputs if port.optional}
        assert len(info["output"]) == len(schema.outputs)
        assert info["display_name"] == schema.display_name


def test_nodes_of_comfyui_are_as_the_workflows_tests_know_them(server):
    import json

    import pytest

    from scripts.workflows.build import CORE_NODES, core_nodes

    version = server.get("/system_stats")["system"]["comfyui_version"]
    if version != RECORDED_VERSION:
        pytest.skip(f"recorded with ComfyUI {RECORDED_VERSION}, this is {version}")
    assert json.loads(CORE_NODES.read_text(encoding="utf-8")) == core_nodes(server.url)


def ids():
    """Ids of the catalogue, read off its stand-ins' source: they hold no import of ComfyUI's."""
    import ast

    source = ROOT / "nodes" / "outdated.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    value = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "IDS"
    )
    return ast.literal_eval(value)


def test_bundled_pictures_are_in_the_input_folder(server):
    names = {path.name for path in (server.base / "input").iterdir()}
    assert {f"loomvideo_{path.name}" for path in (ROOT / "demo").iterdir()} <= names


def test_words_of_the_nodes_come_in_every_language(server, schemas):
    """`/i18n` is what the frontend asks for; another pack may have added to it, so only ours are looked at."""
    translations = server.get("/i18n")
    for language in ("en", "zh"):
        words = translations[language]["nodeDefs"]
        assert set(schemas) <= set(words)
        assert all(words[name]["display_name"].startswith("LoomVideo ") for name in schemas)
    assert translations["zh"]["nodeDefs"]["LoomVideoSampler"]["inputs"]["steps"]["name"] == "步数"


def test_help_pages_and_their_pictures_are_served(server):
    for page in ("LoomVideoSampler.md", "LoomVideoSampler/zh.md", "images/LoomVideoSampler.jpg"):
        served = server.fetch(f"/extensions/comfyui-loomvideo/docs/{page}")
        assert served == (ROOT / "web" / "docs" / page).read_bytes(), page
