"""Where a guided run cannot go on: memory, and inputs that do not fit together."""

from __future__ import annotations

import pytest
import torch


def out():
    """As the GPU raises it; a new one each time, since a raised one keeps what it was raised through."""
    return torch.cuda.OutOfMemoryError("CUDA out of memory")


@pytest.fixture
def errors(part):
    return part("loom_core.errors")


def test_out_of_memory_runs_the_branches_one_by_one(guide, make_model, sampler, run):
    """For the rest of the run, and with the same result."""
    sigmas = sampler.flow_sigmas(3, shift=5.0)
    expected = run(guide(2.5, 1.5), sampler.flow_sampler("unipc"), sigmas)
    model = make_model(fails=[out()])
    result = run(guide(2.5, 1.5, on=model), sampler.flow_sampler("unipc"), sigmas)
    torch.testing.assert_close(result, expected)
    calls = model.model.diffusion_model.calls
    assert [(sorted(branches), size) for branches, _, size in calls] == [
        ([0, 1, 2], 3),
        *[([i], 1) for i in (0, 1, 2)] * 3,
    ]


def test_out_of_memory_does_not_lose_an_extension(guide, make_model, sampler, run):
    """One that runs the pair of branches itself runs it again, after freeing."""
    from comfy.samplers import calc_cond_batch

    model, runs = make_model(fails=[out()]), []
    model.set_model_sampler_calc_cond_batch_function(
        lambda args: (
            runs.append(len(args["conds"]))
            or calc_cond_batch(args["model"], args["conds"], args["input"], args["sigma"], args["model_options"])
        )
    )
    assert (
        run(guide(2.5, 1.5, on=model), sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0))
        .isfinite()
        .all()
    )
    assert runs == [2, 2, 2]


def test_the_model_at_work_is_not_unloaded_between(guide, make_model, sampler, run, monkeypatch):
    from comfy import model_management

    model = make_model(fails=[out()])
    other = make_model()
    model_management.load_models_gpu([other])
    kept = []
    empty = model_management.soft_empty_cache

    def look(*args):
        kept.append([loaded.model for loaded in model_management.current_loaded_models])
        empty(*args)

    monkeypatch.setattr(model_management, "soft_empty_cache", look)
    run(guide(2.5, 1.5, on=model), sampler.flow_sampler("euler"), sampler.flow_sigmas(1, shift=5.0))
    assert kept[-1] == [model]


def test_out_of_memory_twice_is_one_sentence_and_the_next_run_is_fine(guide, make_model, sampler, run, errors):
    from comfy import model_management

    model = make_model(fails=[out(), out()])
    guider = guide(2.5, 1.5, on=model)
    with pytest.raises(
        errors.ResourceError, match="no memory left while denoising 5 frames of 64 x 64, the branches one after"
    ):
        run(guider, sampler.flow_sampler("unipc"), sampler.flow_sigmas(3, shift=5.0))
    assert model_management.current_loaded_models == []
    assert run(guider, sampler.flow_sampler("unipc"), sampler.flow_sigmas(3, shift=5.0)).isfinite().all()


def test_out_of_memory_outside_of_the_model_starts_once_more(guide, sampler, run, errors):
    guider, failures = guide(2.5, 1.5), [out()]

    def callback(*_):
        if failures:
            raise failures.pop()

    assert (
        run(guider, sampler.flow_sampler("unipc"), sampler.flow_sigmas(2, shift=5.0), callback=callback)
        .isfinite()
        .all()
    )

    def always(*_):
        raise out()

    with pytest.raises(errors.ResourceError, match="no memory left while denoising 5 frames of 64 x 64;"):
        run(guider, sampler.flow_sampler("unipc"), sampler.flow_sigmas(2, shift=5.0), callback=always)


def test_what_would_fit_is_told(part, model, monkeypatch):
    from comfy import model_management

    what_fits = part("nodes.adapter.sampling.guider").what_fits
    latents = torch.zeros(1, 48, 31, 4, 4)
    for frames, sentence in ((11, "at most about 41 frames at this size"), (31, ""), (0, "")):
        free = model.model.memory_required([1, 48, frames, 4, 4])
        monkeypatch.setattr(model_management, "get_free_memory", lambda *_, free=free: free)
        assert what_fits(model, latents) == sentence


