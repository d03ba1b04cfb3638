"""What ComfyUI offers, with LoomVideo, in a running server. docs/compatibility.md has one row for each test here."""

from __future__ import annotations

import time

import pytest
import torch


def assert_near(found, expected, error=0.02):
    assert found.shape == expected.shape
    assert float((found - expected).square().mean().sqrt() / expected.std()) < error


def with_ksampler(made, **settings):
    """The graph with ComfyUI's KSampler in place of ours."""
    given = made.inputs("LoomVideoSampler")
    kept = {name: given[name] for name in ("model", "positive", "negative", "seed")}
    made.replace(
        "LoomVideoSampler",
        "KSampler",
        **kept,
        latent_image=given["latent"],
        **{"steps": 2, "cfg": 2.5, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0, **settings},
    )
    return made


def with_custom_sampler(made, *, solver=None, sigmas=None):
    """The graph with our guider, solver and schedule in ComfyUI's SamplerCustomAdvanced."""
    given = dict(made.inputs("LoomVideoSampler"))
    names = ("model", "positive", "negative", "visual", "guidance_scale", "visual_guidance_scale")
    guider = made.add("LoomVideoGuider", **{name: given[name] for name in names if name in given})
    noise = made.add("RandomNoise", noise_seed=given["seed"])
    solver = made.add("LoomVideoUniPCSampler", solver="unipc") if solver is None else solver
    if sigmas is None:
        sigmas = made.add("LoomVideoScheduler", steps=given["steps"], shift=5.0, denoise=1.0)
    made.replace(
        "LoomVideoSampler",
        "SamplerCustomAdvanced",
        noise=[noise, 0],
        guider=[guider, 0],
        sampler=[solver, 0],
        sigmas=[sigmas, 0],
        latent_image=given["latent"],
    )
    return made


def test_ksampler_with_plain_guidance(short, latents):
    found = latents(with_ksampler(short("video_edit")), sampler="KSampler")
    other = latents(with_ksampler(short("video_edit"), cfg=1.0), sampler="KSampler")
    assert found.isfinite().all() and found.shape[1] == 48
    assert not torch.allclose(found, other, atol=1e-2)


def test_sampler_custom_advanced(short, latents):
    """Our three nodes in core's sampler are our all-in-one node."""
    assert_near(
        latents(with_custom_sampler(short("reference_edit")), sampler="SamplerCustomAdvanced"),
        latents(short("reference_edit")),
        1e-5,
    )


def test_core_samplers_and_schedules_under_our_guider(short, latents):
    made = short("video_edit")
    solver = made.add("KSamplerSelect", sampler_name="dpmpp_2m")
    sigmas = made.add(
        "BasicScheduler", model=made.output("LoomVideoModelLoader"), scheduler="simple", steps=3, denoise=1.0
    )
    found = latents(with_custom_sampler(made, solver=solver, sigmas=sigmas), sampler="SamplerCustomAdvanced")
    assert found.isfinite().all()


def test_model_sampling_sd3_shifts_core_schedules(short, latents):
    made = with_ksampler(short("text_to_video"), steps=3)
    plain = latents(made, sampler="KSampler")
    made.insert("ModelSamplingSD3", after=made.output("LoomVideoModelLoader"), into="model", shift=1.0)
    shifted = latents(made, sampler="KSampler")
    assert shifted.isfinite().all()
    assert not torch.allclose(shifted, plain, atol=1e-2)


@pytest.fixture(scope="session")
def lora(server):
    """A LoRA in ComfyUI's folder, under Wan-native names, as trainers write it."""
    from safetensors.torch import save_file

    from loom_core.bundle import BUILT_IN
    from loom_core.weights.loading import load_dit

    model = load_dit(BUILT_IN / "dit.safetensors", dtype=torch.float32)
    generator, tensors = torch.Generator().manual_seed(0), {}
    for name, parameter in model.named_parameters():
        if name.endswith(("self_attn.q.weight", "cross_attn.v.weight", "ffn.0.weight")):
            key = f"diffusion_model.{name.removesuffix('.weight')}"
            rows, columns = parameter.shape
            tensors[f"{key}.lora_A.weight"] = 0.3 * torch.randn(4, columns, generator=generator)
            tensors[f"{key}.lora_B.weight"] = 0.3 * torch.randn(rows, 4, generator=generator)
            tensors[f"{key}.alpha"] = torch.tensor(4.0)
    folder = server.base / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "native.safetensors")
    return "native.safetensors"


