import gc
import shutil
import weakref

import pytest
import torch

from loom_core.errors import ConfigError, WeightsError
from loom_core.mllm import encoder as subject
from loom_core.mllm.batch import batch_prompts
from loom_core.mllm.encoder import QwenEncoder, positions_of
from loom_core.mllm.frames import source_frame_indices
from loom_core.mllm.loading import load_qwen
from loom_core.types import Branch, Clip, Task

pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")

CPU = torch.device("cpu")
NEGATIVE = "Generate an image: blurry, low quality"


def load(qwen_dir, *, num_blocks=3, **kwargs):
    return QwenEncoder.load(qwen_dir, num_blocks=num_blocks, dtype=torch.float32, device=CPU, **kwargs)


@pytest.fixture(scope="module")
def encoder(qwen_dir):
    return load(qwen_dir)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=1e-5)


def golden_content(sidecar, tensors):
    """The row of texts and pictures that a deepstack case was recorded with."""
    raw = iter([value for key, value in sorted(tensors.items()) if key.startswith("raw.")])
    content = []
    for item in sidecar["content"]:
        if item[0] == "text":
            content.append(item[1])
        else:
            pixels = next(raw)
            is_image = item[0] == "image"
            content.append(Clip(pixels[None] if is_image else pixels, 0.0 if is_image else 24.0, is_image=is_image))
    return content