def test_a_result_that_is_not_finite_is_refused(guide, model, sampler, run, errors):
    model.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * float("nan"))
    with pytest.raises(errors.LoomError, match="not finite after denoising"):
        run(guide(2.5, 1.5), sampler.flow_sampler("euler"), sampler.flow_sigmas(1, shift=5.0))


@pytest.fixture
def guide_with(part, model, conditionings):
    """Makes a guider after a change to what it is given: (positive, negative, visual) by name."""

    def make(change=None, on=None, **kwargs):
        given = dict(zip(("positive", "negative", "visual"), conditionings(**kwargs), strict=True))
        if change is not None:
            change(given)
        settings = part("loom_core.config.sampling").SamplingConfig()
        return part("nodes.adapter.sampling.guider").CascadedGuider(on or model, **given, settings=settings)

    return make


def test_a_model_of_another_kind_is_refused(guide_with, make_model, errors):
    model = make_model()
    del model.model.loom_config
    with pytest.raises(errors.WeightsError, match=r"another kind \(BaseModel\); expected a LoomVideo model"):
        guide_with(on=model)


@pytest.mark.parametrize("name", ["positive", "negative", "visual"])
def test_conditioning_of_another_model_is_refused(guide_with, errors, name):
    def widen(given):
        given[name][0][0] = torch.zeros(1, 3, 30 * 4096)
        given[name][0][1]["loom_num_layers"] = 30

    with pytest.raises(errors.ConfigError, match=f"at {name} with 30 layers of 4096 numbers; expected 2 layers of 8"):
        guide_with(widen)


def test_conditioning_of_another_encoder_is_refused(guide_with, errors):
    def replace(given):
        given["negative"] = [[torch.zeros(1, 77, 768), {}]]

    with pytest.raises(errors.ConfigError, match=r"at negative with 768 numbers a token.*LoomVideo Deepstack Encode"):
        guide_with(replace)


def test_empty_conditioning_is_refused(guide_with, errors):
    with pytest.raises(errors.ConfigError, match="empty conditioning at negative"):
        guide_with(lambda given: given.update(negative=[]))


@pytest.mark.parametrize(
    ("latent", "words"),
    [
        (torch.ones(1, 16, 2, 4, 4), "latents with 16 channels; expected 48"),
        (torch.zeros(1, 48, 4, 4), "latents of 4 dimensions"),
        (torch.zeros(1, 48, 2, 5, 4), "latents of 5 frames of 64 x 80; expected .* multiples of 32"),
        (torch.zeros(1, 48, 0, 4, 4), "multiples of 32"),
        (torch.full((1, 48, 2, 4, 4), float("inf")), "latents that are not finite"),
        (torch.zeros(1, 48, 3, 4, 4), "latents of 9 frames of 64 x 64 with a source of 5 frames of 64 x 64"),
        (torch.zeros(1, 48, 2, 4, 6), "latents of 5 frames of 96 x 64 with a source of 5 frames of 64 x 64"),
    ],
)
def test_latents_that_do_not_fit_are_refused_before_the_model_is_loaded(
    guide_with, sampler, model, errors, monkeypatch, latent, words
):
    from comfy import model_management

    monkeypatch.setattr(model_management, "load_models_gpu", lambda *_, **__: pytest.fail("the model was loaded"))
    guider = guide_with()
    with pytest.raises(errors.ConfigError, match=words):
        guider.sample(latent, latent, sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0), seed=0)


def test_several_latents_in_one_are_refused(guide_with, sampler, errors):
    from comfy.nested_tensor import NestedTensor

    latent = NestedTensor([torch.zeros(1, 48, 2, 4, 4), torch.zeros(1, 8, 10)])
    with pytest.raises(errors.ConfigError, match="several latents in one"):
        guide_with().sample(latent, latent, sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0), seed=0)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("loom_source_latent", torch.ones(1, 16, 2, 4, 4), "source latents with 16 channels"),
        (
            "reference_latents",
            [torch.ones(1, 48, 1, 4, 4), torch.ones(1, 4, 1, 4, 4)],
            "of reference 2 with 4 channels",
        ),
    ],
)
def test_pictures_of_another_vae_are_refused(guide_with, sampler, errors, run, name, value, words):
    guider = guide_with(lambda given: given["positive"][0][1].update({name: value}))
    with pytest.raises(errors.ConfigError, match=words):
        run(guider, sampler.flow_sampler("euler"), sampler.flow_sigmas(2, shift=5.0))
