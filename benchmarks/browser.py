"""How smoothly a graph of a hundred nodes moves in the browser, with the pack's panels and without.

`python -m benchmarks.browser`, some minutes: too long to be one of those that run together. In a real ComfyUI and
headless Chromium, drawn by the processor: COMFYUI_PATH names the checkout, COMFYUI_PYTHON its interpreter, PW_DIR the
folder whose node_modules has playwright-core, CHROMIUM the browser. Writes benchmarks/results/browser.json; see
docs/performance.md.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from .__main__ import RESULTS, run
from .registry import Benchmark
from .report import Comparison, Figure
from .timing import median

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = Path(__file__).with_suffix(".mjs")
SERVER = ROOT / "tests" / "comfyui" / "server.py"
RENDERERS = {"classic": "classic canvas", "vue": "Vue nodes"}
ROUNDS = 3
SECONDS = 4
MEASURES = {
    "fps": ("frames a second", "1/s"),
    "longest": ("the longest frame", "ms"),
    "busy": ("the main thread's processor time a frame", "ms"),
}
"""Key of the script's output -> what it is, and its unit."""


def _server() -> ModuleType:
    """The tests' way to start a ComfyUI; they are no package."""
    name = "loom_benchmark_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, SERVER)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def missing() -> str | None:
    """Why it cannot run here, or None."""
    found = _server().checkout_and_python()
    if isinstance(found, str):
        return found
    if shutil.which("node") is None or not (os.environ.get("CHROMIUM") or shutil.which("chromium")):
        return "needs node and Chromium (CHROMIUM names it)"
    if not (Path(os.environ.get("PW_DIR", Path.cwd())) / "node_modules" / "playwright-core").is_dir():
        return "needs npm's playwright-core: set PW_DIR to the folder that has node_modules"
    return None


def drag(url: str, renderer: str, *, rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Any]:
    """Drag the canvas of the graph; what the script measured.

    Args:
        url: Address of a ComfyUI with the pack.
        renderer: A key of `RENDERERS`.
        rounds: How often, with panels and without.
        seconds: How long each time.

    Raises:
        RuntimeError: The script failed; its message says how.
    """
    command = ["node", str(SCRIPT), url, renderer, str(rounds), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{SCRIPT.name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(renderer: str, found: Mapping[str, Any]) -> list[Comparison]:
    """The comparisons of a renderer.

    Args:
        renderer: A key of `RENDERERS`.
        found: What `drag` gave.
    """
    rounds = found["rounds"]
    conditions = (
        f"{found['nodes']} nodes, {found['panels']} panels, headless Chromium {found['browser'].partition('.')[0]} "
        f"without a GPU, 1600x1000 pixels at a zoom of 0.5, dragged for {SECONDS} s, median of {len(rounds)} rounds"
    )
    made = []
    for key, (what, unit) in MEASURES.items():
        without, with_panels = ([one[side][key] for one in rounds] for side in ("without", "with"))
        ratios = [first / second for first, second in zip(without, with_panels, strict=True)]
        made.append(
            Comparison(
                key=f"browser_{key}_{renderer}",
                title=f"{what} while the canvas is dragged, {RENDERERS[renderer]}",
                first=Figure("plain widgets", median(without)),
                second=Figure("with panels", median(with_panels)),
                unit=unit,
                conditions=conditions,
                spread=(min(ratios), max(ratios)),
            )
        )
    return made


def measure() -> Iterator[Comparison]:
    """Both renderers, in one server."""
    module = _server()
    checkout, python = module.checkout_and_python()
    with tempfile.TemporaryDirectory() as folder:
        server = module.Server(checkout, python, Path(folder))
        try:
            server.wait()
            for renderer in RENDERERS:
                yield from compare(renderer, drag(server.url, renderer))
        finally:
            server.stop()


def main() -> None:
    """Run, print, write; or say what is missing."""
    run(SCRIPT.stem, BENCHMARK, RESULTS)


BENCHMARK = Benchmark(
    about="frames in the browser while a graph of a hundred nodes is dragged",
    seconds=150,
    measure=measure,
    missing=missing,
)

if __name__ == "__main__":
    main()
