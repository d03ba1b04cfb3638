"""Wrong input is one clear sentence on the node, and the next prompt runs."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def refused(server, short):
    """Runs a graph that must fail on a node of a kind, then a good one; what the node says."""

    def run(graph_, kind):
        done = server.run(graph_.prompt)
        assert done.status == "error", done.status + done.message
        assert done.error["node_type"] == kind, done.message
        assert done.message.startswith("found "), done.message
        assert "\n" not in done.message
        good = server.run(short("text_to_image", steps=1).prompt)
        assert good.status == "success", good.message
        return done.message

    return run


@pytest.mark.parametrize(
    ("node", "inputs", "says"),
    [
        ("LoomVideoEmptyLatent", {"width": 1000}, "multiples of 32"),
        ("LoomVideoEmptyLatent", {"length": 98}, "98 frames"),
        ("LoomVideoDeepstackEncode", {"prompt": "A cat like @Image 3."}, "@Image 3"),
        ("LoomVideoDeepstackEncode", {"prompt": "   "}, "prompt"),
        ("LoomVideoDeepstackEncode", {"task": "edit-video"}, "source"),
        ("LoomVideoDeepstackEncode", {"task": "reference-to-video"}, "reference"),
    ],
)
def test_requests_that_make_no_sense(short, refused, node, inputs, says):
    assert says in refused(short("text_to_video").set(node, **inputs), node)


def test_numbers_out_of_range_do_not_even_start(server, short):
    run = server.run(short("text_to_video").set("LoomVideoSampler", steps=-3).prompt)
    assert run.status == "rejected"
    assert "steps" in run.message


def test_a_vae_of_another_model(server, short, refused):
    """Wan 2.1's, with 16 channels: ComfyUI loads it, our nodes refuse it."""
    from safetensors.torch import save_file

    folder = server.base / "models" / "vae"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(wan21_vae_weights(), folder / "wan_2.1_vae.safetensors")
    message = refused(
        short("video_edit").set("LoomVideoVAELoader", vae_name="wan_2.1_vae.safetensors"), "LoomVideoVAELoader"
    )
    assert "wan2.2_vae.safetensors" in message
    made = short("video_edit")
    made.replace("LoomVideoVAELoader", "VAELoader", vae_name="wan_2.1_vae.safetensors")
    assert "16" in refused(made, "LoomVideoSourceLatentScaler")


def wan21_vae_weights():
    """Weights of a small VAE that ComfyUI takes for Wan 2.1's: 16 latent channels."""
    import os
    import subprocess
    import sys
    import tempfile

    from safetensors.torch import load_file

    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import comfy.options; comfy.options.enable_args_parsing(False)\n"
        "from comfy.cli_args import args; args.cpu = True\n"
        "import comfy.ldm.wan.vae as vae, safetensors.torch\n"
        "model = vae.WanVAE(dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],\n"
        "                   temperal_downsample=[False, True, True], dropout=0.0)\n"
        "safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, sys.argv[2])\n"
    )
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        python = os.environ.get("COMFYUI_PYTHON", sys.executable)
        subprocess.run([python, "-c", program, os.environ["COMFYUI_PATH"], file.name], check=True, capture_output=True)
        return load_file(file.name)


def test_an_encoder_of_another_model(server, short, refused):
    from safetensors.torch import save_file

    folder = server.base / "models" / "text_encoders"
    folder.mkdir(parents=True, exist_ok=True)
    clip_l = {
        "text_model.embeddings.token_embedding.weight": torch.zeros(49408, 8),
        "text_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(32, 8),
        "text_model.encoder.layers.1.mlp.fc1.weight": torch.zeros(32, 8),
    }
    save_file(clip_l, folder / "clip_l.safetensors")
    made = short("text_to_video").set("LoomVideoEncoderLoader", encoder_name="clip_l.safetensors")
    assert "Qwen3-VL" in refused(made, "LoomVideoEncoderLoader")


def test_an_encoder_without_its_vision_part(server, short, refused):
    from safetensors.torch import load_file, save_file

    from loom_core.bundle import BUILT_IN

    folder = server.base / "models" / "text_encoders"
    folder.mkdir(parents=True, exist_ok=True)
    weights = load_file(BUILT_IN / "mllm" / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "visual" not in name}, folder / "blind.safetensors")
    made = short("reference_edit").set("LoomVideoEncoderLoader", encoder_name="blind.safetensors")
    message = refused(made, "LoomVideoEncoderLoader")
    assert "vision" in message


def test_a_model_of_another_kind(server, short, refused):
    from safetensors.torch import save_file

    folder = server.base / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"some.other.weight": torch.zeros(4)}, folder / "other.safetensors")
    made = short("text_to_video").set("LoomVideoModelLoader", model_name="other.safetensors")
    assert "LoomVideo" in refused(made, "LoomVideoModelLoader")


