"""The pack inside ComfyUI's own modules, in this process and on the CPU; skipped where there is no ComfyUI.

COMFYUI_PATH names a checkout. Its requirements must be installed for the interpreter that runs these tests; where they
are in another one, COMFYUI_PYTHON names that, and `tests/comfyui/test_inside.py` runs them there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACK = "loomvideo_pack"
"""Name under which the pack is imported; in a server it is the path of its folder."""


def reason_to_skip() -> str:
    """Why ComfyUI cannot be imported here; empty if it can."""
    checkout = os.environ.get("COMFYUI_PATH")
    if not checkout:
        return "needs a ComfyUI checkout: set COMFYUI_PATH"
    if not Path(checkout, "comfy", "model_management.py").is_file():
        return f"COMFYUI_PATH ({checkout}) is no ComfyUI checkout"
    python = os.environ.get("COMFYUI_PYTHON")
    if python and Path(python).absolute() != Path(sys.executable).absolute():
        return "runs in COMFYUI_PYTHON instead, by tests/comfyui/test_inside.py"
    return ""


@pytest.fixture(scope="session")
def comfyui():
    """ComfyUI's modules, importable, without CUDA; the folder of the checkout."""
    if reason := reason_to_skip():
        pytest.skip(reason)
    checkout = os.environ["COMFYUI_PATH"]
    # the project's own folder has a package `nodes`, and so has ComfyUI: that one must come first here
    sys.path[:] = [checkout, *(entry for entry in sys.path if entry and Path(entry).resolve() != ROOT)]
    import comfy.options

    comfy.options.enable_args_parsing(False)
    from comfy.cli_args import args

    args.cpu = True
    return Path(checkout)


@pytest.fixture(scope="session")
def pack(comfyui):
    """The pack as a package of the host."""
    if PACK in sys.modules:
        return sys.modules[PACK]
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _inference_mode():
    """As the host runs its nodes."""
    import torch

    with torch.inference_mode():
        yield