def unnormalised(pixels):
    """Pixels in [-1, 1], [3, (T,) height, width], back to uint8 frames [T, height, width, 3]."""
    frames = pixels if pixels.ndim == 4 else pixels[:, None]
    return ((frames + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0)


@pytest.mark.parametrize("name", ["text_only", "image_text", "two_images_video_text", "interleaved"])
def test_golden_states(golden_case, qwen_dir, name):
    sidecar, tensors = golden_case(f"deepstack/{name}")
    every_layer = load(qwen_dir, num_blocks=5)
    prompt = every_layer.reader.read(golden_content(sidecar, tensors))
    assert torch.equal(prompt.input_ids, tensors["input_ids"][0])
    states = every_layer.hidden_states(prompt)
    assert len(states) == 5
    for layer, state in enumerate(states):
        assert_close(state, tensors[f"hidden_states.{layer}"][0])
    last = load(qwen_dir, num_blocks=2).hidden_states(prompt)
    assert all(torch.equal(one, other) for one, other in zip(last, states[-2:], strict=True))


def test_golden_states_with_bf16_frequencies(golden_case, qwen_dir):
    sidecar, tensors = golden_case("deepstack/interleaved")
    encoder = load(qwen_dir, rope_precision="bf16")
    states = encoder.hidden_states(encoder.reader.read(golden_content(sidecar, tensors)))
    for layer, state in zip((2, 3, 4), states, strict=True):
        assert_close(state, tensors[f"hidden_states_bf16_invfreq.{layer}"][0])


def test_golden_positions(golden_case, encoder):
    sidecar, tensors = golden_case("deepstack/image_text")
    batch = batch_prompts([encoder.reader.read(golden_content(sidecar, tensors))], pad_id=0)
    assert torch.equal(positions_of(encoder.model, batch, encoder.tokenizer), tensors["position_ids"])


def assert_branches(encoded, tensors):
    for branch, states in (("full", encoded.full), ("visual", encoded.visual), ("uncond", encoded.negative)):
        assert (states is None) == (f"und_hidden_{branch}.2" not in tensors)
        for layer, state in zip((2, 3, 4), states or (), strict=bool(states)):
            assert_close(state, tensors[f"und_hidden_{branch}.{layer}"][0])


def test_golden_text_to_video(golden_case, encoder):
    _, tensors = golden_case("cfg_sampling/t2v_steps4")
    encoded = encoder.encode(Task.TEXT_TO_VIDEO, "a cat runs on the lawn", negative_prompt=NEGATIVE)
    assert_branches(encoded, tensors)


def test_golden_negative(golden_case, encoder):
    sidecar, tensors = golden_case("cfg_sampling/edit_image")
    encoded = encoder.encode(Task.TEXT_TO_IMAGE, "x", negative_prompt=sidecar["negative_prompt"])
    for layer, state in zip((2, 3, 4), encoded.negative, strict=True):
        assert_close(state, tensors[f"und_hidden_uncond.{layer}"][0])


def test_golden_image_edit(golden_case, encoder):
    _, tensors = golden_case("cfg_sampling/edit_image")
    _, inputs = golden_case("visual_only_prompt/edit_image")
    source = Clip(unnormalised(inputs["source_pixel_values.0"]), 0.0, is_image=True)
    encoded = encoder.encode(Task.EDIT_IMAGE, "make it green", negative_prompt=NEGATIVE, source=source)
    assert_branches(encoded, tensors)


@pytest.mark.parametrize(
    ("name", "task", "prompt"),
    [("edit_steps4", Task.EDIT_VIDEO, "make it blue"), ("ref_edit_steps4", Task.REFERENCE_EDIT, "swap the hat")],
)
def test_golden_video_edit(golden_case, encoder, name, task, prompt):
    _, tensors = golden_case(f"cfg_sampling/{name}")
    _, inputs = golden_case("visual_only_prompt/ref_edit")
    references = [Clip(unnormalised(inputs[f"ref_pixel_values.{n}"]), 0.0, is_image=True) for n in (0, 1)]
    encoded = encoder.encode(
        task,
        prompt,
        negative_prompt=NEGATIVE,
        source=Clip(unnormalised(inputs["source_pixel_values.0"]), 24.0),
        references=references if task is Task.REFERENCE_EDIT else (),
    )
    assert_branches(encoded, tensors)


def test_the_vision_tower_runs_once_for_full_and_visual(encoder, pictures):
    runs = []
    handle = encoder.model.visual.register_forward_hook(lambda *_: runs.append(1))
    still = Clip(pictures(1, 32, 64), 0.0, is_image=True)
    shared = encoder.encode(Task.EDIT_IMAGE, "blue", negative_prompt="", source=still)
    assert len(runs) == 1
    handle.remove()
    prompt = encoder.reader.read([still, "Edit this image: blue"])
    alone = encoder.hidden_states(encoder.tokenizer.visual_only(prompt))
    assert all(torch.equal(one, other) for one, other in zip(shared.visual, alone, strict=True))
    assert "get_image_features" not in vars(encoder.model)


def test_clips_and_stills_of_one_prompt_are_told_apart(encoder, pictures):
    """A clip whose patches equal a still's must not be mistaken for it."""
    frame = pictures(1, 64, 64)
    clip, still = Clip(frame.repeat(2, 1, 1, 1), 24.0), Clip(frame, 0.0, is_image=True)
    encoded = encoder.encode(Task.REFERENCE_EDIT, "x", negative_prompt="", source=clip, references=[still])
    separate = encoder.hidden_states(encoder.reader.read([still, clip, "Edit this video with reference images: x"]))
    assert all(torch.equal(one, other) for one, other in zip(encoded.full, separate, strict=True))


@pytest.mark.parametrize("num_frames", [1, 2, 3, 5, 16, 17, 29, 30])
def test_any_number_of_source_frames(encoder, pictures, num_frames):
    clip = Clip(pictures(num_frames, 32, 32), 24.0)
    encoded = encoder.encode(Task.EDIT_VIDEO, "blue", negative_prompt="", source=clip)
    seen = Clip(clip.frames[source_frame_indices(num_frames)], 24.0, is_image=num_frames == 1)
    spans = encoder.tokenizer.visual_only(encoder.reader.read([seen])).input_ids
    assert encoded.visual[0].shape == (len(spans), 64)


def test_more_frames_on_request(qwen_dir, pictures):
    clip = Clip(pictures(121, 32, 32), 24.0)
    lengths = [
        load(qwen_dir, max_frames=count)
        .encode(Task.EDIT_VIDEO, "x", negative_prompt="", source=clip)
        .visual[0]
        .shape[0]
        for count in (4, 8)
    ]
    assert lengths[1] > lengths[0]


def test_inline_layout_moves_the_reference(encoder, pictures):
    references = [Clip(pictures(1, 32, 32), 0.0, is_image=True)]
    both = [
        encoder.encode(
            Task.REFERENCE_TO_IMAGE, "the hat @Image 1", negative_prompt="", references=references, layout=layout
        )
        for layout in ("official", "inline")
    ]
    assert both[0].full[0].shape == both[1].full[0].shape
    assert not torch.allclose(both[0].full[0], both[1].full[0])
    assert torch.equal(both[0].visual[0], both[1].visual[0])


def test_states_are_detached_and_of_the_asked_dtype(qwen_dir):
    encoder = QwenEncoder.load(qwen_dir, num_blocks=2, dtype=torch.bfloat16, device=CPU)
    states = encoder.hidden_states(encoder.reader.read(["a cat"]))
    assert all(state.dtype == torch.bfloat16 and not state.requires_grad for state in states)
    assert encoder.hidden_size == states[0].shape[1] == 64


def test_release_frees_the_weights(qwen_dir):
    encoder = load(qwen_dir)
    encoder.encode(Task.TEXT_TO_IMAGE, "x", negative_prompt="")
    weights = [weakref.ref(weight) for weight in encoder.model.parameters()]
    encoder.release()
    gc.collect()
    assert all(weight() is None for weight in weights)
    with pytest.raises(ConfigError, match="released"):
        encoder.encode(Task.TEXT_TO_IMAGE, "x", negative_prompt="")
    encoder.release()


@pytest.mark.parametrize("num_blocks", [0, 6])
def test_more_blocks_than_layers(qwen_dir, num_blocks):
    with pytest.raises(ConfigError, match=f"{num_blocks} blocks with an MLLM of 5 layers"):
        load(qwen_dir, num_blocks=num_blocks)


def test_unknown_layout(encoder):
    with pytest.raises(ConfigError, match="layout"):
        encoder.encode(Task.TEXT_TO_IMAGE, "x", negative_prompt="", layout="other")


def test_weights_that_are_not_numbers(qwen_dir, encoder):
    model = load_qwen(qwen_dir, dtype=torch.float32, device=CPU)
    model.language_model.layers[4].mlp.down_proj.weight.fill_(torch.nan)
    broken = QwenEncoder(model, encoder.tokenizer, num_blocks=3)
    with pytest.raises(WeightsError, match="not finite"):
        broken.hidden_states(broken.reader.read(["x"]))
    assert not model.language_model.norm._forward_pre_hooks  # hooks are gone after an error, too


def test_tokenizer_of_another_model(qwen_dir, encoder):
    model = load_qwen(qwen_dir, dtype=torch.float32, device=CPU)
    model.config.image_token_id = 12
    with pytest.raises(WeightsError, match=r"<\|image_pad\|> is 335; expected 12"):
        QwenEncoder(model, encoder.tokenizer, num_blocks=3)


@pytest.mark.parametrize(
    ("name", "found"),
    [("gen_model.safetensors", "a LoomVideo DiT"), ("vae/diffusion_pytorch_model.safetensors", "a Wan 2.2 VAE")],
)
def test_a_swapped_file_is_named_before_a_tokenizer_is_missed(golden_dir, tmp_path, name, found):
    path = tmp_path / "mllm.safetensors"
    shutil.copy(golden_dir / "models" / "tiny" / name, path)
    with pytest.raises(WeightsError, match=f"which is {found}.*expected Qwen3-VL"):
        load(path)


def test_a_folder_of_another_part_is_named(golden_dir):
    with pytest.raises(WeightsError, match=r"which is a Wan 2\.2 VAE"):
        load(golden_dir / "models" / "tiny" / "vae")


def test_a_missing_tokenizer_is_named(qwen_dir, tmp_path):
    for name in ("model.safetensors", "config.json"):
        shutil.copy(qwen_dir / name, tmp_path / name)
    with pytest.raises(WeightsError, match="no tokenizer in"):
        load(tmp_path)


def forwards(encoder, prompts):
    """Lengths of the prompts that go through the language model while `prompts` runs, and what it returns."""
    lengths = []
    norm = encoder.model.language_model.norm
    handle = norm.register_forward_hook(lambda _module, args, _output: lengths.append(args[0].shape[1]))
    try:
        return lengths, prompts()
    finally:
        handle.remove()


@pytest.mark.parametrize(
    "branches",
    [
        (),
        (Branch.FULL,),
        {Branch.VISUAL},
        {Branch.FULL: 2.0, Branch.UNCONDITIONAL: -1.0},
        [Branch.VISUAL, Branch.UNCONDITIONAL],
        frozenset(Branch),
    ],
)
def test_only_the_branches_asked_for_are_computed(encoder, pictures, branches):
    given = {"negative_prompt": NEGATIVE, "source": Clip(pictures(1, 32, 64), 0.0, is_image=True)}
    every = encoder.encode(Task.EDIT_IMAGE, "blue", **given).by_branch
    lengths, some = forwards(encoder, lambda: encoder.encode(Task.EDIT_IMAGE, "blue", branches=branches, **given))
    assert set(every) == set(Branch)
    assert set(some.by_branch) == set(branches)
    assert len(lengths) == len(branches)
    for branch, states in some.by_branch.items():
        assert all(torch.equal(one, other) for one, other in zip(states, every[branch], strict=True))
    assert (some.full is None, some.visual is None, some.negative is None) == tuple(
        branch not in branches for branch in (Branch.FULL, Branch.VISUAL, Branch.UNCONDITIONAL)
    )


def test_there_is_no_visual_branch_without_pictures(encoder):
    encoded = encoder.encode(Task.TEXT_TO_IMAGE, "x", negative_prompt="", branches=(Branch.VISUAL, Branch.FULL))
    assert set(encoded.by_branch) == {Branch.FULL}


def test_states_leave_the_device_prompt_by_prompt(encoder, pictures, monkeypatch):
    """Stands in for a GPU: what each forward returned is gone before the next begins, and only copies are given out."""
    on_device = []
    compute = encoder.hidden_states

    class OnDevice(torch.Tensor):
        def cpu(self):
            return self.as_subclass(torch.Tensor).clone()

    def hidden_states(prompt):
        assert all(state() is None for state in on_device)
        states = tuple(state.as_subclass(OnDevice) for state in compute(prompt))
        on_device.extend(map(weakref.ref, states))
        return states

    monkeypatch.setattr(encoder, "hidden_states", hidden_states)
    source = Clip(pictures(1, 32, 64), 0.0, is_image=True)
    encoded = encoder.encode(Task.EDIT_IMAGE, "blue", negative_prompt="", source=source)
    assert len(on_device) == 3 * encoder.num_blocks
    assert all(type(state) is torch.Tensor for states in encoded.by_branch.values() for state in states)


def test_only_padding_may_be_anything():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    states = [torch.zeros(2, 3, 4) for _ in range(2)]
    states[0][0, 2] = float("nan")
    assert subject._are_finite(states, mask)
    for place in ((0, 0), (0, 1), (1, 2)):
        for number in (float("nan"), float("inf")):
            spoiled = [state.clone() for state in states]
            spoiled[1][(*place, 3)] = number
            assert not subject._are_finite(spoiled, mask)
