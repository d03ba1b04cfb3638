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
    return part("nodes.adapter.encoder.encoding")


@pytest.fixture
def loading(part):
    return part("nodes.adapter.encoder.loading")


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
def save_random(pack):
    """Saves a random Qwen3-VL in float32: the 8B's configuration with some entries changed."""
    transformers = pytest.importorskip("transformers")
    released = import_module(f"{pack.__name__}.loom_core.mllm.loading").QWEN3_VL_8B

    def save(folder, changes, *, max_shard_size="5GB"):
        values = json.loads(json.dumps(dict(released)))
        for name, changed in changes.items():
            values[name] = values[name] | changed if isinstance(changed, dict) else changed
        torch.manual_seed(0)
        with torch.inference_mode(False):
            model = transformers.Qwen3VLForConditionalGeneration(transformers.Qwen3VLConfig(**values))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim == 1:  # norms and biases that are not trivial
                    weight.add_(0.1 * torch.randn_like(weight))
                elif "layers." in name:
                    weight.mul_(3)
        model.save_pretrained(folder, max_shard_size=max_shard_size)
        (folder / "config.json").write_text(json.dumps(values))
        return folder

    return save


@pytest.fixture(scope="session")
def shaped_folder(golden_dir, tmp_path_factory, save_random):
    """A random Qwen3-VL with the proportions of the 8B, in several shards as on the model hub."""
    ids = {"image_token_id": 335, "video_token_id": 336, "vision_start_token_id": 332, "vision_end_token_id": 333}
    changes = {**SHAPED_LIKE_8B, **ids, "loom_num_blocks": 5}
    folder = save_random(tmp_path_factory.mktemp("shaped"), changes, max_shard_size="3MB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(golden_dir / "models" / "tiny" / "qwen" / name, folder / name)
    return folder


SMALL_8B_LAYERS, SMALL_8B_WIDTH, SMALL_8B_BLOCKS = 6, 64, 4
_SMALL_TEXT = {
    "hidden_size": SMALL_8B_WIDTH, "intermediate_size": 96, "num_hidden_layers": SMALL_8B_LAYERS,
    "num_attention_heads": 2, "num_key_value_heads": 1,
}  # fmt: skip
_SMALL_VISION = {"hidden_size": 32, "intermediate_size": 48, "depth": 4, "deepstack_visual_indexes": [0, 1, 2]}
_SMALL_COMMON = {"num_heads": 2, "num_position_embeddings": 64}


@pytest.fixture(scope="session")
def small_8b_folder(tmp_path_factory, save_random):
    """What stands in for Qwen3-VL-8B: its vocabulary and names, narrow and shallow."""
    vision = {**_SMALL_VISION, **_SMALL_COMMON, "out_hidden_size": SMALL_8B_WIDTH}
    changes = {"text_config": _SMALL_TEXT, "vision_config": vision, "tie_word_embeddings": True}
    return save_random(tmp_path_factory.mktemp("small_8b"), changes)


@pytest.fixture
def host_knows_small_8b(part, monkeypatch):
    """The host's own Qwen3-VL-8B classes at the size of that model, which a DiT of four blocks is said to read."""
    from functools import partial

    from comfy.text_encoders import llama, qwen3vl

    config = partial(llama.Qwen3VL_8BConfig, **_SMALL_TEXT, lm_head=False)
    monkeypatch.setitem(qwen3vl.QWEN3VL_CONFIGS, "qwen3vl_8b", config)
    monkeypatch.setitem(qwen3vl.QWEN3VL_VISION, "qwen3vl_8b", _SMALL_VISION)
    for name, value in _SMALL_COMMON.items():
        monkeypatch.setitem(qwen3vl.QWEN3VL_VISION_COMMON, name, value)
    qwen = part("nodes.adapter.encoder.qwen")

    def paired(rope_precision="exact"):
        pairing = qwen.Pairing(SMALL_8B_BLOCKS, rope_precision)
        monkeypatch.setattr(qwen, "RELEASED", {(SMALL_8B_LAYERS, SMALL_8B_WIDTH): pairing})

    paired()
    return paired


@pytest.fixture
def load_clip(small_8b_folder, host_knows_small_8b):
    """What the host's Load CLIP makes of the file, by type."""

    def load(kind="wan"):
        import folder_paths

        import nodes

        with pytest.MonkeyPatch.context() as patch:
            path = str(small_8b_folder / "model.safetensors")
            patch.setattr(folder_paths, "get_full_path_or_raise", lambda *_: path)
            (clip,) = nodes.CLIPLoader().load_clip("model.safetensors", kind)
        return clip

    return load


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
        return part("nodes.adapter.encoder.cache").StateCache(
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


@pytest.fixture
def in_float32(part):
    """Reads tokenised prompts, [1, S, blocks * W] each, in float32."""

    def run(clip, *prompts):
        qwen = part("nodes.adapter.encoder.qwen").find_qwen(clip)
        special = part("nodes.adapter.encoder.encoding").reader_of(qwen, max_frames=4).tokenizer.special
        with part("nodes.adapter.encoder.session").QwenSession(clip, qwen, special=special, dtype=torch.float32) as it:
            return [it.states(prompt, tick=lambda: None) for prompt in prompts]

    return run


@pytest.fixture
def oracle(part):
    """transformers' Qwen3-VL of a folder, in float32."""
    pytest.importorskip("transformers")

    def load(folder, num_blocks, **more):
        return part("loom_core.mllm.encoder").QwenEncoder.load(
            folder, num_blocks=num_blocks, dtype=torch.float32, device=torch.device("cpu"), **more
        )

    return load


@pytest.fixture
def prompts_of(part, edit_of):
    """The three prompts of a request as an encoder's reader writes them."""

    def make(reader, request=None):
        return part("nodes.adapter.encoder.encoding").tokenised(reader, request or edit_of())

    return make


@pytest.fixture
def assert_equal():
    """Compares states side by side with those one after another, relative to how large the numbers are."""

    def compare(found, expected, *, tolerance=1e-5):
        expected = torch.cat(expected, dim=-1)[None]
        assert found.shape == expected.shape
        assert float((found - expected).abs().max() / expected.abs().max()) < tolerance

    return compare