def test_cores_lora_loader(short, latents, lora):
    plain, made, ours = latents(short("text_to_video")), short("text_to_video"), short("text_to_video")
    values = {"lora_name": lora, "strength_model": 1.0}
    made.insert("LoraLoaderModelOnly", after=made.output("LoomVideoModelLoader"), into="model", **values)
    changed = latents(made)
    assert not torch.allclose(changed, plain, atol=1e-2)
    strength = {"lora_name": lora, "strength": 1.0}
    ours.insert("LoomVideoLoraLoader", after=ours.output("LoomVideoModelLoader"), into="model", **strength)
    assert_near(latents(ours), changed, 1e-4)


@pytest.mark.slow
def test_torch_compile(short, latents):
    made = short("text_to_image")
    plain = latents(made)
    made.insert("TorchCompileModel", after=made.output("LoomVideoModelLoader"), into="model", backend="inductor")
    assert_near(latents(made), plain, 0.05)


def test_easycache(short, latents):
    made = short("video_edit", steps=10)
    plain = latents(made)
    made.insert(
        "EasyCache",
        after=made.output("LoomVideoModelLoader"),
        into="model",
        reuse_threshold=1.0,
        start_percent=0.0,
        end_percent=1.0,
        verbose=True,
    )
    cached = latents(made)
    assert cached.isfinite().all()
    assert not torch.equal(cached, plain)


def test_context_windows(short, latents):
    """The source is sliced along with the target, references stay; see also inside/ for what each window gets."""
    made = short("reference_edit")
    made.set("LoomVideoSourceLatentScaler", max_frames=33)
    plain = latents(made)
    made.insert(
        "WanContextWindowsManual",
        after=made.output("LoomVideoModelLoader"),
        into="model",
        context_length=17,
        context_overlap=8,
        context_schedule="standard_static",
        context_stride=1,
        closed_loop=False,
        fuse_method="pyramid",
        freenoise=False,
        split_conds_to_windows=False,
        retain_first_frame=False,
    )
    found = latents(made)
    assert found.isfinite().all()
    assert_near(found, plain, 0.9)  # the same picture, seen in parts
    assert not torch.equal(found, plain)


def test_batch_of_two(short, latents):
    made = short("video_edit")
    source = made.output("LoomVideoSourceLatentScaler", 1)
    made.insert("RepeatLatentBatch", after=source, into="samples", amount=2)
    made.insert("LatentFromBatch", after=made.output("LoomVideoSampler"), into="samples", batch_index=1, length=1)
    found = latents(made)
    assert found.shape[0] == 2
    assert not torch.allclose(found[0], found[1], atol=1e-2)


def test_part_of_a_run(short, latents):
    """As img2img: it begins at the source's own latents."""
    made = short("video_edit", steps=4)
    frames = made.add("GetVideoComponents", video=made.output("LoadVideo"))
    scaled = made.add("ImageScale", image=[frames, 0], upscale_method="bilinear", width=128, height=96, crop="center")
    nine = made.add("ImageFromBatch", image=[scaled, 0], batch_index=0, length=9)
    start = made.add("VAEEncode", pixels=[nine, 0], vae=made.output("LoomVideoVAELoader"))
    made.set("LoomVideoSourceLatentScaler", width=128, height=96).set("LoomVideoSampler", latent=[start, 0])
    made.set("LoomVideoSampler", denoise=0.0)
    clean = latents(made)
    near, far = (latents(made.set("LoomVideoSampler", denoise=share)) for share in (0.2, 1.0))
    distances = [float((one - clean).square().mean().sqrt()) for one in (near, far)]
    assert 0 < distances[0] < distances[1]


def test_latent_preview_every_step(short, succeed):
    run = succeed(short("text_to_video", steps=5).set("LoomVideoSampler", seed=501))
    assert len(run.previews) >= 5
    assert min(run.previews) > 500


def test_progress_and_time_left(short, succeed):
    made = short("text_to_video", steps=3).set("LoomVideoSampler", seed=502)
    run = succeed(made)
    told = run.texts(made.find("LoomVideoSampler"))
    assert any("step 3 of 3, 0:00 left" in text for text in told), told
    reports = run.reports(made.find("LoomVideoSampler"))
    assert [(one["phase"], one["step"]) for one in reports] == [("load", 0), *(("denoise", step) for step in range(4))]
    assert all(one["memory"]["used"] > 0 and one["steps"] == 3 for one in reports)


def interrupted_at(server, graph_, kind, after=0.0, says=None):
    """Runs until a node works, or says something, and stops it there; the run, and how long the stop took."""
    node, pressed = graph_.find(kind), []

    def press(event, data):
        is_it = event == "executing" if says is None else event == "text" and says in data["text"]
        if is_it and data.get("node") == node and not pressed:
            time.sleep(after)
            pressed.append(time.monotonic())
            server.interrupt()

    run = server.run(graph_.prompt, on_event=press)
    return run, time.monotonic() - pressed[0]