def test_a_damaged_model(server, short, refused):
    from loom_core.bundle import BUILT_IN

    folder = server.base / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    whole = (BUILT_IN / "dit.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    made = short("text_to_video").set("LoomVideoModelLoader", model_name="cut.safetensors")
    assert "cut.safetensors" in refused(made, "LoomVideoModelLoader")


def test_a_slot_left_empty_in_the_middle(short, refused):
    made = short("references_to_video")
    slots = made.inputs("LoomVideoReferenceSlots")
    slots["images.image_3"] = slots.pop("images.image_2")
    message = refused(made, "LoomVideoReferenceSlots")
    assert "image_2" in message or "slot 2" in message


@pytest.mark.parametrize("kind", ["nan", "empty"])
def test_broken_references(short, refused, kind):
    made = short("references_to_video")
    broken = made.add("TestBrokenImages", kind=kind)
    made.set("LoomVideoReferenceSlots", **{"images.image_1": [broken, 0]})
    refused(made, "LoomVideoReferenceSlots")


@pytest.mark.parametrize("kind", ["grey", "alpha", "tiny"])
def test_odd_references_are_understood(succeed, short, kind):
    made = short("references_to_video")
    odd = made.add("TestBrokenImages", kind=kind)
    made.set("LoomVideoReferenceSlots", **{"images.image_1": [odd, 0]})
    succeed(made)


@pytest.mark.parametrize("kind", ["nan", "empty"])
def test_broken_sources(short, refused, kind):
    made = short("image_edit")
    broken = made.add("TestBrokenImages", kind=kind)
    size = made.find("LoomVideoSizeHelper")
    made.prompt[size]["inputs"].pop("source", None)
    made.set("LoomVideoSourceLatentScaler", source=[broken, 0], width=64, height=64)
    refused(made, "LoomVideoSourceLatentScaler")


def test_latents_of_another_size_than_the_source(short, refused):
    made = short("video_edit")
    other = made.add("LoomVideoEmptyLatent", width=256, height=128, length=9, batch_size=1)
    message = refused(made.set("LoomVideoSampler", latent=[other, 0]), "LoomVideoSampler")
    assert "size" in message


@pytest.mark.parametrize(
    ("shape", "value", "says"),
    [("1,16,3,8,8", 1.0, "channels"), ("1,48,3,7,8", 1.0, "multiples of 32"), ("1,48,3,8,8", 1e38, "finite")],
)
def test_latents_that_fit_no_model(short, refused, shape, value, says):
    made = short("text_to_video")
    odd = made.add("TestLatent", shape=shape, value=value)
    assert says in refused(made.set("LoomVideoSampler", latent=[odd, 0]), "LoomVideoSampler")


def test_conditioning_of_another_encoder(short, refused):
    made = short("text_to_video")
    given = made.inputs("LoomVideoDeepstackEncode")
    plain = made.add("CLIPTextEncode", clip=given["clip"], text="a boat")
    done = refused(made.set("LoomVideoSampler", positive=[plain, 0]), "LoomVideoSampler")
    assert "LoomVideo Deepstack Encode" in done


# Out of memory: freed, tried once more, then one sentence.


@pytest.mark.parametrize("failures", [1, 3])
def test_out_of_memory_in_a_step_is_survived(server, short, succeed, failures):
    made = short("video_edit").set("LoomVideoSampler", visual_guidance_scale=1.5, guidance_scale=2.5)
    if failures > 1:
        made.set("LoomVideoSampler", seed=77)
    made.insert("TestFailingModel", after=made.output("LoomVideoModelLoader"), into="model", failures=1, run=failures)
    succeed(made)


def test_out_of_memory_in_every_step(short, refused):
    made = short("video_edit")
    made.insert("TestFailingModel", after=made.output("LoomVideoModelLoader"), into="model", failures=10_000, run=1)
    message = refused(made, "LoomVideoSampler")
    assert "no memory left while denoising" in message


def test_out_of_memory_in_the_mllm(short, refused, succeed):
    def with_failures(count):
        made = short("video_edit").set("LoomVideoDeepstackEncode", prompt=f"Make it colder, {count} times.")
        made.insert("TestFailingCLIP", after=made.output("LoomVideoEncoderLoader"), into="clip", failures=count, run=1)
        return made

    succeed(with_failures(1))
    assert "no memory left while" in refused(with_failures(10_000), "LoomVideoDeepstackEncode")


def test_out_of_memory_in_the_vae(short, refused, succeed):
    def with_failures(count, strength):
        made = short("video_edit").set("LoomVideoSourceLatentScaler", width=192, height=128, strength=strength)
        if count > 1:
            made.set("LoomVideoSourceLatentScaler", width=224, height=160)
        made.insert("TestFailingVAE", after=made.output("LoomVideoVAELoader"), into="vae", failures=count, run=1)
        made.set("VAEDecode", vae=made.output("LoomVideoVAELoader"))
        return made

    succeed(with_failures(1, 1.0))
    assert "no memory left while" in refused(with_failures(10_000, 0.9), "LoomVideoSourceLatentScaler")
