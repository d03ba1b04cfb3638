"""Every way of naming a module leads to the same weight, and no other name does."""

from __future__ import annotations

import json

import pytest

from loom_core.models.dit import LoomDiT
from loom_core.weights.key_maps import to_diffusers
from loom_core.weights.lora_names import LoraModules, lora_modules, stored_alphas


@pytest.fixture(scope="module")
def weights(small_config):
    return list(LoomDiT(small_config, device="meta").state_dict())


def flat(name):
    return name.replace(".", "_")


NAMINGS = {
    "generic": lambda name: f"diffusion_model.{name}",
    "generic, in a checkpoint": lambda name: f"model.diffusion_model.{name}",
    "kohya": lambda name: f"lora_unet_{flat(name)}",
    "wan fun": lambda name: f"lora_unet__{flat(name)}",
    "bare": lambda name: name,
    "official": lambda name: f"gen_model.{to_diffusers(name)}",
    "diffusers": lambda name: f"transformer.{to_diffusers(name)}",
    "diffusers, bare": to_diffusers,
    "peft": lambda name: f"base_model.model.{name}",
    "peft of diffusers": lambda name: f"base_model.model.transformer.{to_diffusers(name)}",
    "onetrainer": lambda name: f"lora_transformer_{flat(to_diffusers(name))}",
    "lycoris": lambda name: f"lycoris_{flat(to_diffusers(name))}",
    "kohya of diffusers": lambda name: f"lora_unet_{flat(to_diffusers(name))}",
    "diffsynth": lambda name: f"pipe.dit.{name}",
    "compiled": lambda name: f"_orig_mod.{name}",
}
ENDINGS = (
    "lora_A.weight", "lora_B.default.weight", "lora_up.weight", "lora.down.weight", "alpha", "dora_scale", "diff",
    "lokr_w1_a", "hada_w2_b", "set_weight",
)  # fmt: skip


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_of_every_weight(weights, naming):
    modules = {NAMINGS[naming](weight.removesuffix(".weight")): weight for weight in weights}
    assert len(modules) == len(weights)
    for ending in ENDINGS:
        found = lora_modules([f"{module}.{ending}" for module in modules], weights)
        assert found.weights == modules
        assert found.unknown == found.dead == ()


def test_the_change_of_a_bias_belongs_to_its_module(weights):
    found = lora_modules(["diffusion_model.blocks.0.ffn.0.diff_b", "diffusion_model.blocks.0.ffn.0.bias.diff"], weights)
    assert found.weights == {
        "diffusion_model.blocks.0.ffn.0": "blocks.0.ffn.0.weight",
        "diffusion_model.blocks.0.ffn.0.bias": "blocks.0.ffn.0.bias",
    }


def test_some_leave_the_zero_of_to_out_away(weights):
    found = lora_modules(["transformer.blocks.1.attn2.to_out.lora_A.weight"], weights)
    assert found.weights == {"transformer.blocks.1.attn2.to_out": "blocks.1.cross_attn.o.weight"}


@pytest.mark.parametrize(
    "key",
    [
        "diffusion_model.blocks.99.ffn.0.lora_A.weight",
        "double_blocks.0.img_attn.qkv.lora_A.weight",
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
        "diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight",
        "alpha",
        "",
    ],
)
def test_names_of_other_models_are_unknown(weights, key):
    found = lora_modules([key], weights)
    assert found.unknown == (key,) and found.weights == {} and found.dead == ()


@pytest.mark.parametrize(
    "key",
    [
        "diffusion_model.text_embedding.0.lora_A.weight",
        "transformer.condition_embedder.text_embedder.linear_1.lora_A.weight",
        "lora_unet_text_embedding_2.alpha",
    ],
)
def test_wans_text_embedder_is_told_from_them(weights, key):
    assert lora_modules([key], weights).dead == (key,)


def test_of_the_released_model_all_names_stay_apart(weights_dir):
    """Flattened, no two of its weights share a name in any naming."""
    from loom_core.weights.key_maps import to_native

    names = json.loads((weights_dir / "loomvideo_5b_keys.json").read_text())["keys"]
    weights = [native for name in names if (native := to_native(name)) is not None]
    modules = [weight.removesuffix(".weight") for weight in weights]
    assert lora_modules([f"lora_unet_{flat(module)}.alpha" for module in modules], weights).weights == {
        f"lora_unet_{flat(module)}": weight for module, weight in zip(modules, weights, strict=True)
    }


def test_alphas_of_diffusers_stand_in_the_metadata():
    module = "transformer.blocks.0.attn1.to_q"
    modules = LoraModules({module: "blocks.0.self_attn.q.weight", f"{module}x": ""}, (), ())
    settings = {"transformer.r": 4, "transformer.lora_alpha": 8, "transformer.alpha_pattern": {"attn1.to_q": 2}}

    def alphas(changes=None):
        return stored_alphas(modules, {"lora_adapter_metadata": json.dumps(settings | (changes or {}))})

    assert alphas() == {module: 2.0, f"{module}x": 8.0}
    assert alphas({"transformer.use_rslora": True}) == {module: 4.0, f"{module}x": 16.0}
    assert stored_alphas(modules, {}) == {}
    assert stored_alphas(modules, {"lora_adapter_metadata": "[1"}) == {}
