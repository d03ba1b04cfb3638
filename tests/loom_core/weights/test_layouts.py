"""Which file of a folder is taken."""

from __future__ import annotations

import pytest

from loom_core.errors import WeightsError
from loom_core.weights.layouts import find_weights


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
        (("x.safetensors.index.json", "x-1.safetensors", "x-2.safetensors"), True, "x.safetensors.index.json"),
    ],
)
def test_priority(tmp_path, present, ema, taken):
    touch(tmp_path, present)
    assert find_weights(tmp_path, ema=ema) == tmp_path / taken


@pytest.mark.parametrize(
    ("present", "found"),
    [((), "no weights in the folder"), (("README.md",), "no weights"), (("a.safetensors", "b.safetensors"), "2 safet")],
)
def test_no_choice_is_refused(tmp_path, present, found):
    touch(tmp_path, present)
    with pytest.raises(WeightsError, match=found):
        find_weights(tmp_path)
