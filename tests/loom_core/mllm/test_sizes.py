import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.bundle import BUILT_IN
from loom_core.errors import WeightsError
from loom_core.mllm.sizes import QwenSizes, qwen_sizes
from loom_core.weights.reading import open_checkpoint


@pytest.fixture(scope="module")
def weights(qwen_dir):
    return load_file(qwen_dir / "model.safetensors")


@pytest.fixture
def sizes_of(tmp_path):
    def read(tensors):
        path = tmp_path / "encoder.safetensors"
        save_file(tensors, path)
        return qwen_sizes(open_checkpoint(path))

    return read


def renamed(weights, rows):
    made = {}
    for name, value in weights.items():
        old, new = next((pair for pair in rows.items() if name.startswith(pair[0])), ("", ""))
        made[new + name.removeprefix(old)] = value
    return made


def test_folders(qwen_dir):
    assert qwen_sizes(open_checkpoint(qwen_dir)) == QwenSizes(num_layers=5, hidden_size=64)
    assert qwen_sizes(open_checkpoint(BUILT_IN / "mllm")) == QwenSizes(num_layers=6, hidden_size=128)


@pytest.mark.parametrize(
    "rows",
    [
        {"model.language_model.": "model."},
        {"model.language_model.": "model.", "model.visual.": "visual."},
        {"model.language_model.": "language_model.", "model.visual.": "visual."},
    ],
)
def test_any_naming(weights, sizes_of, rows):
    assert sizes_of(renamed(weights, rows)) == QwenSizes(num_layers=5, hidden_size=64)


def test_quantised_weights_beside_others(weights, sizes_of):
    name = "model.language_model.layers.1.mlp.up_proj.weight"
    half = {name: weights[name].to(torch.float8_e4m3fn), f"{name}_scale": torch.ones(())}
    assert sizes_of({**weights, **half, "scaled_fp8": torch.zeros(2)}).num_layers == 5


def test_the_head_and_its_absence(weights, sizes_of):
    assert sizes_of({**weights, "lm_head.weight": torch.zeros(2, 2)}).num_layers == 5


@pytest.mark.parametrize(
    "lost",
    [
        "model.language_model.layers.3.mlp.up_proj.weight",
        "model.language_model.norm.weight",
        "model.language_model.embed_tokens.weight",
        "model.visual.blocks.2.attn.qkv.bias",
        "model.visual.merger.linear_fc1.weight",
        "model.visual.deepstack_merger_list.1.norm.weight",
    ],
)
def test_a_lost_weight_is_named(weights, sizes_of, lost):
    with pytest.raises(WeightsError, match=f"lacks 1 weights.*{lost.removeprefix('model.')}"):
        sizes_of({name: value for name, value in weights.items() if name != lost})


def test_a_lost_layer_is_named(weights, sizes_of):
    with pytest.raises(WeightsError, match=r"layers\.2\."):
        sizes_of({name: value for name, value in weights.items() if "language_model.layers.2." not in name})


def test_the_last_layers_lost_show_in_the_number(weights, sizes_of):
    assert sizes_of({n: v for n, v in weights.items() if "language_model.layers.4." not in n}).num_layers == 4


def test_one_shard_of_several(weights, sizes_of):
    with pytest.raises(WeightsError, match="choose the folder"):
        sizes_of({name: value for name, value in weights.items() if "visual" in name})


@pytest.mark.parametrize("rows", [{}, {"model.language_model.": "model."}])
def test_no_vision_part(weights, sizes_of, rows):
    text = {name: value for name, value in weights.items() if "visual" not in name}
    with pytest.raises(WeightsError, match="without a vision part"):
        sizes_of(renamed(text, rows))


@pytest.mark.parametrize(
    ("tensors", "found"),
    [
        ({"model.layers.0.self_attn.k_proj.weight": torch.zeros(2)}, "no model known here"),
        ({"visual.merger.ln_q.weight": torch.zeros(2), "model.layers.0.a": torch.zeros(1)}, "Qwen2.5-VL"),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(2)}, "UMT5"),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(2)}, "text_model.encoder"),
    ],
)
def test_other_models_are_named(sizes_of, tensors, found):
    with pytest.raises(WeightsError, match=f"{found}.*expected Qwen3-VL with its vision part"):
        sizes_of(tensors)


def test_a_later_qwen_whose_vision_part_has_no_deepstack(weights, sizes_of):
    other = {name: value for name, value in weights.items() if "deepstack" not in name}
    with pytest.raises(WeightsError, match="expected Qwen3-VL with its vision part"):
        sizes_of(other)
