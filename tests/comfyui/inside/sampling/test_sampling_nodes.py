"""The nodes: equal to the same graph of the host, with defaults, progress and the latent's other entries."""

from __future__ import annotations

import sys
import types

import pytest
import torch


@pytest.fixture
def nodes(part):
    """The four node classes by name."""
    modules = (part("nodes.sampling"), part("nodes.sampler"))
    return types.SimpleNamespace(
        **{name: one for module in modules for name, one in vars(module).items() if name.startswith("LoomVideo")}
    )


@pytest.fixture
def generate(nodes, model, conditionings):
    """Runs the all-in-one node; returns its LATENT."""

    def make(latent=None, task="edit-video", **settings):
        positive, negative, visual = conditionings(task)
        widgets = {
            "seed": 5,
            "steps": 0,
            "guidance_scale": 0.0,
            "visual_guidance_scale": 0.0,
            "solver": "unipc",
            "shift": 5.0,
            "denoise": 1.0,
            **settings,
        }
        latent = {"samples": torch.zeros(1, 48, 2, 4, 4)} if latent is None else latent
        return nodes.LoomVideoSampler.execute(
            model=model, positive=positive, negative=negative, visual=visual, latent=latent, **widgets
        ).args[0]

    return make


def test_all_in_one_equals_the_same_nodes_one_by_one(nodes, generate, model, conditionings):
    from comfy_extras.nodes_custom_sampler import RandomNoise, SamplerCustomAdvanced

    latent = {"samples": torch.zeros(1, 48, 2, 4, 4)}
    positive, negative, visual = conditionings()
    guider = nodes.LoomVideoGuider.execute(
        model=model,
        positive=positive,
        negative=negative,
        visual=visual,
        guidance_scale=2.5,
        visual_guidance_scale=1.5,
    ).args[0]
    sampler = nodes.LoomVideoUniPCSampler.execute(solver="unipc").args[0]
    sigmas = nodes.LoomVideoScheduler.execute(steps=7, shift=5.0, denoise=1.0).args[0]
    noise = RandomNoise.execute(noise_seed=5).args[0]
    expected = SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).args[0]["samples"]
    made = generate(latent, steps=7, guidance_scale=2.5, visual_guidance_scale=1.5)["samples"]
    assert torch.equal(made, expected)
    other_seed = generate(latent, steps=7, guidance_scale=2.5, visual_guidance_scale=1.5, seed=6)["samples"]
    assert not torch.allclose(made, other_seed)


def test_a_small_model_has_its_own_defaults(generate, model, branches_of):
    """12 steps, guidance 2, visual guidance 1.5: so all three branches run."""
    generate()
    assert branches_of(model) == [{0, 1, 2}] * 12


@pytest.mark.parametrize(("task", "text"), [("edit-video", 2.5), ("text-to-image", 5.0), (None, 2.5)])
def test_the_released_model_has_the_official_defaults(part, conditionings, task, text):
    positive, *_ = conditionings(task or "edit-image")
    if task is None:
        del positive[0][1]["loom_task"]  # made by another node: the source tells an edit
    settings = part("nodes.adapter.sampling.settings").run_settings(
        part("loom_core.config.model").LOOMVIDEO_5B, positive
    )
    assert (settings.num_inference_steps, settings.guidance_scale, settings.visual_guidance_scale) == (50, text, 1.5)
    assert (settings.solver, settings.shift) == ("unipc", 5.0)


@pytest.mark.parametrize("widget", [{"steps": 1001}, {"guidance_scale": 30.5}, {"solver": "heun"}, {"shift": -1.0}])
def test_linked_values_out_of_range_are_refused(generate, part, widget):
    """ComfyUI checks what is typed in, not what comes by a link."""
    with pytest.raises(part("loom_core.errors").ConfigError):
        generate(**widget)


def test_everything_else_in_the_latent_is_kept(generate):
    mask = torch.zeros(1, 1, 2, 4, 4)
    mask[..., 2:] = 1
    latent = {
        "samples": torch.full((1, 48, 2, 4, 4), 0.5),
        "noise_mask": mask,
        "other": 7,
        "downscale_ratio_spacial": 16,
    }
    made = generate(latent)
    assert sorted(made) == ["noise_mask", "other", "samples"]
    assert torch.equal(made["noise_mask"], mask)
    torch.testing.assert_close(made["samples"][..., :2], latent["samples"][..., :2])
    assert not torch.allclose(made["samples"][..., 2:], latent["samples"][..., 2:], atol=0.1)
    assert torch.equal(latent["samples"], torch.full((1, 48, 2, 4, 4), 0.5))


