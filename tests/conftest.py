"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEAST_PSNR, LEAST_PSNR_OF_THINGS = 25.0, 18.0
"""Decibels of what an edit leaves alone, against its source, and of things in front of another background, whose edges
change; the built-in codec alone leaves 32."""


def _by_path(name: str, path: str):
    """A module below tests/: the tests are no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Reference numbers of the official code; LOOM_GOLDEN_DIR names a larger set of the same layout."""
    return Path(os.environ.get("LOOM_GOLDEN_DIR", ROOT / "tests" / "golden"))


@pytest.fixture(scope="session")
def reference_dit():
    """The slow DiT of tests/reference."""
    return _by_path("reference_dit", "reference/dit.py").forward


@pytest.fixture(scope="session")
def harbour() -> Path:
    """A clip with sound: 320 x 192, 49 frames at 24 a second."""
    return ROOT / "demo" / "harbour.mp4"


@pytest.fixture(scope="session")
def shapes() -> Path:
    """A clip with sound of the world that the built-in model knows: 128 x 128, 33 frames at 24 a second."""
    return ROOT / "demo" / "shapes.mp4"


@pytest.fixture(scope="session")
def still() -> Path:
    """A still image, 128 x 128."""
    return ROOT / "demo" / "shapes.png"


@pytest.fixture(scope="session")
def answers():
    """What each bundled workflow is to make; see workflows/answers.py."""
    return _by_path("loom_answers", "workflows/answers.py")


@pytest.fixture(scope="session")
def assert_obeyed(answers):
    """Asserts of a result that what was asked is there, all things too, and that these have the colours they should."""
    import torch

    from loom_core.bundle import BUILT_IN
    from loom_core.data.world.render import render
    from loom_core.evaluation.alternatives import NOTHING
    from loom_core.evaluation.judge import judge
    from loom_core.evaluation.measures import unchanged_psnr
    from loom_core.evaluation.regions import erode
    from loom_core.vae.loading import load_codec

    def check(frames, name):
        request = answers.ANSWERS[name]
        verdict = judge(request, frames, codec=load_codec(BUILT_IN / "codec.safetensors"))
        assert verdict.is_asked_right, verdict
        assert not [part for part in verdict.changed if part.endswith(f": {NOTHING}")], verdict
        if request.before is None:
            return
        before = render(request.before, num_frames=len(frames))
        truth = render(request.after, num_frames=len(frames))
        for index, thing in enumerate(request.after.things):
            inside = erode(truth.masks[index] > 0, 2)
            means = torch.stack([frame[mask].float().mean(0) for frame, mask in zip(frames, inside, strict=True)])
            assert float((means - torch.tensor(thing.rgb)).norm(dim=1).max()) < 70, thing  # blue to purple is 107
        stayed = unchanged_psnr(frames, source=before.frames, truth=truth.frames)
        asks_for_background = any(ask.attribute == "background" for ask in request.asks)
        assert stayed > (LEAST_PSNR_OF_THINGS if asks_for_background else LEAST_PSNR), stayed

    return check


@pytest.fixture(scope="session")
def small_dit(tmp_path_factory) -> Path:
    """Weights of a DiT small enough to run in a moment, for the built-in MLLM and codec; random everywhere."""
    import torch

    from loom_core.config.model import DiTConfig
    from loom_core.models.dit import LoomDiT
    from loom_core.models.initialise import initialise
    from loom_core.weights.saving import entries_of, save_safetensors

    config = DiTConfig(
        hidden_size=48, num_heads=2, head_dim=24, num_layers=2, ffn_dim=64, time_embed_dim=32, mllm_dim=128
    )
    model = LoomDiT(config)
    generator = torch.Generator().manual_seed(0)
    initialise(model, generator=generator)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_safetensors(
        path, entries_of(model.state_dict()), metadata={"format": "loomvideo-dit", "config": config.to_json()}
    )
    return path


@pytest.fixture(scope="session")
def small_files(small_dit):
    """The small DiT with the built-in MLLM and codec."""
    from loom_core.bundle import BUILT_IN, find_model

    return find_model(small_dit, mllm=BUILT_IN / "mllm", codec=BUILT_IN / "codec.safetensors")


@pytest.fixture(scope="module")
def stand_in():
    """Imports a module of the node pack by its name, without ComfyUI; see stand_ins.py."""
    module = _by_path("loom_stand_ins", "stand_ins.py")
    if module.loaded_hosts():
        pytest.skip("ComfyUI itself is loaded in this process")
    with module.stand_ins() as load:
        yield load


@pytest.fixture(scope="module")
def schemas(stand_in):
    """Schema of every node of the pack, by id."""
    return {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in stand_in("nodes.catalogue").NODES}


@pytest.fixture(scope="session")
def ranks_module():
    return _by_path("loom_ranks", "ranks.py")


@pytest.fixture
def processes(ranks_module):
    """Runs functions in several processes that are a group; see ranks.py.

    What they are compared with is computed on one thread as well: another number adds up in another order, and Adam
    makes whole steps of the signs of gradients near zero.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ranks_module
    torch.set_num_threads(threads)
