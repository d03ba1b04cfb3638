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
import uuid
from pathlib import Path
from typing import Any

from .definitions import PACK_ID, PACK_VERSION, RELEASED, WORKFLOWS
from .graph import Workflow

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workflows"
GAP, TITLE, MARGIN = 40, 36, 24  # pixels: between nodes, of a node's title bar, around the nodes of a frame
NOTE_WIDTH, NOTE_HEIGHT = 420, 560
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
            height = float(node["size"][1])
            node["pos"], node["size"] = [left, top], [width, height]
            top += height + GAP + TITLE
        box = [left - MARGIN, -2.0 * TITLE, width + 2 * MARGIN, top + 2 * TITLE - GAP + MARGIN - TITLE]
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


def main() -> None:
    """Build every workflow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8188", help="address of a running ComfyUI with this pack")
    server = parser.parse_args().server
    (FOLDER / "api").mkdir(parents=True, exist_ok=True)
    prompts = {workflow.name: workflow.api() for workflow in WORKFLOWS}
    made = graphs_of(prompts, server)
    for workflow in WORKFLOWS:
        graph = described(arranged(workflow, made[workflow.name]["graph"]), workflow)
        (FOLDER / f"{workflow.name}.json").write_text(json.dumps(graph, indent=1, ensure_ascii=False) + "\n")
        api = json.dumps(prompts[workflow.name], indent=1, ensure_ascii=False)
        (FOLDER / "api" / f"{workflow.name}.json").write_text(api + "\n")


if __name__ == "__main__":
    main()
