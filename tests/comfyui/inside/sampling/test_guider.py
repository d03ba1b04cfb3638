"""Which branches run, how they are combined, and what extensions of the host see of it."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize(
    ("scales", "visual", "expected"),
    [
        ((2.5, 1.5), True, {0, 1, 2}),
        ((2.5, 1.0), True, {0, 2}),
        ((2.0, 2.0), True, {0, 1}),
        ((1.0, 1.5), True, {0, 1, 2}),
        ((1.0, 1.0), True, {0}),
        ((2.5, 1.5), False, {0, 1}),
        ((1.0, 3.0), False, {0}),
    ],
)
def test_only_branches_that_count_are_run(guide, model, sampler, scales, visual, expected, run, branches_of):
    run(guide(*scales, visual=visual), sampler.flow_sampler("euler"), sampler.flow_sigmas(3, shift=5.0))
    assert branches_of(model) == [expected] * 3


def test_text_to_video_has_no_visual_branch(guide, model, sampler, run, branches_of):
    guider = guide(5.0, 1.5, task="text-to-video")
    run(guider, sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0))
    assert branches_of(model) == [{0, 1}] * 2
    assert (guider.notice, guider.describe()) == ("", "guidance 5: full + unconditional")


def test_a_missing_visual_conditioning_is_said(guide, caplog, sampler, run):
    guider = guide(2.5, 1.5, visual=False)
    run(guider, sampler.flow_sampler("euler"), sampler.flow_sigmas(1, shift=5.0))
    assert "no visual conditioning is connected" in guider.notice
    assert guider.notice in caplog.text


def test_branches_that_can_be_are_batched(guide, model, sampler, run):
    run(guide(2.5, 1.5), sampler.flow_sampler("euler"), sampler.flow_sigmas(1, shift=5.0))
    assert [size for *_, size in model.model.diffusion_model.calls] == [3]


def test_all_branches_run_for_those_who_ask(guide, model, sampler, run, branches_of):
    """`disable_cfg1_optimization`: an extension wants the unconditional prediction also where it has no weight."""
    model.set_model_sampler_post_cfg_function(lambda args: args["denoised"], disable_cfg1_optimization=True)
    plain = run(guide(1.0, 1.0), sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0))
    assert branches_of(model) == [{0, 1, 2}] * 2
    model.model_options.pop("disable_cfg1_optimization")
    assert torch.equal(run(guide(1.0, 1.0), sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0)), plain)


def test_post_cfg_functions_run_once_on_the_final_combination(guide, model, sampler, run, part, velocity):
    seen = []
    model.set_model_sampler_post_cfg_function(lambda args: seen.append(args) or args["denoised"] * 0.5)
    model.set_model_sampler_post_cfg_function(lambda args: seen.append(args) or args["denoised"])
    result = run(guide(2.5, 1.5), sampler.flow_sampler("euler"), sampler.flow_sigmas(1, shift=5.0))
    assert len(seen) == 2
    names = "denoised cond uncond cond_scale model uncond_denoised cond_denoised sigma model_options input"
    assert set(names.split()) <= set(seen[0])
    first, second = seen
    x, timestep = first["input"], torch.tensor([999.999])
    u, v, c = (velocity({branch: 1.0})(x, timestep) for branch in part("loom_core.types").Branch)
    torch.testing.assert_close(first["denoised"], x - (u + 1.5 * (v - u) + 2.5 * (c - v)), atol=1e-4, rtol=0)
    torch.testing.assert_close(first["cond_denoised"], x - c, atol=1e-4, rtol=0)
    torch.testing.assert_close(first["uncond_denoised"], x - u, atol=1e-4, rtol=0)
    torch.testing.assert_close(second["denoised"], 0.5 * first["denoised"])
    torch.testing.assert_close(result, second["denoised"], atol=1e-5, rtol=0)


def test_without_an_unconditional_branch_the_visual_one_stands_for_it(guide, model, sampler, run):
    seen = []
    model.set_model_sampler_post_cfg_function(lambda args: seen.append(args) or args["denoised"])
    run(guide(2.5, 1.0), sampler.flow_sampler("euler"), sampler.flow_sigmas(1, shift=5.0))
    args = seen[0]
    guided = args["uncond_denoised"] + 2.5 * (args["cond_denoised"] - args["uncond_denoised"])
    torch.testing.assert_close(args["denoised"], guided)


def test_pre_cfg_functions_see_every_branch_and_may_return_a_pair(guide, model, sampler, run):
    plain = run(guide(2.5, 1.5), sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0))
    sizes = []
    model.set_model_sampler_pre_cfg_function(lambda args: sizes.append(len(args["conds_out"])) or args["conds_out"][:2])
    same = run(guide(2.5, 1.5), sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0))
    assert sizes == [3, 3]
    assert torch.equal(same, plain)
    model.set_model_sampler_pre_cfg_function(lambda args: [2 * args["conds_out"][0], *args["conds_out"][1:]])
    changed = run(guide(2.5, 1.5), sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0))
    assert not torch.allclose(changed, plain)


@pytest.mark.parametrize("scales", [(2.5, 1.5), (2.5, 1.0), (2.0, 2.0), (1.0, 1.5), (1.0, 1.0)])
def test_a_formula_of_an_extension_that_is_plain_guidance_changes_nothing(guide, model, sampler, scales, run):
    sigmas = sampler.flow_sigmas(3, shift=5.0)
    plain = run(guide(*scales), sampler.flow_sampler("unipc"), sigmas)
    model.set_model_sampler_cfg_function(
        lambda args: args["uncond"] + args["cond_scale"] * (args["cond"] - args["uncond"])
    )
    torch.testing.assert_close(run(guide(*scales), sampler.flow_sampler("unipc"), sigmas), plain, atol=1e-4, rtol=0)


def test_an_extension_that_runs_the_pair_itself_leaves_us_the_third(guide, model, sampler, run):
    from comfy.samplers import calc_cond_batch

    sigmas = sampler.flow_sigmas(2, shift=5.0)
    plain = run(guide(2.5, 1.5), sampler.flow_sampler("euler"), sigmas)

    def pair(args):
        cond, uncond = args["conds"]
        return calc_cond_batch(args["model"], [cond, uncond], args["input"], args["sigma"], args["model_options"])

    model.set_model_sampler_calc_cond_batch_function(pair)
    torch.testing.assert_close(run(guide(2.5, 1.5), sampler.flow_sampler("euler"), sigmas), plain)


def test_conditionings_may_hold_for_a_part_of_the_run(guide, model, sampler, run):
    """ConditioningSetTimestepRange and ConditioningCombine: two prompts, one after the other."""
    positive = guide(2.5, 1.0).original_conds["positive"][0]
    guider = guide(2.5, 1.0)
    early = {**positive, "start_percent": 0.0, "end_percent": 0.5}
    late = {**positive, "start_percent": 0.5, "end_percent": 1.0, "cross_attn": positive["cross_attn"] + 1}
    guider.original_conds["positive"] = [early, late]
    seen = []
    model.set_model_unet_function_wrapper(
        lambda apply, args: (
            seen.append(args["c"]["c_crossattn"].mean((1, 2)).tolist())
            or apply(args["input"], args["timestep"], **args["c"])
        )
    )
    run(guider, sampler.flow_sampler("euler"), sampler.flow_sigmas(8, shift=5.0))
    highest = [max(means) for means in seen]
    assert highest == sorted(highest)
    assert round(highest[0], 3) == 0.8
    assert round(highest[-1], 3) == 1.8


def test_nothing_of_a_run_stays_behind(guide, sampler, run):
    """ComfyUI keeps the guider for the next run; conditions on a GPU must not stay with it, nor after a failure."""
    guider = guide(2.5, 1.5)
    run(guider, sampler.flow_sampler("euler"), sampler.flow_sigmas(1, shift=5.0))
    with pytest.raises(ZeroDivisionError):
        run(guider, sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0), callback=lambda *_: 1 / 0)
    assert not {"conds", "inner_model", "loaded_models"} & set(vars(guider))
    run(guider, sampler.flow_sampler("euler"), sampler.flow_sigmas(1, shift=5.0))


def test_a_cancel_goes_through_and_the_next_run_is_fine(guide, sampler, run):
    from comfy import model_management

    guider, steps = guide(2.5, 1.5), []

    def cancel(step, *_):
        steps.append(step)
        if step == 1:
            model_management.interrupt_current_processing()
            model_management.throw_exception_if_processing_interrupted()

    with pytest.raises(model_management.InterruptProcessingException):
        run(guider, sampler.flow_sampler("unipc"), sampler.flow_sigmas(5, shift=5.0), callback=cancel)
    assert steps == [0, 1]
    assert run(guider, sampler.flow_sampler("unipc"), sampler.flow_sigmas(5, shift=5.0)).isfinite().all()
