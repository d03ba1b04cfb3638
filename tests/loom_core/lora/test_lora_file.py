"""Files of every trainer and kind become changes of the same weights; others are refused with a word."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from loom_core.errors import WeightsError
from loom_core.lora.lora_file import open_lora, shapes_of
from loom_core.weights.key_maps import to_diffusers


def flat(name):
    return name.replace(".", "_")


NAMINGS = {
    "ours, diffusion-pipe, ai-toolkit": (lambda name: f"diffusion_model.{name}", "lora_B.weight", "lora_A.weight"),
    "kohya, musubi": (lambda name: f"lora_unet_{flat(name)}", "lora_up.weight", "lora_down.weight"),
    "diffusers": (lambda name: f"transformer.{to_diffusers(name)}", "lora_B.weight", "lora_A.weight"),
    "diffusers, old": (lambda name: f"transformer.{to_diffusers(name)}", "lora.up.weight", "lora.down.weight"),
    "transformers": (to_diffusers, "lora_linear_layer.up.weight", "lora_linear_layer.down.weight"),
    "peft": (lambda name: f"base_model.model.{name}", "lora_B.default.weight", "lora_A.default.weight"),
    "diffsynth": (lambda name: f"pipe.dit.{name}", "lora_B.default.weight", "lora_A.default.weight"),
    "onetrainer": (lambda name: f"lora_transformer_{flat(to_diffusers(name))}", "lora_up.weight", "lora_down.weight"),
    "bare parameters": (lambda name: f"diffusion_model.{name}", "lora_B", "lora_A"),
}


def named(factors, naming, alpha=6.0):
    name_of, up_ending, down_ending = NAMINGS[naming]
    made = {}
    for module, (up, down) in factors.items():
        made |= {f"{name_of(module)}.{up_ending}": up, f"{name_of(module)}.{down_ending}": down}
        if alpha is not None:
            made[f"{name_of(module)}.alpha"] = torch.tensor(alpha)
    return made


@pytest.fixture
def opened(small, write_lora):
    return lambda tensors, **options: open_lora(write_lora(tensors, **options), shapes_of(small))


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize(("alpha", "scale"), [(6.0, 2.0), (None, 1.0)])
def test_every_naming_is_the_same_change(opened, factors, naming, alpha, scale):
    lora = opened(named(factors, naming, alpha))
    assert set(lora.changes) == {f"{module}.weight" for module in factors}
    assert lora.left_out == lora.dead == ()
    for module, (up, down) in factors.items():
        torch.testing.assert_close(lora.delta(f"{module}.weight"), scale * up @ down)


def test_alphas_may_stand_in_the_metadata(opened, factors):
    settings = {"transformer.r": 3, "transformer.lora_alpha": 6, "transformer.alpha_pattern": {"attn1.to_q": 1.5}}
    lora = opened(named(factors, "diffusers", None), metadata={"lora_adapter_metadata": json.dumps(settings)})
    for module, (up, down) in factors.items():
        scale = 0.5 if module.endswith("self_attn.q") else 2.0
        torch.testing.assert_close(lora.delta(f"{module}.weight"), scale * up @ down)


def test_differences_of_weights_and_biases(opened, state):
    changed = {name: torch.randn(state[name].shape) for name in
               ("blocks.0.ffn.0.bias", "source_patch_embedding.weight", "blocks.0.modulation")}  # fmt: skip
    lora = opened({
        "diffusion_model.blocks.0.ffn.0.diff_b": changed["blocks.0.ffn.0.bias"],
        "diffusion_model.source_patch_embedding.diff": changed["source_patch_embedding.weight"],
        "diffusion_model.blocks.0.modulation.diff": changed["blocks.0.modulation"],
    })  # fmt: skip
    assert set(lora.changes) == set(changed)
    assert all(torch.equal(lora.delta(name), change) for name, change in changed.items())


def test_products_of_elements_and_kronecker_products(opened):
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    one, other = "diffusion_model.blocks.0.self_attn.q", "lycoris_blocks_0_ffn_0"
    loha = {f"hada_w{n}_{side}": draw(*((24, 2) if side == "a" else (2, 24))) for n in (1, 2) for side in "ab"}
    lokr = {"lokr_w1": draw(4, 3), "lokr_w2_a": draw(10, 2), "lokr_w2_b": draw(2, 8)}
    lora = opened(
        {f"{one}.{part}": tensor for part, tensor in loha.items()}
        | {f"{other}.{part}": tensor for part, tensor in lokr.items()}
        | {f"{one}.alpha": torch.tensor(1.0), f"{other}.alpha": torch.tensor(4.0)}
    )
    expected = 0.5 * (loha["hada_w1_a"] @ loha["hada_w1_b"]) * (loha["hada_w2_a"] @ loha["hada_w2_b"])
    torch.testing.assert_close(lora.delta("blocks.0.self_attn.q.weight"), expected)
    expected = 2.0 * torch.kron(lokr["lokr_w1"], lokr["lokr_w2_a"] @ lokr["lokr_w2_b"])
    torch.testing.assert_close(lora.delta("blocks.0.ffn.0.weight"), expected)
    assert [str(change) for change in lora.changes.values()] == ["LoHa 2", "LoKr 2"]


def test_a_kronecker_product_of_whole_factors_has_no_rank_and_no_use_for_an_alpha(opened):
    name = "lycoris_blocks_0_ffn_0"
    factors = {f"{name}.lokr_w1": torch.rand(4, 3), f"{name}.lokr_w2": torch.rand(10, 8)}
    lora = opened({**factors, f"{name}.alpha": torch.tensor(7.0)})
    torch.testing.assert_close(lora.delta("blocks.0.ffn.0.weight"), torch.kron(*factors.values()))
    assert str(lora.changes["blocks.0.ffn.0.weight"]) == "LoKr"


def test_a_convolution_of_low_rank(opened):
    up, down = torch.rand(24, 2, 1, 1, 1), torch.rand(2, 4, 1, 2, 2)
    name = "diffusion_model.patch_embedding"
    lora = opened({f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down})
    expected = (up.flatten(1) @ down.flatten(1)).reshape(24, 4, 1, 2, 2)
    torch.testing.assert_close(lora.delta("patch_embedding.weight"), expected)


def test_what_is_of_others_is_left_out_and_told(opened, plain):
    lora = opened(plain | {
        "diffusion_model.text_embedding.0.lora_A.weight": torch.rand(2, 2),
        "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha": torch.tensor(1.0),
    })  # fmt: skip
    assert lora.dead == ("diffusion_model.text_embedding.0.lora_A.weight",)
    assert lora.left_out == ("lora_te_text_model_encoder_layers_0_mlp_fc1.alpha",)
    assert len(lora.changes) == 4


Q = "diffusion_model.blocks.0.self_attn.q"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"double_blocks.0.img_attn.qkv.lora_A.weight": (4, 4)}, "expected a LoRA that changes weights of this model"),
        ({f"{Q}.lora_A.weight": (2, 5120), f"{Q}.lora_B.weight": (5120, 2)},
         r"blocks\.0\.self_attn\.q\.weight \(5120 x 5120, here 24 x 24\).*not 1\.3B or 14B"),
        ({f"{Q}.lora_A.weight": (2, 24), f"{Q}.lora_B.weight": (24, 3)}, "parts that do not fit each other"),
        ({f"{Q}.lora_A.weight": (2, 24)}, r"is made of down; expected all parts"),
        ({f"{Q}.lora_A.weight": (2, 24), f"{Q}.lora_B.weight": (24, 2), f"{Q}.dora_scale": (24, 1)},
         r"1 tensors of a kind that is not known here.*dora_scale"),
        ({f"{Q}.lora_A.weight": (2, 24), f"{Q}.lora_B.weight": (24, 2), f"{Q}.diff": (24, 24)},
         r"is made of diff, down, up"),
        ({f"{Q}.lora_A.weight": (2, 24), f"{Q}.lora_B.weight": (24, 2),
          "lora_unet_blocks_0_self_attn_q.lora_up.weight": (24, 2)}, "1 tensors of a kind"),
        ({f"{Q}.hada_w1_a": (24, 2), f"{Q}.hada_w1_b": (2, 24), f"{Q}.hada_w2_a": (24, 2), f"{Q}.hada_w2_b": (2, 9)},
         "parts that do not fit each other"),
        ({f"{Q}.lokr_w1": (2, 2), f"{Q}.lokr_w2": (5, 5)}, r"10 x 10, here 24 x 24"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(opened, tensors, message):
    with pytest.raises(WeightsError, match=message):
        opened({name: torch.zeros(shape) for name, shape in tensors.items()})


def test_a_model_is_no_lora(small, state, tmp_path):
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"which is a LoomVideo DiT.*|which is .*; expected a LoRA"):
        open_lora(tmp_path / "model.safetensors", shapes_of(small))
