"""The host's DiT equals `loom_core`'s, and does what extensions expect of a Wan model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

EXACT = {"atol": 1e-5, "rtol": 1e-5}
CASES = {
    "text alone": {},
    "source": {"source": (3, 4, 6)},
    "source, weak": {"source": (3, 4, 6), "source_strength": 0.4},
    "source, by a curve": {"source": (3, 4, 6), "source_curve": ((1.0, 0.2), (0.0, 1.0))},
    "source, masked": {"source": (3, 4, 6), "source_mask": torch.arange(18.0).view(3, 2, 3) / 18},
    "references": {"references": [(1, 2, 4), (2, 4, 2)]},
    "references at other times": {"references": [(1, 2, 4), (2, 4, 2)], "indices": (-3, -50)},
    "all": {"source": (3, 4, 6), "references": [(1, 2, 4)], "source_strength": 0.8},
}


@pytest.mark.parametrize("case", CASES)
def test_equals_loom_core(model, noise, velocities, expected, conditioning, make_condition, case):
    condition = make_condition(**CASES[case])
    (velocity,) = velocities(model, noise, conditioning(condition))
    torch.testing.assert_close(velocity, expected(noise, condition), **EXACT)


def test_equals_loom_core_in_bfloat16(
    load, write, state, dit, noise, conditioning, make_condition, velocities, expected
):
    """Both computed in bfloat16 throughout."""
    model = load(write({name: tensor.bfloat16() for name, tensor in state.items()}), weight_dtype="bf16")
    model.set_model_compute_dtype(torch.bfloat16)
    condition = make_condition(source=(3, 4, 6), references=[(1, 2, 4)])
    (velocity,) = velocities(model, noise, conditioning(condition))
    wide = expected(noise, condition)
    assert 0 < float((velocity - wide).norm() / wide.norm()) < 2e-2


def test_a_batch_has_its_own_latents_under_one_conditioning(model, velocities, expected, conditioning, make_condition):
    both = torch.randn(2, 48, 3, 4, 6, generator=torch.Generator().manual_seed(5))
    condition = make_condition(source=(3, 4, 6), references=[(1, 2, 4)])
    (velocity,) = velocities(model, both, conditioning(condition))
    torch.testing.assert_close(velocity, expected(both, condition), **EXACT)


def test_branches_of_unlike_kinds_in_one_call(model, noise, velocities, expected, conditioning, make_condition):
    """Of other lengths, with and without source and references: some batched by the host, some not."""
    conditions = [
        make_condition(source=(3, 4, 6), references=[(1, 2, 4)], seed=1),
        make_condition(seed=2),
        make_condition(source=(3, 4, 6), references=[(1, 2, 4)], seed=3),
        make_condition(9, source=(3, 4, 6), seed=4),
    ]
    calls = []
    model.set_model_unet_function_wrapper(
        lambda apply, args: calls.append(len(args["input"])) or apply(args["input"], args["timestep"], **args["c"])
    )
    for velocity, condition in zip(velocities(model, noise, *map(conditioning, conditions)), conditions, strict=True):
        torch.testing.assert_close(velocity, expected(noise, condition), **EXACT)
    assert sorted(calls) == [1, 1, 2]


def test_odd_sizes_are_padded_and_cut(model, velocities, expected, conditioning, make_condition):
    """Target, source, mask and references alike; the host's padding goes on with what is at the other side."""

    def even(x):
        return functional.pad(x[None], (0, x.shape[-1] % 2, 0, x.shape[-2] % 2, 0, 0), mode="circular")[0]

    odd = torch.randn(1, 48, 2, 3, 5, generator=torch.Generator().manual_seed(6))
    mask = torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(7))
    condition = make_condition(source=(2, 3, 5), references=[(1, 3, 2)], source_mask=mask)
    (velocity,) = velocities(model, odd, conditioning(condition))
    (reference,) = condition.references
    padded = replace(
        condition,
        source_latents=even(condition.source_latents),
        references=(replace(reference, latents=even(reference.latents)),),
    )
    torch.testing.assert_close(velocity, expected(even(odd[0])[None], padded)[..., :3, :5], **EXACT)


