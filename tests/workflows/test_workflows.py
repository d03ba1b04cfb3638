"""The bundled workflows without ComfyUI: every node, input and link exists, and the two forms of each say the same.

Our nodes are looked up in their schemas, ComfyUI's in core_nodes.json, which tests/comfyui compares with a real server.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts.workflows.definitions import PACK_ID, RELEASED, WORKFLOWS
from scripts.workflows.graph import filled

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workflows"
NAMES = [workflow.name for workflow in WORKFLOWS]
TASKS = {
    "text_to_video",
    "text_to_image",
    "image_edit",
    "video_edit",
    "reference_edit",
    "references_to_video",
    "reference_to_image",
}
OTHERS = {"fashion_try_on", "long_video_edit", "low_memory_edit"}
OF_OTHER_VERSIONS = {"SaveVideo": {"codec", "format.codec"}}
"""Inputs that a node of ComfyUI has in some of the supported versions; the others take no notice of them."""
CORE = json.loads(Path(__file__).with_name("core_nodes.json").read_text(encoding="utf-8"))


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def known(schemas):
    """kind -> (names of required inputs, names of all inputs, prefixes of growing inputs, number of outputs)."""
    found = {
        kind: (set(node["required"]), {*node["required"], *node["optional"]}, (), len(node["outputs"]))
        for kind, node in CORE.items()
    }
    for kind, schema in schemas.items():
        growing = tuple(f"{port.id}." for port in schema.inputs if port.kind == "Autogrow")
        fixed = [port for port in schema.inputs if port.kind != "Autogrow"]
        # a widget that is not sent takes its default only in Python; the host wants every required one
        required = {port.id for port in fixed if not port.optional}
        found[kind] = (required, {port.id for port in fixed}, growing, len(schema.outputs))
    return found


def test_one_a_task_and_three_more():
    assert set(NAMES) == TASKS | OTHERS


def test_no_file_without_a_definition():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES)
    assert {path.stem for path in (FOLDER / "api").glob("*.json")} == set(NAMES)
    assert {path.stem for path in FOLDER.glob("*.jpg")} == set(NAMES)


def test_names_may_stand_in_a_link():
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]+", name) for name in NAMES)


def test_no_second_folder_that_comfyui_takes_for_workflows():
    taken = {"example_workflows", "example", "examples", "workflow", "workflows"}
    assert {path.name for path in ROOT.iterdir() if path.is_dir()} & taken == {"workflows"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_api_form_says_what_the_definition_says(workflow):
    """And the defaults of what the definition leaves open."""
    written, defined = load(FOLDER / "api" / f"{workflow.name}.json"), workflow.api()
    assert list(written) == list(defined)
    for number, node in defined.items():
        assert written[number]["class_type"] == node["class_type"]
        assert written[number]["_meta"] == node["_meta"]
        found = {name: written[number]["inputs"].get(name) for name in node["inputs"]}
        assert found == node["inputs"]


@pytest.mark.parametrize("name", NAMES)
def test_every_node_and_input_exists(known, name):
    for number, node in load(FOLDER / "api" / f"{name}.json").items():
        required, every, growing, _ = known[node["class_type"]]
        given = set(node["inputs"])
        assert required <= given, f"{number} {node['class_type']} lacks {required - given}"
        assert all(one in every or one.startswith(growing) for one in given if growing) or given <= every, (
            f"{number} {node['class_type']} has no input {given - every}"
        )


@pytest.mark.parametrize("name", NAMES)
def test_every_link_begins_at_an_output(known, name):
    prompt = load(FOLDER / "api" / f"{name}.json")
    for node in prompt.values():
        for value in node["inputs"].values():
            if isinstance(value, list):
                origin, index = value
                assert index < known[prompt[origin]["class_type"]][3]


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_agree(name):
    graph, prompt = load(FOLDER / f"{name}.json"), load(FOLDER / "api" / f"{name}.json")
    nodes = {str(node["id"]): node for node in graph["nodes"] if node["type"] != "MarkdownNote"}
    links = {link[0]: link for link in graph["links"]}
    assert set(nodes) == set(prompt)
    for number, node in nodes.items():
        assert node["type"] == prompt[number]["class_type"]
        linked = {
            entry["name"]: [str(links[entry["link"]][1]), links[entry["link"]][2]]
            for entry in node.get("inputs", ())
            if entry.get("link") is not None
        }
        written = prompt[number]["inputs"]
        assert linked == {key: value for key, value in written.items() if isinstance(value, list)}
        widgets = {key: value for key, value in written.items() if not isinstance(value, list)}
        named = node.get("widgets_values_named") or {}
        values = node.get("widgets_values") or []
        if "filename_prefix" in named:  # the frontend fills it in when it queues
            named = named | {"filename_prefix": filled(named["filename_prefix"], prompt)}
            values = [filled(value, prompt) for value in values]
        assert {key: named.get(key, value) for key, value in widgets.items()} == widgets
        assert not widgets or [value for value in widgets.values() if value not in values] == []


@pytest.mark.parametrize("name", NAMES)
def test_files_are_named_by_task_and_seed(name):
    graph, prompt = load(FOLDER / f"{name}.json"), load(FOLDER / "api" / f"{name}.json")
    (saver,) = (node for node in graph["nodes"] if node["type"].startswith("Save"))
    seeds = [
        value for node in prompt.values() for key, value in node["inputs"].items() if key in ("seed", "noise_seed")
    ]
    assert re.fullmatch(rf"loomvideo/{name}_seed%\w+\.\w*seed%", saver["widgets_values"][0])
    assert prompt[str(saver["id"])]["inputs"]["filename_prefix"] == f"loomvideo/{name}_seed{seeds[0]}"
    assert len(seeds) == 1


@pytest.mark.parametrize("name", NAMES)
def test_links_of_the_graph_hold_together(name):
    graph = load(FOLDER / f"{name}.json")
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert graph["version"] == 0.4
    assert graph["last_node_id"] >= max(nodes)
    for number, origin, from_slot, target, to_slot, kind in graph["links"]:
        assert number in nodes[origin]["outputs"][from_slot]["links"]
        assert nodes[target]["inputs"][to_slot]["link"] == number
        assert kind
        assert number <= graph["last_link_id"]


@pytest.mark.parametrize("name", NAMES)
def test_nodes_say_where_they_come_from(name):
    for node in load(FOLDER / f"{name}.json")["nodes"]:
        if node["type"] == "MarkdownNote":
            continue
        properties = node["properties"]
        assert properties["cnr_id"] == (PACK_ID if node["type"].startswith("LoomVideo") else "comfy-core")
        assert properties["ver"]
        assert properties["Node name for S&R"] == node["type"]


@pytest.mark.parametrize("name", NAMES)
def test_released_weights_are_named(name):
    graph = load(FOLDER / f"{name}.json")
    (note,) = (node for node in graph["nodes"] if node["type"] == "MarkdownNote")
    loaders = [node for node in graph["nodes"] if node["type"] in RELEASED]
    assert {node["type"] for node in loaders} == set(RELEASED)
    for node in loaders:
        assert node["properties"]["models"] == [dict(entry) for entry in RELEASED[node["type"]]]
        for entry in node["properties"]["models"]:
            assert entry["url"].startswith("https://huggingface.co/") and entry["url"].endswith(entry["name"])
            assert entry["url"] in note["widgets_values"][0]


@pytest.mark.parametrize("name", NAMES)
def test_nodes_do_not_overlap(name):
    boxes = [
        (*node["pos"], node["pos"][0] + node["size"][0], node["pos"][1] + node["size"][1], node["type"])
        for node in load(FOLDER / f"{name}.json")["nodes"]
    ]
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, f"{one[4]} and {other[4]}"


@pytest.mark.parametrize("name", NAMES)
def test_bundled_inputs_are_in_the_repository(name):
    for node in load(FOLDER / "api" / f"{name}.json").values():
        if node["class_type"] in ("LoadImage", "LoadVideo"):
            file = node["inputs"].get("image") or node["inputs"].get("file")
            assert (ROOT / "demo" / file.removeprefix("loomvideo_")).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_documentation_quotes_the_prompt(name):
    (prompt,) = (
        node["inputs"]["prompt"]
        for node in load(FOLDER / "api" / f"{name}.json").values()
        if node["class_type"] == "LoomVideoDeepstackEncode"
    )
    page = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith(f"| [{name}]"))
    assert prompt in row


@pytest.mark.parametrize("name", NAMES)
def test_thumbnails_are_small_squares(name):
    from PIL import Image

    path = FOLDER / f"{name}.jpg"
    with Image.open(path) as picture:
        assert picture.width == picture.height >= 256
    assert path.stat().st_size < 60_000
