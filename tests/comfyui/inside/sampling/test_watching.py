"""What the panel of a run is told: each step with its branches, tokens as planned, memory as the host was told."""

from __future__ import annotations

import sys
import types

import pytest
import torch


@pytest.fixture
def told(monkeypatch):
    """Messages of the panel, as a server sends them."""
    from comfy_execution.utils import CurrentNodeContext

    sent = []
    module = types.ModuleType("server")
    module.PromptServer = types.SimpleNamespace(
        instance=types.SimpleNamespace(client_id="me", send_sync=lambda *args: sent.append(args))
    )
    monkeypatch.setitem(sys.modules, "server", module)
    with CurrentNodeContext(prompt_id="p", node_id="9"):
        yield sent


@pytest.fixture
def generate(part, make_model, conditionings):
    """Runs the sampler node; gives back the model as it was made."""

    def run(latent=None, *, fails=(), references=(), with_visual=True, **settings):
        model = make_model(fails)
        positive, negative, visual = conditionings()
        if references:
            positive[0][1]["reference_latents"] = list(references)
        defaults = {"seed": 3, "steps": 4, "guidance_scale": 2.5, "visual_guidance_scale": 1.5, "solver": "euler"}
        part("nodes.sampler").LoomVideoSampler.execute(
            model,
            positive,
            negative,
            {"samples": torch.zeros(1, 48, 2, 4, 4)} if latent is None else latent,
            visual=visual if with_visual else None,
            **{**defaults, "shift": 5.0, "denoise": 1.0, **settings},
        )
        return model

    return run


def test_every_step_is_told_with_the_branches_it_runs(generate, told):
    generate()
    assert {(event, message["node"], message["prompt_id"], client) for event, message, client in told} == {
        ("loomvideo.progress", "9", "p", "me")
    }
    told = [message for _, message, _ in told]
    assert [(one["phase"], one["step"], one["steps"]) for one in told] == [
        ("load", 0, 4),
        *(("denoise", step, 4) for step in range(5)),
    ]
    assert [one["branches"] for one in told] == [None, *[["full", "unconditional", "visual"]] * 4, []]
    assert [one["seconds_left"] is None for one in told] == [True, True, False, False, False, False]
    assert told[-1]["seconds_left"] == 0
    assert {(one["guidance_scale"], one["visual_guidance_scale"], one["notice"]) for one in told} == {(2.5, 1.5, "")}


def test_what_a_user_should_know_is_told(generate, told):
    generate(with_visual=False)
    message = told[-1][1]
    assert (message["guidance_scale"], message["visual_guidance_scale"]) == (2.5, None)
    assert message["notice"].startswith("no visual conditioning is connected")


@pytest.mark.parametrize(
    ("scales", "branches"),
    [
        ((2.5, 1.0), ["full", "visual"]),
        ((1.5, 1.5), ["full", "unconditional"]),
        ((1.0, 1.0), ["full"]),
    ],
)
def test_a_branch_without_weight_is_not_told(generate, told, scales, branches):
    generate(guidance_scale=scales[0], visual_guidance_scale=scales[1])
    assert [message["branches"] for _, message, _ in told if message["branches"]] == [branches] * 4


def test_branches_are_those_of_the_step_where_guidance_is_left_out(generate, told):
    model = generate(steps=12, guidance_every=3)
    counts = [len(message["branches"]) for _, message, _ in told if message["branches"] is not None]
    assert set(counts[:-1]) == {1, 3}
    assert sum(counts) == sum(len(branches) for branches, *_ in model.model.diffusion_model.calls)


def test_a_step_that_is_extrapolated_runs_no_branch(generate, told):
    generate(steps=30, speed="fast")
    branches = [message["branches"] for _, message, _ in told if message["branches"] is not None]
    assert [] in branches[:-1]
    assert len(branches) == 31


def test_tokens_are_those_of_the_plan(generate, told, part):
    reference = torch.zeros(1, 48, 1, 4, 4)
    generate(references=[reference, reference, reference])
    run = part("loom_core.planning.run").RunSizes(width=64, height=64, num_frames=5, num_references=3)
    for _, message, _ in told:
        tokens = message["tokens"]
        assert tokens["target"] == run.target.tokens == 8
        assert tokens["references"] == run.reference_tokens == 12
        assert (tokens["total"], tokens["context"]) == (20, 3)


def test_memory_is_what_the_host_was_told_on_top_of_what_is_there(generate, told, monkeypatch):
    from comfy import model_base

    step = 3 << 30
    monkeypatch.setattr(model_base.BaseModel, "memory_required", lambda *_, **__: float(step))
    generate()
    for _, message, _ in told:
        memory = message["memory"]
        assert memory["of"] == "process"
        assert 0 < memory["used"] < memory["free"]
        assert 0 <= memory["predicted"] - step <= memory["used"]


def test_after_memory_ran_out_it_begins_again(generate, told, monkeypatch):
    import latent_preview

    errors = iter([None, None, MemoryError()])

    def fail_once(*_):
        if (error := next(errors, None)) is not None:
            raise error

    monkeypatch.setattr(latent_preview, "prepare_callback", lambda *_: fail_once)
    generate()
    steps = [(message["phase"], message["step"]) for _, message, _ in told]
    assert steps == [
        ("load", 0),
        *(("denoise", step) for step in range(3)),
        ("load", 0),
        *(("denoise", step) for step in range(5)),
    ]
