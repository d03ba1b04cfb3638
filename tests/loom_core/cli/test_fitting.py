"""What a run on a GPU does to fit; the GPU is played by a function that says how much is free."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loom_core.bundle import ModelFiles
from loom_core.cli.compute import ComputeWords
from loom_core.cli.fitting import fit_to_gpu, run_sizes, setting_of
from loom_core.compute import Compute
from loom_core.config.model import LOOMVIDEO_5B
from loom_core.config.sampling import SamplingConfig
from loom_core.request import Plan, Request
from loom_core.types import Branch, Task
from loom_core.vae import loading
from loom_core.vae.memory import WAN22_VAE
from loom_core.weights.checkpoint import TensorInfo
from loom_core.weights.quantise import comfy_entries, quantise
from loom_core.weights.saving import save_safetensors

GPU = Compute(device=torch.device("cuda"), dtype=torch.bfloat16, codec_dtype=torch.bfloat16)
CPU = torch.device("cpu")


def plan(**sampling):
    return Plan(
        request=Request(prompt="make it red", source=Path("clip.mp4")),
        task=Task.EDIT_VIDEO,
        width=832,
        height=480,
        num_frames=81,
        fps=24.0,
        sampling=SamplingConfig(**{"guidance_scale": 2.5, "visual_guidance_scale": 1.5, **sampling}),
    )


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Fits a run with the released model into some GB; what was said comes with it."""
    weights = tmp_path / "released.safetensors"
    save_file({"a.weight": torch.zeros(2, 2)}, weights)

    def run(gigabytes, *, compute=GPU, scheme=None, **words):
        if scheme is not None:
            matrix = torch.ones(64, 64)
            info = TensorInfo((64, 64), torch.float32)
            entries = comfy_entries("a.weight", info, lambda: quantise(matrix, scheme), scheme)
            save_safetensors(weights, list(entries))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(gigabytes * 1e9), int(80e9)))
        said = []
        monkeypatch.setattr(loading, "codec_sizes", lambda _: WAN22_VAE)
        files = ModelFiles(dit=weights, mllm=weights, codec=weights)
        words = ComputeWords(**words)
        return fit_to_gpu(compute, words, plan(), files, config=LOOMVIDEO_5B, say=said.append), said

    return run


def test_nothing_changes_where_all_fits(fit):
    assert fit(24) == (GPU, [])


@pytest.mark.parametrize("scheme", ["float8_e4m3fn", "int8_tensorwise"])
def test_quantised_weights_are_counted_as_they_are_stored(fit, scheme):
    """With bf16 the MLLM's layers would be streamed."""
    assert fit(13, scheme=scheme) == (GPU, [])


def test_the_mllm_s_layers_are_streamed_first(fit):
    compute, said = fit(13)
    assert compute == replace(GPU, streams_mllm=True)
    assert len(said) == 1 and "the MLLM's layers come one after another" in said[0]


def test_then_projections_are_kept(fit):
    compute, said = fit(11.4)
    assert compute == replace(GPU, streams_mllm=True, keeps_keys_values=False)
    assert len(said) == 2 and "more work a step" in said[1]


def test_then_blocks_are_streamed(fit):
    compute, said = fit(8)
    assert 3 <= compute.streamed_blocks < 30 and compute.keeps_keys_values
    assert len(said) == 2 and f"{compute.streamed_blocks} of 30 blocks come for their turn" in said[1]
    less, _ = fit(6)
    assert compute.streamed_blocks < less.streamed_blocks <= 30


def test_of_quantised_weights_fewer_blocks_are_streamed(fit):
    wide, _ = fit(5.5)
    narrow, said = fit(5.5, scheme="float8_e4m3fn")
    assert narrow.streams_mllm and 3 <= narrow.streamed_blocks < wide.streamed_blocks
    assert f"{narrow.streamed_blocks} of 30 blocks come for their turn" in said[1]


def test_what_torchao_will_quantise_is_counted_so_and_not_streamed(fit):
    compute, said = fit(8, compute=replace(GPU, quantises="int8-torchao"))
    assert not compute.streamed_blocks and compute.mllm_device == CPU
    assert len(said) == 1 and "the MLLM on the processor" in said[0]


def test_without_offloading_the_mllm_goes_to_the_processor(fit):
    compute, said = fit(11.4, offload="none")
    assert compute == replace(GPU, mllm_device=CPU, keeps_keys_values=False)
    assert "the MLLM on the processor" in said[0]
    compute, said = fit(8, offload="none")
    assert compute is GPU
    assert "may run out of memory" in said[0] and "expected at most 8.0 GB" in said[0]


def test_all_is_streamed_where_that_was_said(fit):
    compute, _ = fit(24, offload="blocks")
    assert compute == replace(GPU, streams_mllm=True, streamed_blocks=30)


def test_what_the_user_said_stays(fit):
    assert fit(11.4, mllm_device="cuda", cache="keys-values") == (GPU, [])
    compute, _ = fit(6, cache="projections", compute=replace(GPU, keeps_keys_values=False))
    assert not compute.keeps_keys_values and compute.streamed_blocks


def test_what_will_hardly_fit_is_tried_all_the_same(fit):
    compute, said = fit(3)
    assert compute is GPU
    assert "may run out of memory" in said[0] and "expected at most 3.0 GB" in said[0]


def test_the_codec_that_is_there_is_planned_for(tmp_path, repo_root):
    weights, codec = tmp_path / "released.safetensors", repo_root / "loom_core/assets/loom_tiny/codec.safetensors"
    save_file({"a.weight": torch.zeros(2, 2)}, weights)
    files = ModelFiles(dit=weights, mllm=weights, codec=codec)
    setting = setting_of(GPU, ComputeWords(), plan(), files, config=LOOMVIDEO_5B)
    assert setting.model.vae == loading.codec_sizes(codec) != WAN22_VAE


def test_a_cpu_is_left_alone(fit):
    assert fit(1, compute=Compute()) == (Compute(), [])


@pytest.mark.parametrize(
    ("scales", "branches"),
    [
        ({}, [Branch.UNCONDITIONAL, Branch.VISUAL, Branch.FULL]),
        ({"visual_guidance_scale": 1.0}, [Branch.VISUAL, Branch.FULL]),
        ({"guidance_scale": 1.0, "visual_guidance_scale": 1.0}, [Branch.FULL]),
    ],
)
def test_only_branches_that_run_are_counted(scales, branches):
    assert list(run_sizes(plan(**scales)).branches) == branches
