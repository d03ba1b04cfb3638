"""Files that `loom_core` quantises, in the host: its own loader takes them, and computes what `loom_core` does."""

from __future__ import annotations

import pytest
import torch

SIGMA_TIMESTEP = 713
FORMS = {"fp8": "float8_e4m3fn", "int8": "int8_tensorwise"}


@pytest.fixture
def condition(make_condition):
    return make_condition(source=(3, 4, 6), references=[(1, 2, 4)])


@pytest.fixture
def quantised(part, write, state, tmp_path):
    """Writes the small model in a scheme of the converter's."""

    def make(name):
        schemes = part("loom_core.weights.quantise").SCHEMES
        target = tmp_path / f"{name}.safetensors"
        part("loom_core.weights.convert").convert_checkpoint(write(state), target, scheme=schemes[name])
        return target

    return make


def round_input(_layer, inputs):
    """What comes into a layer, each row in int8: its largest number is 127 steps."""
    steps = inputs[0].abs().amax(-1, keepdim=True) / 127
    return ((inputs[0] / steps).round() * steps,)


@pytest.mark.parametrize("name", FORMS)
def test_the_host_computes_what_we_do(
    part, load, quantised, velocities, noise, conditioning, condition, expected, name
):
    path = quantised(name)
    model = load(path)
    linear = model.model.diffusion_model.blocks[0].ffn[0]
    assert linear.quant_format == FORMS[name]
    assert linear._full_precision_mm_config  # weights alone are of eight bits
    found = velocities(model, noise, conditioning(condition))[0]
    ours = part("loom_core.weights.loading").load_dit(path, dtype=torch.float32)

    def velocity():
        return ours(noise, torch.tensor([SIGMA_TIMESTEP]), ours.prepare([condition], noise))

    def error(made, right):
        return float((made - right).norm() / right.norm())

    assert error(velocity(), expected(noise, condition)) > 5e-4  # it is quantised
    if name == "int8":  # the host rounds what comes into each of these layers, whatever the file's flag says
        assert error(found, velocity()) > 1e-3
        layer_class = part("loom_core.models.quantised").QuantisedLinear
        layers = [layer for layer in ours.modules() if isinstance(layer, layer_class)]
        assert len(layers) == 30
        for layer in layers:
            layer.register_forward_pre_hook(round_input)
    assert error(found, velocity()) < 1e-4


@pytest.mark.parametrize("name", FORMS)
def test_the_hosts_own_format_is_what_is_written(part, quantised, name):
    """Every layer is one that the host would save the same way."""
    import comfy.utils
    from comfy.ops import mixed_precision_ops

    path = quantised(name)
    tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    assert comfy.utils.convert_old_quants(dict(tensors), "", metadata=metadata)[0].keys() == tensors.keys()
    assert comfy.utils.detect_layer_quantization(tensors, "") == {"mixed_ops": True}
    layers = [key.removesuffix(".comfy_quant") for key in tensors if key.endswith(".comfy_quant")]
    assert len(layers) == 30
    operations = mixed_precision_ops({"mixed_ops": True}, torch.float32)
    for layer in layers:
        stored = {key: tensors[f"{layer}.{key}"] for key in ("weight", "weight_scale", "comfy_quant", "bias")}
        rows, columns = stored["weight"].shape
        linear = operations.Linear(columns, rows, dtype=torch.float32)
        linear.load_state_dict(dict(stored), strict=True)
        saved = linear.state_dict()
        assert saved.keys() == stored.keys()
        assert all(torch.equal(saved[key].float(), stored[key].float()) for key in ("weight", "weight_scale"))
        assert bytes(saved["comfy_quant"].tolist()) == bytes(stored["comfy_quant"].tolist())


def test_gguf_is_for_the_command_line(part, load, tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF\3\0\0\0")
    with pytest.raises(part("loom_core.errors").WeightsError, match=r"a GGUF file.*fp8 or int8"):
        load(tmp_path / "x.gguf")
