"""MLLM and codec of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.bundle import BUILT_IN
from loom_core.config.training import ModelSettings
from loom_core.errors import WeightsError
from loom_core.training.frozen import FrozenFiles, codec_dtype


def test_the_built_in_ones_where_none_is_named(config, tmp_path):
    assert FrozenFiles.of(config) == FrozenFiles(BUILT_IN / "mllm", BUILT_IN / "codec.safetensors")
    named = replace(config, mllm=tmp_path / "a", codec=tmp_path / "b")
    assert FrozenFiles.of(named) == FrozenFiles(tmp_path / "a", tmp_path / "b")


def test_a_missing_or_wrong_one_is_told(config, tmp_path):
    config = replace(config, model=ModelSettings(preset="tiny"))
    with pytest.raises(WeightsError, match="no file or folder"):
        FrozenFiles.of(replace(config, mllm=tmp_path / "nothing")).check(config)
    with pytest.raises(WeightsError, match="DiT"):
        FrozenFiles.of(replace(config, codec=BUILT_IN / "dit.safetensors")).check(config)
    with pytest.raises(WeightsError, match="codec"):
        FrozenFiles.of(replace(config, mllm=BUILT_IN / "codec.safetensors")).check(config)


def test_the_codecs_identity_follows_its_weights_and_its_precision(config, tmp_path):
    files = FrozenFiles.of(config)
    assert files.codec_identity(torch.float32) == files.codec_identity(torch.float32)
    assert files.codec_identity(torch.float32) != files.codec_identity(torch.bfloat16)
    other = replace(files, codec=BUILT_IN / "dit.safetensors")
    assert other.codec_identity(torch.float32) != files.codec_identity(torch.float32)


def test_the_codec_is_exact_on_a_cpu():
    assert codec_dtype(torch.device("cpu")) == torch.float32
    assert codec_dtype(torch.device("cuda")) == torch.bfloat16


def test_the_mllm_has_the_precision_of_the_run_and_its_blocks(config):
    config = replace(config, precision="fp32", model=ModelSettings(preset="tiny"))
    encoder = FrozenFiles.of(config).load_mllm(config, device=torch.device("cpu"))
    assert encoder.num_blocks == config.model.dit_config().num_layers
    assert {weight.dtype for weight in encoder.model.parameters()} == {torch.float32}
    assert not any(weight.requires_grad for weight in encoder.model.parameters())


def test_the_reader_is_the_mllms_own(config):
    """Its tokens count against the budget of a pack, so they must be those that the MLLM gets."""
    files = FrozenFiles.of(replace(config, model=ModelSettings(preset="tiny")))
    of_mllm = files.load_mllm(replace(config, model=ModelSettings(preset="tiny")), device=torch.device("cpu")).reader
    reader = files.load_reader()
    assert (reader.image_settings, reader.video_settings) == (of_mllm.image_settings, of_mllm.video_settings)
    assert reader.max_frames == of_mllm.max_frames
    content = ["Edit this video: make the red circle blue"]
    assert torch.equal(reader.read(content).input_ids, of_mllm.read(content).input_ids)


def test_the_mllm_is_told_from_others_and_from_itself_in_another_precision(config):
    files = FrozenFiles.of(config)
    identity = files.mllm_identity(config)
    assert identity == files.mllm_identity(replace(config, seed=5))
    model = replace(config.model, rope_precision="bf16")
    others = [files.mllm_identity(replace(config, precision="bf16")), files.mllm_identity(replace(config, model=model))]
    assert len({identity, *others}) == 3
