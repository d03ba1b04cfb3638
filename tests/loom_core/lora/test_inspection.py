"""What a LoRA file is, told without a model at hand."""

from __future__ import annotations

import pytest
import torch

from loom_core.config.model import LOOM_TINY, LOOMVIDEO_5B, DiTConfig
from loom_core.errors import WeightsError
from loom_core.lora.inspection import inspect_lora

SMALL = DiTConfig(hidden_size=24, num_heads=2, head_dim=12, num_layers=2, ffn_dim=40, mllm_dim=8).to_json()


def tensors_for(width):
    name = "lora_unet_blocks_0_{}"
    made = {}
    for module in ("self_attn_q", "cross_attn_o"):
        made |= {
            f"{name.format(module)}.lora_down.weight": torch.zeros(4, width, dtype=torch.bfloat16),
            f"{name.format(module)}.lora_up.weight": torch.zeros(width, 4, dtype=torch.bfloat16),
            f"{name.format(module)}.alpha": torch.tensor(2.0),
        }
    return {**made, "lora_unet_head_head.diff_b": torch.zeros(192)}


@pytest.mark.parametrize(
    ("config", "model"), [(LOOMVIDEO_5B, "LoomVideo or Wan 2.2 TI2V-5B"), (LOOM_TINY, "loom-tiny")]
)
def test_it_tells_which_model_and_which_parts(write_lora, config, model):
    found = inspect_lora(write_lora(tensors_for(config.hidden_size)))
    assert found.model == model
    assert found.kinds == {"low rank 4": 2, "difference": 1}
    assert found.scales == {0.5: 2}
    assert found.places == {"self_attn": 1, "cross_attn": 1, "head": 1}
    told = found.to_dict()
    assert told["num_changes"] == 3 and told["first_name"].startswith("lora_unet_")


def test_it_is_compared_with_a_model_that_is_named(write_lora, plain, base):
    assert len(inspect_lora(write_lora(plain), model=base).lora.changes) == 4
    with pytest.raises(WeightsError, match="another size"):
        inspect_lora(write_lora(plain))


@pytest.mark.parametrize(("config", "told"), [("{}", None), ("no json", None), (SMALL, "2 blocks, 24 wide")])
def test_one_of_ours_names_its_model(write_lora, plain, config, told):
    path = write_lora(plain, metadata={"base_config": config})
    if told is None:
        with pytest.raises(WeightsError, match="another size"):
            inspect_lora(path)
    else:
        assert told in inspect_lora(path).model


def test_a_lora_of_another_family_is_refused(write_lora):
    with pytest.raises(WeightsError, match="expected a LoRA that changes weights of this model"):
        inspect_lora(write_lora({"double_blocks.0.img_attn.qkv.lora_A.weight": torch.zeros(2, 2)}))
