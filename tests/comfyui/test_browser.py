"""The bundled workflows in ComfyUI's own frontend, in headless Chromium; skipped where there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
SCRIPT = ROOT / "scripts" / "workflows" / "screenshots.mjs"


@pytest.fixture(scope="module")
def opened(server, tmp_path_factory):
    """Opens templates and gives back what was found in each, and the folder of the pictures."""
    if shutil.which("node") is None or not (os.environ.get("CHROMIUM") or shutil.which("chromium")):
        pytest.skip("needs node and Chromium (CHROMIUM names it)")
    modules = Path(os.environ.get("PW_DIR", ROOT)) / "node_modules" / "playwright-core"
    if not modules.is_dir():
        pytest.skip("needs npm's playwright-core: set PW_DIR to the folder that has node_modules")
    folder = tmp_path_factory.mktemp("pictures")

    def run(*words):
        command = ["node", str(SCRIPT), server.url, str(folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.stdout, done.stderr
        return {found["name"]: found for found in map(json.loads, done.stdout.splitlines())}

    run.folder = folder
    return run


def test_every_template_opens_without_a_missing_node(opened):
    found = opened(*NAMES)
    assert set(found) == set(NAMES)
    for name, one in found.items():
        assert one["missing"] == [] and one["dialogs"] == [] and one["errors"] == [], one
        assert (opened.folder / f"{name}.jpg").stat().st_size > 20_000


@pytest.mark.parametrize("renderer", [(), ("--vue",)], ids=["classic", "vue"])
def test_a_template_runs_from_the_browser(opened, renderer):
    found = opened("--run", *renderer, "image_edit")["image_edit"]
    assert found["run"] == "success", found
