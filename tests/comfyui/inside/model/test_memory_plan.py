"""What a plan knows of loaded parts, and that it counts a step as the host is told it."""

from __future__ import annotations

import pytest


@pytest.fixture
def parts(part):
    model = part("nodes.adapter.model.loading")
    files = part("nodes.adapter.files")
    loaded = (
        model.load_model(str(model.dit_path(files.BUILT_IN)), model.ModelOptions()),
        part("nodes.adapter.encoder.loading").load_encoder(files.BUILT_IN),
        part("nodes.adapter.media.vae").load_vae(files.BUILT_IN),
    )
    return loaded, part("nodes.adapter.planning").parts_of(*loaded)


def test_loaded_parts_are_counted_to_the_byte(parts, part):
    (model, encoder, vae), known = parts
    sizes = part("loom_core.planning.sizes")
    counted = known.form.num_bytes(sizes.dit_weights(known.sizes.dit))
    assert counted == pytest.approx(model.model_size(), rel=1e-3)
    assert known.encoder_form.num_bytes(known.sizes.mllm.weights) == pytest.approx(
        encoder.patcher.model_size(), rel=1e-3
    )
    assert known.sizes.vae.num_weights * vae.vae_dtype.itemsize == vae.model_size()
    assert known.assumed == ()


def test_sizes_are_those_of_the_files(parts, part):
    _, known = parts
    of_files = part("nodes.adapter.planning")._built_in_sizes()
    assert known.sizes.dit == of_files.dit
    for name in ("num_layers", "hidden_size", "intermediate_size", "vision_width", "vision_depth", "num_deepstack"):
        assert getattr(known.sizes.mllm, name) == getattr(of_files.mllm, name), name


def test_a_step_is_what_the_host_is_told(parts, part, monkeypatch):
    """Alike but for the solver's latents, of which the host knows by itself."""
    (model, *_), known = parts
    hosted, plan, run = (part(f"loom_core.planning.{name}") for name in ("hosted", "plan", "run"))
    management = part("nodes.adapter.model.base_model").model_management
    monkeypatch.setattr(management, "pytorch_attention_flash_attention", lambda: True)
    sizes = run.RunSizes(width=256, height=256, num_frames=33, has_source=True, num_references=1)
    planned = hosted.hosted_plan(known.setting(sizes, on_gpu=False), hosted.Device(budget=10**12))
    moment = next(phase.moment for phase in planned.phases if phase.name == plan.DENOISE)
    width = known.sizes.dit.num_layers * known.sizes.dit.hidden_size
    told = model.model.memory_required(
        [1, 48, sizes.target.frames, sizes.target.height, sizes.target.width],
        cond_shapes={
            "c_crossattn": [[1, count, width] for count in sizes.branches.values()],
            "ref_latents": [[1, 48, sizes.target.height * sizes.target.width]],
        },
    )
    assert moment.name.startswith("a step of")
    margin = part("loom_core.planning.moments").MARGIN
    assert margin * (moment.cache + moment.activations) == pytest.approx(told)
