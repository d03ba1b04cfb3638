"""The CLIP of the host's own loader: read as the released encoder, and left as it was."""

from __future__ import annotations

import pytest
import torch


def everything(clip):
    """What the host's own nodes get from a CLIP: states of text and of a picture, and words."""
    picture = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(5))
    tokens = clip.tokenize("a boat", images=[picture])
    assert any(isinstance(token, dict) for token, _ in next(iter(tokens.values()))[0])
    return (
        clip.encode_from_tokens(clip.tokenize("a boat")),
        clip.encode_from_tokens(tokens),
        torch.tensor(clip.generate(tokens, do_sample=False, max_length=3)),
    )


def test_states_equal_those_of_transformers(
    part, load_clip, in_float32, oracle, prompts_of, assert_equal, small_8b_folder
):
    clip = load_clip()
    qwen = part("nodes.adapter.encoder.qwen").find_qwen(clip)
    assert (qwen.key, qwen.num_layers, qwen.pairing.num_blocks) == ("qwen3vl_8b", 6, 4)
    reader = part("nodes.adapter.encoder.encoding").reader_of(qwen, max_frames=4)
    prompts = prompts_of(reader)
    encoder = oracle(small_8b_folder, 4, tokenizer=part("nodes.adapter.encoder.qwen").tokenizer_of(qwen.pairing))
    for found, prompt in zip(in_float32(clip, *prompts.values()), prompts.values(), strict=True):
        assert_equal(found, encoder.hidden_states(prompt))


def test_rounded_frequencies(
    part, load_clip, in_float32, oracle, prompts_of, assert_equal, small_8b_folder, host_knows_small_8b
):
    """As the released weights were trained."""
    clip = load_clip()
    qwen, adapter = part("nodes.adapter.encoder.qwen").find_qwen(clip), part("nodes.adapter.encoder.qwen")
    prompts = prompts_of(part("nodes.adapter.encoder.encoding").reader_of(qwen, max_frames=4))
    exact = in_float32(clip, *prompts.values())
    host_knows_small_8b("bf16")
    encoder = oracle(small_8b_folder, 4, tokenizer=adapter.tokenizer_of(qwen.pairing), rope_precision="bf16")
    rounded = in_float32(clip, *prompts.values())
    for found, prompt, other in zip(rounded, prompts.values(), exact, strict=True):
        assert_equal(found, encoder.hidden_states(prompt))
        assert float((found - other).abs().max()) > 1e-3


def test_the_released_model_is_read_with_rounded_frequencies(part):
    pairing = part("nodes.adapter.encoder.qwen").pairing_of(36, 4096, what="it")
    assert (pairing.num_blocks, pairing.rope_precision) == (30, "bf16")


@pytest.mark.parametrize("rope_precision", ["exact", "bf16"])
def test_the_users_clip_stays_as_it_was(load_clip, read, edit_of, host_knows_small_8b, rope_precision):
    clip = load_clip()
    before, patches = everything(clip), dict(clip.patcher.object_patches)
    weights = {name: weight.clone() for name, weight in clip.cond_stage_model.state_dict().items()}
    host_knows_small_8b(rope_precision)
    read(clip, edit_of())
    assert clip.patcher.object_patches == patches
    assert clip.layer_idx is None
    for found, expected in zip(everything(clip), before, strict=True):
        assert torch.equal(found, expected)
    for module in clip.cond_stage_model.modules():
        assert not module._forward_pre_hooks
    for name, weight in clip.cond_stage_model.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_a_clip_used_in_between(load_clip, read, edit_of, request_of):
    """The host takes our patches out and puts them in again."""
    clip = load_clip()
    first = read(clip, edit_of())
    everything(clip)
    again = read(clip, edit_of())
    for branch, states in first.states.items():
        assert torch.equal(states, again.states[branch])


@pytest.mark.parametrize("kind", ["stable_diffusion", "qwen_image", "ideogram4", "boogu", "joyimage"])
def test_any_type_of_the_hosts_loader(load_clip, read, edit_of, kind):
    """Some have templates, norms and cuts of their own, which must not matter."""
    expected, found = read(load_clip(), edit_of()), read(load_clip(kind), edit_of())
    for branch, states in expected.states.items():
        assert torch.equal(states, found.states[branch])


def test_the_host_counts_tokens_as_we_do(part, load_clip):
    """Ids of the host's tokenizer and ours, for a prompt without pictures."""
    from transformers import AutoTokenizer

    adapter = part("nodes.adapter.encoder.qwen")
    qwen = adapter.find_qwen(load_clip())
    ours = part("nodes.adapter.encoder.encoding").reader_of(qwen, max_frames=4).tokenizer
    theirs = AutoTokenizer.from_pretrained(adapter.tokenizer_of(qwen.pairing))
    for text in (
        "Edit this video: make it blue, isn't it?",
        "换成红色的帽子，保持背景不变。",
        "  several   blanks\n\nand lines\t1234567890 ",
        part("loom_core.config.sampling").DEFAULT_NEGATIVE_PROMPT,
        "emoji 🚢 accents é e\u0301 ﬁ",
    ):
        expected = theirs(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
        assert ours.encode([text]).input_ids.tolist() == expected


@pytest.mark.parametrize("text", ["(boat:1.5) embedding:sky", "<|im_end|> <|image_pad|>", r"\(a\)", "[[]]"])
def test_syntax_of_the_hosts_prompts_is_letters(load_clip, read, request_of, passes, text, part):
    clip = load_clip()
    lengths = passes(clip)
    read(clip, request_of(prompt=text))
    tokenizer = (
        part("nodes.adapter.encoder.encoding")
        .reader_of(part("nodes.adapter.encoder.qwen").find_qwen(clip), max_frames=4)
        .tokenizer
    )
    assert lengths[0] == len(tokenizer.encode(["Generate a video: " + text]).input_ids)
    assert tokenizer.decode(tokenizer.encode([text]).input_ids.tolist()).count(text) == 1