def test_an_empty_latent_of_another_vae_is_made_to_fit(generate):
    """As the host does for its own samplers: 16 channels of 8 x 8 pixels become 48 of 16 x 16."""
    made = generate({"samples": torch.zeros(1, 16, 2, 8, 8), "downscale_ratio_spacial": 8}, task="text-to-video")
    assert made["samples"].shape == (1, 48, 2, 4, 4)


def test_noise_of_a_batch_is_that_of_its_indices(generate):
    """LatentFromBatch: sample 1 of a batch comes out the same alone."""
    both = generate({"samples": torch.zeros(2, 48, 2, 4, 4), "batch_index": [0, 1]})["samples"]
    second = generate({"samples": torch.zeros(1, 48, 2, 4, 4), "batch_index": [1]})["samples"]
    torch.testing.assert_close(both[1:], second, atol=1e-5, rtol=0)


def test_part_of_a_run_stays_near_the_latent(generate):
    latent = {"samples": torch.full((1, 48, 2, 4, 4), 0.5)}
    distances = [
        float((generate(latent, denoise=denoise)["samples"] - 0.5).abs().mean()) for denoise in (0.0, 0.1, 0.5, 1.0)
    ]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[1]


@pytest.mark.parametrize("denoise", [0.0, 0.5])
def test_a_part_of_a_run_needs_something_to_begin_with(generate, part, denoise):
    with pytest.raises(part("loom_core.errors").ConfigError, match="with an empty latent"):
        generate({"samples": torch.zeros(1, 48, 2, 4, 4)}, denoise=denoise)


def test_the_node_says_what_it_does(generate, monkeypatch):
    from comfy_execution.utils import CurrentNodeContext

    sent = []
    module = types.ModuleType("server")
    module.PromptServer = types.SimpleNamespace(
        instance=types.SimpleNamespace(client_id="me", send_progress_text=lambda *args: sent.append(args))
    )
    monkeypatch.setitem(sys.modules, "server", module)
    with CurrentNodeContext(prompt_id="p", node_id="9"):
        generate(steps=4, guidance_scale=2.5, visual_guidance_scale=1.5)
    first, last = sent[0], sent[-1]
    about = "guidance 2.5, visual guidance 1.5: full + unconditional + visual"
    assert first == (f"loading the model  \n{about}", "9", "me")
    assert last == (f"step 4 of 4, 0:00 left  \n{about}", "9", "me")


def test_shift_by_size(nodes, part):
    schedule = part("loom_core.sampling.schedule")
    latent = {"samples": torch.zeros(1, 48, 21, 30, 52)}
    shift = schedule.token_shift(21 * 15 * 26)
    sigmas = nodes.LoomVideoScheduler.execute(steps=8, shift=0.0, denoise=1.0, latent=latent).args[0]
    torch.testing.assert_close(sigmas, schedule.flow_schedule(8, shift=shift).sigmas)
    with pytest.raises(part("loom_core.errors").ConfigError, match="shift 0 without a latent"):
        nodes.LoomVideoScheduler.execute(steps=8, shift=0.0, denoise=1.0)


@pytest.mark.parametrize(("with_model", "steps"), [(True, 12), (False, 50)])
def test_no_steps_are_the_models_own_number(nodes, model, with_model, steps):
    given = {"model": model} if with_model else {}
    assert len(nodes.LoomVideoScheduler.execute(steps=0, shift=5.0, denoise=1.0, **given).args[0]) == steps + 1


def test_tokens_are_the_targets_and_the_references(part, conditionings):
    count = part("nodes.adapter.sampling.settings").token_count
    positive, *_ = conditionings()
    target = {"samples": torch.zeros(1, 48, 2, 4, 6)}
    assert count(target) == count(target, positive) == 12
    positive[0][1]["reference_latents"] = [torch.zeros(1, 48, 1, 8, 8), torch.zeros(1, 48, 4, 4)]
    assert count(target, positive) == 12 + 16 + 4
    assert count({"samples": torch.zeros(1, 16, 2, 8, 12), "downscale_ratio_spacial": 8}) == 12


def test_shift_by_size_in_the_all_in_one_node(generate, model):
    generate(shift=0.0, steps=3)
    told = list(dict.fromkeys(timesteps[0] for _, timesteps, _ in model.model.diffusion_model.calls))
    assert told == pytest.approx([999.999, 667, 334], abs=0.2)


def test_schemas_are_complete(nodes):
    for node in vars(nodes).values():
        schema = node.GET_SCHEMA()
        assert schema.description and schema.search_aliases
        assert schema.display_name.startswith("LoomVideo ")
        assert all(entry.tooltip for entry in (*schema.inputs, *schema.outputs))