def test_interrupt_while_denoising(server, short, succeed):
    made = short("text_to_video", steps=200).set("LoomVideoSampler", seed=601)
    run, seconds = interrupted_at(server, made, "LoomVideoSampler", after=1.0)
    assert run.status == "interrupted"
    assert seconds < 20
    succeed(short("text_to_video").set("LoomVideoSampler", seed=602))


def test_interrupt_inside_a_step(server, short, succeed):
    """A step that takes minutes on a slow machine stops between two layers."""
    made = short("text_to_video", steps=2)
    made.insert("TestSlowModel", after=made.output("LoomVideoModelLoader"), into="model", seconds=2.0)
    run, _ = interrupted_at(server, made, "LoomVideoSampler", after=1.0)
    assert run.status == "interrupted"
    told = run.texts(made.find("LoomVideoSampler"))
    assert told and not any(text.startswith("step") for text in told)  # not even the first step came to its end
    succeed(short("text_to_video").set("LoomVideoSampler", seed=603))


def test_interrupt_the_mllm(server, short, succeed):
    made = short("references_to_video")
    made.set("LoomVideoSizeHelper", length=9).set("LoomVideoDeepstackEncode", prompt="@Image 1 " + "very " * 3000)
    run, _ = interrupted_at(server, made, "LoomVideoDeepstackEncode", after=0.05)
    assert run.status == "interrupted"
    succeed(short("references_to_video"))


def test_interrupt_the_vae(server, short, succeed):
    made = short("video_edit")
    made.set("LoomVideoSourceLatentScaler", width=1280, height=704, max_frames=49)
    run, seconds = interrupted_at(server, made, "LoomVideoSourceLatentScaler", says="encoding the source: 1 of")
    assert run.status == "interrupted"
    assert seconds < 20
    assert not any("13 of 13" in text for text in run.texts(made.find("LoomVideoSourceLatentScaler")))
    succeed(short("video_edit"))


def test_another_seed_runs_only_what_depends_on_it(server, short, succeed):
    made = short("reference_edit").set("LoomVideoSampler", seed=701)
    succeed(made)
    again = succeed(made.set("LoomVideoSampler", seed=702))
    sampler, decode = made.find("LoomVideoSampler"), made.find("VAEDecode")
    restore, save = made.find("LoomVideoRestoreVideo"), made.find("SaveVideo")
    assert set(again.executed) == {sampler, decode, restore, save}


def test_another_strength_does_not_read_the_prompt_again(server, short, succeed):
    made = short("video_edit").set("LoomVideoDeepstackEncode", prompt="Make it warmer, said once.")
    succeed(made)
    again = succeed(made.set("LoomVideoSourceLatentScaler", strength=0.5))
    told = " ".join(again.texts(made.find("LoomVideoDeepstackEncode")))
    assert "cache" in told, told


def test_unload_and_reload(server, short, latents):
    made = short("video_edit").set("LoomVideoSampler", seed=801)
    first = latents(made)
    server.post("/free", {"unload_models": True, "free_memory": True})
    time.sleep(2)
    assert torch.equal(latents(made), first)


@pytest.mark.parametrize("flag", ["--fp8_e4m3fn-unet", "--bf16-unet"])
def test_flags(start_server, short, latents, flag):
    """Beside --cpu, with which all tests run; --lowvram excludes it, see inside/model/test_saving.py."""
    made = short("video_edit")
    found, plain = latents(made, on=start_server(flag)), latents(made)
    assert found.isfinite().all()
    assert_near(found, plain, {"--fp8_e4m3fn-unet": 0.6, "--bf16-unet": 0.2}[flag])
    assert torch.equal(found, plain) == (flag == "--bf16-unet")  # what the built-in weights are in anyway


def test_saved_models_load_again(server, short, succeed, latents):
    made = short("text_to_video")
    plain = latents(made)
    saver = short("text_to_video")
    saver.add("ModelSave", model=saver.output("LoomVideoModelLoader"), filename_prefix="saved/tiny")
    succeed(saver)
    (path,) = sorted((server.base / "output" / "saved").glob("tiny*.safetensors"))
    folder = server.base / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    path.rename(folder / "saved_tiny.safetensors")
    made.set("LoomVideoModelLoader", model_name="saved_tiny.safetensors")
    assert_near(latents(made), plain, 0.02)
