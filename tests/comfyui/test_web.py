"""The panels of `web/js` in ComfyUI's own frontend, in headless Chromium: each `browser/*.test.mjs` under node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "browser").glob("*.test.mjs"))


@pytest.fixture(scope="module")
def tools() -> dict[str, str]:
    """The environment of a run, where there are a browser and the modules that drive it."""
    if shutil.which("node") is None or not (os.environ.get("CHROMIUM") or shutil.which("chromium")):
        pytest.skip("needs node and Chromium (CHROMIUM names it)")
    folder = Path(os.environ.get("PW_DIR", HERE.parents[1]))
    missing = [name for name in ("playwright-core", "axe-core") if not (folder / "node_modules" / name).is_dir()]
    if missing:
        pytest.skip(f"needs npm's {' and '.join(missing)}: set PW_DIR to the folder that has node_modules")
    return os.environ | {"PW_DIR": str(folder)}


@pytest.mark.parametrize("file", FILES, ids=[file.name.removesuffix(".test.mjs") for file in FILES])
def test_panels(file, tools, server):
    command = ["node", "--test", "--test-reporter=spec", str(file)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=900, env=tools | {"LOOM_SERVER": server.url}
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
