"""How long the pack takes to import and to register its nodes, over torch and what ComfyUI has imported by then.

Each in a process of its own, in turns, processor time. Inside ComfyUI where COMFYUI_PATH names a checkout and
COMFYUI_PYTHON its interpreter (this one where it names none).

`python -m benchmarks.imports [CHECKOUT]` measures once in this process, and prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .registry import Benchmark
from .report import Comparison, Figure
from .timing import median

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
UNWANTED = ("diffusers", "transformers")
"""Heavy packages that the pack must not import."""


@dataclass(frozen=True)
class Imports:
    """Of one process.

    Args:
        host: Seconds of processor time from the start of Python until torch and the host's own modules were there.
        pack: Those that the pack took then, until its nodes were listed.
        nodes: How many nodes.
        unwanted: Packages of `UNWANTED` that the pack imported.
        modules: All that it imported, its own as "loom_pack.".
    """

    host: float
    pack: float
    nodes: int
    unwanted: list[str]
    modules: list[str]


async def _node_list(module: Any) -> list[Any]:
    extension = await module.comfy_entrypoint()
    return list(await extension.get_node_list())


def measure_here(checkout: Path) -> Imports:
    """Import ComfyUI, then the pack, in this process, as ComfyUI's own loader does.

    Args:
        checkout: Folder of ComfyUI.
    """
    sys.path.insert(0, str(checkout))
    sys.argv = [str(checkout / "main.py"), "--cpu"]
    import comfy.options  # noqa: PLC0415 - of the checkout, which is found only now

    comfy.options.enable_args_parsing()
    for name in (
        "torch",
        "nodes",
        "comfy.sd",
        "comfy.samplers",
        "comfy_api.latest",
        "comfy_extras.nodes_custom_sampler",
    ):
        importlib.import_module(name)
    before = set(sys.modules)
    loaded = time.process_time()
    spec = importlib.util.spec_from_file_location(
        "loom_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    nodes = asyncio.run(_node_list(module))
    end = time.process_time()
    modules = [name for name in sys.modules if name not in before]
    unwanted = [name for name in UNWANTED if name in modules]
    return Imports(host=loaded, pack=end - loaded, nodes=len(nodes), unwanted=unwanted, modules=modules)


def measure_apart(checkout: Path, python: str) -> Imports:
    """`measure_here` in a fresh process of another interpreter, which keeps compiled files as ComfyUI's does."""
    command = [python, "-m", "benchmarks.imports", str(checkout)]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=ROOT, env=kept, check=True, capture_output=True, text=True)
    return Imports(**json.loads(done.stdout.splitlines()[-1]))


def missing() -> str | None:
    """Why it cannot run here."""
    if "COMFYUI_PATH" in os.environ:
        return None
    return (
        "It needs a ComfyUI checkout: set COMFYUI_PATH, and COMFYUI_PYTHON where another interpreter has its packages."
    )


def measure() -> Iterator[Comparison]:
    """Import of the pack against that of the host; and packages that it should not import."""
    checkout, python = Path(os.environ["COMFYUI_PATH"]).resolve(), os.environ.get("COMFYUI_PYTHON", sys.executable)
    measure_apart(checkout, python)  # fills the caches of the file system and of Python
    found = [measure_apart(checkout, python) for _ in range(ROUNDS)]
    ratios = [one.host / one.pack for one in found]
    yield Comparison(
        key="import_pack",
        title=f"processor time of importing the pack and listing its {found[0].nodes} nodes, against its host",
        first=Figure("torch and ComfyUI", median([one.host for one in found])),
        second=Figure("the pack, over them", median([one.pack for one in found])),
        unit="s",
        conditions=f"a fresh process each, median of {ROUNDS}, ComfyUI on the CPU",
        spread=(min(ratios), max(ratios)),
    )
    yield Comparison(
        key="import_unwanted",
        title=f"packages imported, of {' and '.join(UNWANTED)}",
        first=Figure("the pack", max(len(one.unwanted) for one in found)),
        second=Figure("all of them", len(UNWANTED)),
        unit="packages",
        conditions="inside ComfyUI, over what it imports itself",
    )


BENCHMARK = Benchmark(
    about="time of importing the pack and registering its nodes inside ComfyUI",
    seconds=25,
    measure=measure,
    missing=missing,
)


if __name__ == "__main__":
    print(json.dumps(vars(measure_here(Path(sys.argv[1])))))
