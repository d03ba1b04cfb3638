"""CLIPs that hold something else, told before anything is read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def refuse(part):
    """The sentence with which a CLIP is refused."""

    def run(clip):
        with pytest.raises(part("loom_core.errors").WeightsError) as raised:
            part("nodes.adapter.encoder.qwen").find_qwen(clip)
        assert "qwen3vl_8b_fp8_scaled.safetensors" in str(raised.value)
        assert "LoomVideo Encoder Loader" in str(raised.value)
        return str(raised.value)

    return run


def clip_of(**transformers):
    """A CLIP with text encoders that are there by class alone."""
    whole = torch.nn.Module()
    for name, transformer in transformers.items():
        encoder = torch.nn.Module()
        encoder.transformer = transformer
        whole.add_module(name, encoder)
    return SimpleNamespace(cond_stage_model=whole, patcher=SimpleNamespace(model=whole))


def host_class(path, **config):
    """A model of the host on no device."""
    import importlib

    import comfy.ops

    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(
        config, torch.float32, torch.device("meta"), comfy.ops.disable_weight_init
    )


SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 64}


def test_clip_l(refuse):
    from comfy.sd1_clip import SD1ClipModel

    whole = SD1ClipModel()
    clip = SimpleNamespace(cond_stage_model=whole, patcher=SimpleNamespace(model=whole))
    assert "a text encoder of another kind (CLIPTextModel)" in refuse(clip)


def test_t5(refuse):
    import comfy.text_encoders.t5

    config = {
        "d_ff": 64, "d_kv": 8, "d_model": 32, "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True,
        "model_type": "umt5", "num_heads": 4, "num_layers": 2, "vocab_size": 50,
    }  # fmt: skip
    t5 = comfy.text_encoders.t5.T5(config, torch.float32, torch.device("meta"), torch.nn)
    assert "a text encoder of another kind (T5)" in refuse(clip_of(umt5xxl=t5))


def test_qwen_2_5_vl(refuse):
    model = host_class("comfy.text_encoders.llama.Qwen25_7BVLI", **SMALL)
    assert "a text encoder of another kind (Qwen25_7BVLI)" in refuse(clip_of(qwen25_7b=model))


def test_a_later_qwen(refuse):
    model = host_class("comfy.text_encoders.qwen35.Qwen35")
    assert "a text encoder of another kind (Qwen35)" in refuse(clip_of(qwen35_2b=model))


def test_the_text_part_alone(refuse):
    """What the host makes of a Qwen3-8B, and of a Qwen3-VL-8B when it is loaded for another model (type flux2)."""
    model = host_class("comfy.text_encoders.llama.Qwen3_8B", **SMALL)
    assert "a text encoder without vision part (Qwen3_8B)" in refuse(clip_of(qwen3_8b=model))


def test_loaded_with_a_type_that_drops_the_vision_part(load_clip, refuse, monkeypatch):
    from functools import partial

    from comfy.text_encoders import llama

    config = partial(llama.Qwen3_8BConfig, **SMALL, num_attention_heads=2, num_key_value_heads=1)
    monkeypatch.setattr(llama, "Qwen3_8BConfig", config)
    assert "without vision part" in refuse(load_clip("flux2"))


def test_another_size(load_clip, refuse, part, monkeypatch):
    monkeypatch.setattr(part("nodes.adapter.encoder.qwen"), "RELEASED", {})
    assert "a Qwen3-VL with 6 layers of width 64; expected 36 layers of width 4096" in refuse(load_clip())


@pytest.mark.parametrize("clip", [None, SimpleNamespace(), SimpleNamespace(cond_stage_model=None, patcher=None)])
def test_no_clip_at_all(refuse, clip):
    """Checkpoints without a text encoder give out None."""
    assert "no text encoder at clip" in refuse(clip)


def test_one_of_several(load_clip, part):
    """The Qwen3-VL is found beside other encoders."""
    clip = load_clip()
    clip.cond_stage_model.add_module("aaa", clip_of(x=torch.nn.Linear(1, 1)).cond_stage_model.x)
    assert part("nodes.adapter.encoder.qwen").find_qwen(clip).key == "qwen3vl_8b"
