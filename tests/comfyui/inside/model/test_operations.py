"""The host's attention behind `loom_core`'s protocol."""

from __future__ import annotations

import threading

import pytest
import torch

BACKENDS = ("attention_basic", "attention_sub_quad", "attention_split", "attention_pytorch")


@pytest.fixture
def operations(part):
    return part("nodes.adapter.model.operations")


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, length, 24, generator=generator) for length in (5, 7, 7)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_masked", [False, True])
def test_every_backend_of_the_host_attends_as_torch_does(part, operations, qkv, monkeypatch, backend, is_masked):
    from comfy.ldm.modules import attention

    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3]) if is_masked else None
    expected = part("loom_core.models.operations").TorchOperations.attention(*qkv, num_heads=2, mask=mask)
    monkeypatch.setattr(operations, "optimized_attention", getattr(attention, backend))
    torch.testing.assert_close(operations.HostAttention({})(*qkv, num_heads=2, mask=mask), expected)


def test_an_override_in_the_options_of_the_pass_is_called(operations, qkv):
    seen = []

    def override(function, *args, **kwargs):
        seen.append((kwargs["heads"], kwargs["transformer_options"]["block_index"]))
        return function(*args, **kwargs)

    options = {"optimized_attention_override": override, "block_index": 4}
    operations.HostAttention(options)(*qkv, num_heads=3)
    assert seen == [(3, 4)]


def test_passes_in_two_threads_have_their_own_options(model, noise, velocities, conditioning, make_condition, part):
    """As with two GPUs: each thread's own override is called, and no other."""
    dit = model.model.diffusion_model
    seen = {0: set(), 1: set()}
    start = threading.Barrier(2)

    def run(number):
        def override(function, *args, **kwargs):
            seen[number].add(threading.get_ident())
            return function(*args, **kwargs)

        context = torch.zeros(1, 4, dit.config.num_layers * dit.config.hidden_size)
        with torch.inference_mode():
            start.wait()
            for _ in range(5):
                dit(noise, torch.tensor([500.0]), context, None, {"optimized_attention_override": override})

    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [seen[0], seen[1]] == [{threads[0].ident}, {threads[1].ident}]


def test_layers_are_the_hosts_own(model):
    import comfy.ops

    blocks = model.model.diffusion_model.blocks
    assert isinstance(blocks[0].ffn[0], comfy.ops.disable_weight_init.Linear)
    assert isinstance(blocks[0].norm3, comfy.ops.disable_weight_init.LayerNorm)
    assert isinstance(blocks[0].self_attn.norm_q, comfy.ops.disable_weight_init.RMSNorm)
    assert isinstance(model.model.diffusion_model.patch_embedding, comfy.ops.disable_weight_init.Conv3d)
