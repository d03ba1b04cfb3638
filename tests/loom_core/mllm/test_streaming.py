"""Prompts read with layers that come one after another."""

import pytest
import torch

from benchmarks.live_memory import peak_live_bytes
from loom_core.errors import ConfigError
from loom_core.mllm.encoder import QwenEncoder
from loom_core.offload.blocks import StreamedBlocks, slot_bytes, tensors_of
from loom_core.types import Clip, Task

pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")


def load(qwen_dir, *, streams, device="cpu"):
    return QwenEncoder.load(qwen_dir, num_blocks=3, dtype=torch.float32, device=torch.device(device), streams=streams)


def read(encoder, pictures):
    clip = Clip(pictures(9, 32, 64), 24.0)
    still = Clip(pictures(1, 32, 64), 0.0, is_image=True)
    encoded = encoder.encode(
        Task.REFERENCE_EDIT, "swap the hat", negative_prompt="blurry", source=clip, references=[still]
    )
    return {branch: [state.clone() for state in states] for branch, states in encoded.by_branch.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for branch, states in expected.items():
        assert all(torch.equal(one, other) for one, other in zip(found[branch], states, strict=True)), branch


def test_the_very_same_states(qwen_dir, pictures):
    assert_same(read(load(qwen_dir, streams=True), pictures), read(load(qwen_dir, streams=False), pictures))


def test_each_prompt_moves_the_layers_once(qwen_dir, pictures):
    encoder = load(qwen_dir, streams=True)
    layers = encoder.model.language_model.layers
    assert isinstance(layers, StreamedBlocks)
    layer = sum(tensor.nbytes for tensor in tensors_of(layers[0]))
    read(encoder, pictures)
    assert layers.bytes_moved == (3 * len(layers) + 1) * layer


def test_alive_are_two_layers(qwen_dir, pictures):
    """The slots, which are there from the start, are all that streaming adds to what reading takes."""
    plain, streaming = load(qwen_dir, streams=False), load(qwen_dir, streams=True)
    assert peak_live_bytes(lambda: read(streaming, pictures)) == peak_live_bytes(lambda: read(plain, pictures))
    slots = sum(slot.nbytes for slot in streaming.model.language_model.layers._slots)
    assert slots == 2 * slot_bytes(tensors_of(plain.model.language_model.layers[0]))


def test_released_it_leaves_nothing(qwen_dir, pictures):
    encoder = load(qwen_dir, streams=True)
    model = encoder.model
    layers, words = model.language_model.layers, model.language_model.embed_tokens
    assert words._forward_hooks and words._forward_pre_hooks
    read(encoder, pictures)
    encoder.release()
    assert not words._forward_hooks and not words._forward_pre_hooks
    assert layers._slots == [] and not isinstance(model.language_model.layers, StreamedBlocks)
    with pytest.raises(ConfigError, match="released"):
        read(encoder, pictures)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(qwen_dir, pictures):
    encoder = load(qwen_dir, streams=True, device="cuda")
    assert not encoder.model.language_model.embed_tokens.weight.is_cuda
    assert not any(tensor.is_cuda for tensor in tensors_of(encoder.model.language_model.layers))
    assert_same(read(encoder, pictures), read(load(qwen_dir, streams=False, device="cuda"), pictures))
    encoder.release()
