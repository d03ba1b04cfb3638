"""Small Qwen3-VLs as the host's CLIP, and requests to read with them."""

from __future__ import annotations

import json
import shutil
from importlib import import_module

import pytest
import torch

GOLDEN_BLOCKS = 3


@pytest.fixture
def part(pack):
    """A module of the pack by its name."""
    return lambda name: import_module(f"{pack.__name__}.{name}")


@pytest.fixture
def encoder(part):
    return part("nodes.adapter.encoder")


@pytest.fixture
def loading(part):
    return part("nodes.adapter.encoder_loading")


@pytest.fixture
def types(part):
    return part("loom_core.types")


@pytest.fixture
def copy_golden(golden_dir, tmp_path):
    """Copies the tiny Qwen3-VL of the recorded cases to a folder, with more entries in its `config.json`."""

    def copy(name, **entries):
        folder = tmp_path / name
        shutil.copytree(golden_dir / "models" / "tiny" / "qwen", folder)
        config = folder / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | entries))
        return folder

    return copy


@pytest.fixture
def golden_folder(copy_golden):
    """That of the recorded cases, said to be read by a DiT of three blocks."""
    return copy_golden("golden", loom_num_blocks=GOLDEN_BLOCKS)


@pytest.fixture
def golden_clip(loading, golden_folder):
    return loading.load_path(golden_folder)


SHAPED_LIKE_8B = {
    "text_config": {
        "hidden_size": 256, "intermediate_size": 320, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 337, "max_position_embeddings": 4096,
    },
    "vision_config": {
        "depth": 9, "hidden_size": 96, "intermediate_size": 128, "num_heads": 4, "out_hidden_size": 256,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [2, 4, 7],
    },
}  # fmt: skip
"""Heads of 128, queries that share keys, three levels of deepstack, the rotary sections of the 8B."""


@pytest.fixture(scope="session")
def shaped_folder(golden_dir, tmp_path_factory, pack):
    """A random Qwen3-VL with the proportions of the 8B, float32, in three shards as on the model hub."""
    transformers = pytest.importorskip("transformers")
    loading = import_module(f"{pack.__name__}.loom_core.mllm.loading")
    values = json.loads(json.dumps(dict(loading.QWEN3_VL_8B)))
    ids = {"image_token_id": 335, "video_token_id": 336, "vision_start_token_id": 332, "vision_end_token_id": 333}
    for name, changed in SHAPED_LIKE_8B.items():
        values[name] |= changed
    values |= ids | {"loom_num_blocks": 5, "tie_word_embeddings": False}
    torch.manual_seed(0)
    with torch.inference_mode(False):
        model = transformers.Qwen3VLForConditionalGeneration(transformers.Qwen3VLConfig(**values))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:  # norms and biases that are not trivial
                weight.add_(0.1 * torch.randn_like(weight))
            elif "layers." in name:
                weight.mul_(3)
    folder = tmp_path_factory.mktemp("shaped")
    model.save_pretrained(folder, max_shard_size="3MB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    (folder / "config.json").write_text(json.dumps(values))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(golden_dir / "models" / "tiny" / "qwen" / name, folder / name)
    return folder


@pytest.fixture
def pictures():
    """Random uint8 frames [T, height, width, 3]."""

    def make(num_frames, height, width, *, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator, dtype=torch.uint8)

    return make


@pytest.fixture
def request_of(encoder, types):
    """Makes a request; text to video unless told otherwise."""

    def make(**values):
        given = {"task": types.Task.TEXT_TO_VIDEO, "prompt": "a cat", "negative_prompt": "blurry", "max_frames": 4}
        return encoder.EncodeRequest(**{**given, **values})

    return make


@pytest.fixture
def edit_of(request_of, types, pictures):
    """Makes an edit of a clip with two references."""

    def make(**values):
        given = {
            "task": types.Task.REFERENCE_EDIT,
            "prompt": "the hat of @Image 2 on @Image 1",
            "source": types.Clip(pictures(9, 64, 96, seed=1), 24.0),
            "references": (
                types.Clip(pictures(1, 64, 64, seed=2), 0.0, is_image=True),
                types.Clip(pictures(1, 50, 90, seed=3), 0.0, is_image=True),
            ),
        }
        return request_of(**{**given, **values})

    return make


@pytest.fixture
def make_cache(part, tmp_path):
    """Makes a cache of its own."""

    def make(*, most_memory=1 << 30, most_disk=1 << 30):
        return part("nodes.adapter.encoder_cache").StateCache(
            most_memory=lambda: most_memory, folder=lambda: tmp_path / "prompts", most_disk=most_disk
        )

    return make


@pytest.fixture
def cache(make_cache):
    return make_cache()


@pytest.fixture
def read(encoder, part, make_cache):
    """Reads a request with a CLIP, and with an empty cache unless one is given."""

    def run(clip, request, *, cache=None):
        progress = part("nodes.adapter.progress").NodeProgress()
        return encoder.encode(clip, request, progress=progress, cache=make_cache() if cache is None else cache)

    return run


@pytest.fixture
def passes():
    """Counts passes through a CLIP's language model, by the length of the prompt."""

    def watch(clip):
        lengths = []
        norm = next(m for name, m in clip.cond_stage_model.named_modules() if name.endswith("transformer.model.norm"))
        norm.register_forward_pre_hook(lambda _module, args: lengths.append(args[0].shape[1]))
        return lengths

    return watch
