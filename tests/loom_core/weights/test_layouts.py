"""Which file of a folder is taken."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from loom_core.errors import WeightsError
from loom_core.weights.layouts import find_weights, step_folder_name, step_folders


def touch(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("present", "ema", "taken"),
    [
        (("ema/ema.pth", "latest/gen_model.pth", "gen_model.pth"), True, "ema/ema.pth"),
        (("ema/ema.pth", "latest/gen_model.pth", "gen_model.pth"), False, "latest/gen_model.pth"),
        (("latest/gen_model.pth", "gen_model.pth"), True, "latest/gen_model.pth"),
        (("gen_model.pth", "other.safetensors"), True, "gen_model.pth"),
        (("gen_model.safetensors", "qwen/model.safetensors"), True, "gen_model.safetensors"),
        (("dit.safetensors", "vae.safetensors"), True, "dit.safetensors"),
        (("lora.safetensors", "lora_ema.safetensors", "rng.safetensors"), True, "lora_ema.safetensors"),
        (("lora.safetensors", "lora_ema.safetensors", "rng.safetensors"), False, "lora.safetensors"),
        (("lora.safetensors", "dit.safetensors"), True, "dit.safetensors"),
        (
            ("transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"),
            True,
            "transformer/diffusion_pytorch_model.safetensors",
        ),
        (
            ("diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model-00001-of-2.safetensors"),
            True,
            "diffusion_pytorch_model.safetensors.index.json",
        ),
        (("my_model.safetensors", "README.md"), True, "my_model.safetensors"),
        (
            ("ema.safetensors", "model.safetensors", "optimiser.safetensors", "rng.safetensors"),
            True,
            "ema.safetensors",
        ),
        (
            ("checkpoints/step-000900/model.safetensors", "checkpoints/step-1000000/ema.safetensors"),
            True,
            "checkpoints/step-1000000/ema.safetensors",
        ),
        (
            ("checkpoints/step-000900/model.safetensors", "checkpoints/.step-001000.partial/model.safetensors"),
            True,
            "checkpoints/step-000900/model.safetensors",
        ),
    ],
)
def test_priority(tmp_path, present, ema, taken):
    touch(tmp_path, present)
    assert find_weights(tmp_path, ema=ema) == tmp_path / taken


def test_steps_of_a_run_in_the_order_of_their_numbers(tmp_path):
    touch(tmp_path, [f"checkpoints/{step_folder_name(step)}/x" for step in (1_000_000, 5, 900)])
    touch(tmp_path, ["checkpoints/step-7/x", "checkpoints/notes.txt"])
    assert list(step_folders(tmp_path)) == [5, 900, 1_000_000]
    assert step_folders(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize(
    ("present", "found"),
    [((), "no weights in the folder"), (("README.md",), "no weights"), (("a.safetensors", "b.safetensors"), "2 safet")],
)
def test_no_choice_is_refused(tmp_path, present, found):
    touch(tmp_path, present)
    with pytest.raises(WeightsError, match=found):
        find_weights(tmp_path)


WAN = {"blocks.0.self_attn.q.weight": (2, 2), "patch_embedding.weight": (2, 48, 1, 2, 2)}
LOOMVIDEO = WAN | {"mllm_embedder.norm.weight": (4,), "source_patch_embedding.bias": (2,)}
VAE = {"decoder.conv1.weight": (2, 48), "conv2.weight": (48, 48, 1, 1, 1)}
QWEN = {"model.visual.deepstack_merger_list.0.norm.weight": (2,)}


@pytest.fixture
def fill(tmp_path):
    """Write small files of the named models; an index is one with two shards."""

    def tensors(shapes):
        return {name: torch.zeros(shape) for name, shape in shapes.items()}

    def write(models):
        for name, shapes in models.items():
            if not name.endswith(".index.json"):
                save_file(tensors(shapes), tmp_path / name)
                continue
            stem = name.partition(".")[0]
            shard_of = {key: f"{stem}-{number % 2}.safetensors" for number, key in enumerate(shapes)}
            for shard in set(shard_of.values()):
                part = {key: shape for key, shape in shapes.items() if shard_of[key] == shard}
                save_file(tensors(part), tmp_path / shard)
            (tmp_path / name).write_text(json.dumps({"weight_map": shard_of}))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("models", "taken"),
    [
        ({"loomvideo.safetensors": LOOMVIDEO, "wan2.2_vae.safetensors": VAE, "qwen.safetensors": QWEN}, "loomvideo"),
        ({"a.safetensors": VAE, "model.safetensors": QWEN, "z.safetensors": LOOMVIDEO}, "z"),
        ({"a.safetensors": WAN, "z.safetensors": LOOMVIDEO}, "z"),
        ({"a.safetensors": QWEN, "z.safetensors": WAN}, "z"),
        ({"x.safetensors.index.json": QWEN | VAE}, "x.safetensors.index.json"),
        ({"model.safetensors.index.json": QWEN, "x.safetensors.index.json": LOOMVIDEO}, "x.safetensors.index.json"),
        ({"model.safetensors.index.json": QWEN, "other.safetensors": VAE}, "model.safetensors.index.json"),
        ({"diffusion_pytorch_model.safetensors": WAN, "z.safetensors": WAN}, "diffusion_pytorch_model"),
    ],
)
def test_of_several_files_the_dit_is_taken(fill, models, taken):
    folder = fill(models)
    (folder / "broken.safetensors").write_bytes(b"")
    (folder / "README.md").touch()
    if len(models) == 1:
        (folder / "broken.safetensors").unlink()
    assert find_weights(folder).name in (taken, f"{taken}.safetensors")


@pytest.mark.parametrize(
    ("models", "found"),
    [
        ({"a.safetensors": LOOMVIDEO, "b.safetensors": LOOMVIDEO, "c.safetensors": WAN}, "a.safetensors: a LoomVideo"),
        ({"a.safetensors": WAN, "b.safetensors": WAN, "model.safetensors": QWEN}, "b.safetensors: a plain Wan"),
        ({"a.safetensors": VAE, "b.safetensors": QWEN}, "a.safetensors: a Wan 2.2 VAE.*b.safetensors: a Qwen3-VL"),
    ],
)
def test_two_dits_or_none_are_refused_and_every_file_named(fill, models, found):
    with pytest.raises(WeightsError, match=rf"{len(models)} safetensors files.*{found}.*the file itself"):
        find_weights(fill(models))


def test_files_that_cannot_be_read_are_called_damaged(tmp_path):
    touch(tmp_path, ("a.safetensors", "b.safetensors.index.json"))
    with pytest.raises(WeightsError, match=r"2 safet.*index\.json: damaged, a\.safetensors: damaged"):
        find_weights(tmp_path)
