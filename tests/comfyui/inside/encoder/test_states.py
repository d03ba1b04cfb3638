"""What is read equals transformers' layers: text, stills and clips, in any order."""

from __future__ import annotations


def test_recorded_model(loading, in_float32, oracle, prompts_of, assert_equal, copy_golden):
    """All five layers, so those as well that get deepstack features added."""
    folder = copy_golden("every_layer", loom_num_blocks=5)
    encoder, clip = oracle(folder, 5), loading.load_path(folder)
    prompts = prompts_of(encoder.reader)
    for found, prompt in zip(in_float32(clip, *prompts.values()), prompts.values(), strict=True):
        assert_equal(found, encoder.hidden_states(prompt))


def test_model_shaped_like_the_8b(loading, in_float32, oracle, prompts_of, assert_equal, shaped_folder):
    encoder, clip = oracle(shaped_folder, 5), loading.load_path(shaped_folder)
    prompts = prompts_of(encoder.reader)
    assert [len(p.images) + len(p.videos) for p in prompts.values()] == [3, 3, 0]
    for found, prompt in zip(in_float32(clip, *prompts.values()), prompts.values(), strict=True):
        assert_equal(found, encoder.hidden_states(prompt))


def test_built_in_model(part, loading, in_float32, oracle, prompts_of, assert_equal):
    clip = loading.load_encoder(part("nodes.adapter.files").BUILT_IN)
    folder = part("loom_core.bundle").BUILT_IN / "mllm"
    encoder = oracle(folder, clip.cond_stage_model.loom_pairing.num_blocks)
    prompts = prompts_of(encoder.reader)
    for found, prompt in zip(in_float32(clip, *prompts.values()), prompts.values(), strict=True):
        assert_equal(found, encoder.hidden_states(prompt))
