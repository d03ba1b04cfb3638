"""How much this pack adds to ComfyUI's start: the same start with and without it, in turn.

    COMFYUI_PATH=... COMFYUI_PYTHON=... python -m benchmarks.cold_start [--rounds 5]

Time runs from the start of the process until the server answers. The machine's noise is larger than the pack's share of
it, so the time that ComfyUI itself measures for importing the pack is printed beside it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_IMPORT_TIME = re.compile(r"([\d.]+) seconds.*comfyui-loomvideo")


def _server_class() -> Any:
    """The tests' server, loaded by path: the tests are no package."""
    spec = importlib.util.spec_from_file_location("loom_test_server", ROOT / "tests" / "comfyui" / "server.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.Server


def _start(server: Any, *, has_pack: bool) -> tuple[float, float]:
    """(seconds until it answers, seconds that it says the pack's import took)."""
    flags = () if has_pack else ("--disable-all-custom-nodes",)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        running = server(
            Path(os.environ["COMFYUI_PATH"]),
            os.environ.get("COMFYUI_PYTHON", sys.executable),
            Path(folder),
            flags=flags,
        )
        try:
            running.wait()
            seconds = time.perf_counter() - begin
            match = _IMPORT_TIME.search(running.log.read_text(errors="replace"))
        finally:
            running.stop()
    return seconds, float(match.group(1)) if match else 0.0


def main() -> None:
    """Print both, and the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="starts of each kind")
    rounds = parser.parse_args().rounds
    server = _server_class()
    _start(server, has_pack=True)  # fills the caches of the file system and of Python
    taken: dict[bool, list[float]] = {True: [], False: []}
    imports = []
    for number in range(rounds):
        for has_pack in (number % 2 == 0, number % 2 == 1):
            seconds, imported = _start(server, has_pack=has_pack)
            taken[has_pack].append(seconds)
            imports += [imported] if has_pack else []
    middle = {has_pack: statistics.median(seconds) for has_pack, seconds in taken.items()}
    for has_pack, seconds in taken.items():
        name = "with it" if has_pack else "without the pack"
        print(f"{name}: median {middle[has_pack]:.2f} s, {min(seconds):.2f} to {max(seconds):.2f}")
    print(f"difference {middle[True] - middle[False]:+.2f} s, ratio {middle[True] / middle[False]:.3f}")
    print(f"ComfyUI's own measure of the pack's import: median {statistics.median(imports):.1f} s")


if __name__ == "__main__":
    main()
