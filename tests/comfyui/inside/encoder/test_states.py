"""What is read equals transformers' layers: text, stills and clips, in any order."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def in_float32(part):
    """Reads tokenised prompts, [1, S, blocks * W] each, in float32."""

    def run(clip, *prompts):
        qwen = part("nodes.adapter.qwen").find_qwen(clip)
        special = part("nodes.adapter.encoder").reader_of(qwen, max_frames=4).tokenizer.special
        with part("nodes.adapter.encoder_session").QwenSession(clip, qwen, special=special, dtype=torch.float32) as it:
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
        return part("nodes.adapter.encoder").tokenised(reader, request or edit_of())

    return make


def assert_equal(found, expected, *, tolerance=1e-5):
    """Side by side against one after another, relative to how large the numbers are."""
    expected = torch.cat(expected, dim=-1)[None]
    assert found.shape == expected.shape
    assert float((found - expected).abs().max() / expected.abs().max()) < tolerance
    torch.testing.assert_close(found, expected, atol=tolerance * 10, rtol=tolerance * 10)


def test_recorded_model(loading, in_float32, oracle, prompts_of, copy_golden):
    """All five layers, so those as well that get deepstack features added."""
    folder = copy_golden("every_layer", loom_num_blocks=5)
    encoder, clip = oracle(folder, 5), loading.load_path(folder)
    prompts = prompts_of(encoder.reader)
    for found, prompt in zip(in_float32(clip, *prompts.values()), prompts.values(), strict=True):
        assert_equal(found, encoder.hidden_states(prompt))


def test_model_shaped_like_the_8b(loading, in_float32, oracle, prompts_of, shaped_folder):
    encoder, clip = oracle(shaped_folder, 5), loading.load_path(shaped_folder)
    prompts = prompts_of(encoder.reader)
    assert [len(p.images) + len(p.videos) for p in prompts.values()] == [3, 3, 0]
    for found, prompt in zip(in_float32(clip, *prompts.values()), prompts.values(), strict=True):
        assert_equal(found, encoder.hidden_states(prompt))


def test_built_in_model(part, loading, in_float32, oracle, prompts_of):
    clip = loading.load_encoder(part("nodes.adapter.files").BUILT_IN)
    folder = part("loom_core.bundle").BUILT_IN / "mllm"
    encoder = oracle(folder, clip.cond_stage_model.loom_pairing.num_blocks)
    prompts = prompts_of(encoder.reader)
    for found, prompt in zip(in_float32(clip, *prompts.values()), prompts.values(), strict=True):
        assert_equal(found, encoder.hidden_states(prompt))