def test_extensions_may_replace_any_block_and_follow_every_one(
    model, noise, velocities, expected, conditioning, make_condition
):
    condition = make_condition(source=(3, 4, 6), references=[(1, 2, 4)])
    seen, followed = [], []

    def through(args, extra):
        options = args["transformer_options"]
        seen.append((options["block_index"], options["total_blocks"], options["block_type"], args["img"].shape[1]))
        return extra["original_block"](args)

    def skipped(args, extra):
        return {"img": args["img"]}

    def follow(args):
        followed.append((args["block_index"], args["img"].shape[1]))
        return {"img": args["img"]}

    def run(**options):
        return velocities(model, noise, conditioning(condition), **options)[0]

    plain = run(
        patches_replace={"dit": {("double_block", index): through for index in range(3)}},
        patches={"double_block": [follow]},
    )
    torch.testing.assert_close(plain, expected(noise, condition), **EXACT)
    assert seen == [(index, 3, "double", 18 + 2) for index in range(3)]
    assert followed == [(index, 18 + 2) for index in range(3)]
    assert not torch.allclose(run(patches_replace={"dit": {("double_block", 1): skipped}}), plain)


def test_references_leave_in_the_last_block(model, noise, velocities, expected, conditioning, make_condition):
    """Where no extension asks for its tokens."""
    condition, seen = make_condition(source=(3, 4, 6), references=[(1, 2, 4)]), []
    handles = [
        block.ffn[0].register_forward_pre_hook(lambda _layer, args: seen.append(args[0].shape[1]))
        for block in model.model.diffusion_model.blocks
    ]
    try:
        (velocity,) = velocities(model, noise, conditioning(condition))
    finally:
        for handle in handles:
            handle.remove()
    torch.testing.assert_close(velocity, expected(noise, condition), **EXACT)
    assert seen == [18 + 2, 18 + 2, 18]


def test_a_replacement_may_change_what_a_block_is_given(
    model, noise, velocities, expected, conditioning, make_condition
):
    """All it gets counts: with the second block's context in place of the first, it is that model."""
    condition = make_condition()
    contexts = {}

    def keep(args, extra):
        contexts[args["transformer_options"]["block_index"]] = args["txt"]
        return extra["original_block"](args)

    def swap(args, extra):
        return extra["original_block"]({**args, "txt": contexts[1]})

    hooks = {("double_block", index): keep for index in range(3)}
    velocities(model, noise, conditioning(condition), patches_replace={"dit": hooks})
    hooks[("double_block", 0)] = swap
    (swapped,) = velocities(model, noise, conditioning(condition), patches_replace={"dit": hooks})
    states = condition.mllm_hidden_states
    torch.testing.assert_close(
        swapped, expected(noise, replace(condition, mllm_hidden_states=(states[1], *states[1:]))), **EXACT
    )


def test_the_whole_pass_can_be_wrapped(model, noise, velocities, conditioning, make_condition):
    """With the options as last positional argument, as the host's EasyCache reads them."""
    from comfy.patcher_extension import WrappersMP

    seen = []

    def wrapper(executor, *args, **kwargs):
        assert isinstance(args[-1], dict) and "sigmas" in args[-1]
        seen.append(args[0].shape)
        return executor(*args, **kwargs) * 0

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", wrapper)
    from comfy.patcher_extension import merge_nested_dicts

    wrappers = merge_nested_dicts({}, model.wrappers)
    (velocity,) = velocities(model, noise, conditioning(make_condition()), wrappers=wrappers)
    assert seen == [noise.shape]
    assert not velocity.any()


def test_the_attention_override_of_a_user_sees_every_attention(model, noise, velocities, conditioning, make_condition):
    seen = []

    def override(function, *args, **kwargs):
        seen.append((kwargs["transformer_options"]["block_index"], args[1].shape[1]))
        return function(*args, **kwargs)

    velocities(model, noise, conditioning(make_condition(5)), optimized_attention_override=override)
    assert seen == [(index, keys) for index in range(3) for keys in (18, 5)]
