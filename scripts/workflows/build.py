"""Write workflows/*.json and workflows/api/*.json from `definitions.py`.

    python -m scripts.workflows.build --server http://127.0.0.1:8188

needs a ComfyUI with this pack at that address, node with playwright-core (PW_DIR) and Chromium: the graphs are made by
ComfyUI's own frontend, so that they are what an artist would have saved. Layout, notes and the links to the released
weights are added here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from .definitions import PACK_ID, PACK_VERSION, RELEASED, WORKFLOWS
from .graph import Workflow

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workflows"
CORE_NODES = ROOT / "tests" / "workflows" / "core_nodes.json"
GAP, TITLE, MARGIN = 40, 36, 24  # pixels: between nodes, of a node's title bar, around the nodes of a frame
FOOT = 24
"""Pixels below the margin of a frame, for Vue nodes: they are higher than on the canvas, whose sizes these are."""
NOTE_WIDTH, NOTE_HEIGHT = 420, 560
ROOM = {
    "LoadImage": 340.0, "LoadVideo": 420.0, "SaveImage": 360.0, "SaveVideo": 460.0, "LoomVideoReferenceSlots": 420.0,
    "LoomVideoSampler": 660.0, "SamplerCustomAdvanced": 400.0, "LoomVideoDeepstackEncode": 480.0,
    "LoomVideoRestoreVideo": 420.0,
}  # fmt: skip
"""Least height in pixels of nodes that show a picture, of which a new node does not know yet."""
TELLING = {
    "LoomVideoModelLoader", "LoomVideoSizeHelper", "LoomVideoSourceLatentScaler", "LoomVideoReferenceSlots",
    "LoomVideoDeepstackEncode", "LoomVideoSampler", "LoomVideoRestoreVideo", "LoomVideoGuider",
}  # fmt: skip
TEXT = 76.0
"""Nodes that show lines of text once they have run, and the height that these take, in pixels."""
SHOWN_ONLY = {"video-preview", "upload", "audioUI"}
"""Widgets of the frontend's own, which it sends along."""
COLOURS = ("#3f5159", "#3f789e", "#88a", "#8a8", "#a1309b", "#b58b2a")


def graphs_of(prompts: dict[str, Any], server: str) -> dict[str, Any]:
    """What the frontend makes of each prompt: the graph, and what it would queue for it."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "in.json"), Path(folder, "out.json")
        given.write_text(json.dumps(prompts))
        subprocess.run(["node", str(Path(__file__).with_name("to_ui.mjs")), server, given, made], check=True)
        return json.loads(made.read_text())


def arranged(workflow: Workflow, graph: dict[str, Any]) -> dict[str, Any]:
    """The graph with its nodes in columns, frames around them and the note before them."""
    nodes = {str(node["id"]): node for node in graph["nodes"]}
    ids = workflow.ids()
    left, groups = float(NOTE_WIDTH + 2 * GAP), []
    for number, column in enumerate(workflow.columns):
        members = [nodes[ids[key]] for key in column.steps]
        width = max(max(float(node["size"][0]), 320.0) for node in members)
        top = float(TITLE)
        for node in members:
            height = max(float(node["size"][1]), ROOM.get(node["type"], 0.0))
            height += TEXT if node["type"] in TELLING else 0.0
            node["pos"], node["size"] = [left, top], [width, height]
            top += height + GAP + TITLE
        box = [left - MARGIN, -2.0 * TITLE, width + 2 * MARGIN, top + TITLE - GAP + MARGIN + FOOT]
        groups.append(
            {"id": number + 1, "title": column.heading, "bounding": box, "color": COLOURS[number % len(COLOURS)],
             "font_size": 24, "flags": {}}
        )  # fmt: skip
        left += width + 2 * MARGIN + GAP
    note_id = max(int(number) for number in nodes) + 1
    graph["nodes"].append(_note(note_id, workflow.note))
    return graph | {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PACK_ID}/{workflow.name}")),
        "revision": 0,
        "last_node_id": note_id,
        "groups": groups,
        "extra": {"ds": {"scale": 0.6, "offset": [60, 160]}},
    }


def _note(number: int, text: str) -> dict[str, Any]:
    return {
        "id": number, "type": "MarkdownNote", "pos": [0, -2 * TITLE], "size": [NOTE_WIDTH, NOTE_HEIGHT],
        "flags": {}, "order": 0, "mode": 0, "inputs": [], "outputs": [], "title": "Read me",
        "properties": {}, "widgets_values": [text], "color": "#432", "bgcolor": "#653",
    }  # fmt: skip


def described(graph: dict[str, Any], workflow: Workflow) -> dict[str, Any]:
    """The graph with each node's origin, its title, and links to the released files on the loaders."""
    titles = {workflow.ids()[key]: step.title for key, step in workflow.steps.items()}
    for node in graph["nodes"]:
        kind, properties = node["type"], node.setdefault("properties", {})
        if kind.startswith("LoomVideo"):
            properties |= {"cnr_id": PACK_ID, "ver": PACK_VERSION}
        elif kind != "MarkdownNote":
            properties |= {"cnr_id": "comfy-core", "ver": "0.28.0"}
        properties.setdefault("Node name for S&R", kind)
        if kind in RELEASED:
            properties["models"] = list(RELEASED[kind])
        title = titles.get(str(node["id"]))
        node.pop("title", None) if title is None and kind != "MarkdownNote" else None
        if title is not None:
            node["title"] = title
    return graph


def as_api(prompt: dict[str, Any], workflow: Workflow) -> dict[str, Any]:
    """The prompt with its nodes in reading order, as the definition says, with the frontend's defaults for the rest."""

    def node(number: str, defined: dict[str, Any]) -> dict[str, Any]:
        # what only shows something in the browser is no input of the node
        found = {name: value for name, value in prompt[number]["inputs"].items() if name not in SHOWN_ONLY}
        return defined | {"inputs": found | defined["inputs"]}

    return {number: node(number, defined) for number, defined in workflow.api().items()}


def core_nodes(server: str) -> dict[str, Any]:
    """What the workflows' nodes of ComfyUI's own take and give, for tests without one."""
    kinds = {step.kind for workflow in WORKFLOWS for step in workflow.steps.values()}
    found = {}
    for kind in sorted(kind for kind in kinds if not kind.startswith("LoomVideo")):
        with urllib.request.urlopen(f"{server}/object_info/{kind}", timeout=60) as answer:
            info = json.loads(answer.read())[kind]
        found[kind] = {
            "required": sorted(info["input"].get("required", {})),
            "optional": sorted(info["input"].get("optional", {})),
            "outputs": info["output"],
        }
    return found


def write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON as people read it."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Build every workflow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8188", help="address of a running ComfyUI with this pack")
    server = parser.parse_args().server
    (FOLDER / "api").mkdir(parents=True, exist_ok=True)
    prompts = {workflow.name: workflow.prompt() for workflow in WORKFLOWS}
    made = graphs_of(prompts, server)
    for workflow in WORKFLOWS:
        graph = described(arranged(workflow, made[workflow.name]["graph"]), workflow)
        write(FOLDER / f"{workflow.name}.json", graph)
        write(FOLDER / "api" / f"{workflow.name}.json", as_api(made[workflow.name]["prompt"], workflow))
    write(CORE_NODES, core_nodes(server))


if __name__ == "__main__":
    main()
