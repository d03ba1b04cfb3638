"""The node: tasks, what its outputs hold, and what it refuses."""

from __future__ import annotations

import logging

import pytest
import torch

BLOCKS = 3  # of the built-in model
"""Of the built-in model."""


@pytest.fixture
def node(part):
    return part("nodes.conditioning").LoomVideoDeepstackEncode


@pytest.fixture
def keys(part):
    return part("nodes.adapter.conditioning")


@pytest.fixture(autouse=True)
def _empty_cache(part):
    part("nodes.adapter.encoder.cache").CACHE.clear()


@pytest.fixture
def built_in(loading, part):
    return loading.load_encoder(part("nodes.adapter.files").BUILT_IN)


@pytest.fixture
def source_of(part, pictures):
    """Makes a source; a clip of 9 frames unless told otherwise."""

    def make(num_frames=9, *, is_image=False, **values):
        sockets = part("nodes.sockets")
        frames = pictures(num_frames, 64, 96).float() / 255
        origin = sockets.SourceOrigin(96, 64, num_frames, 24.0, frames, None, "cover")
        latents = torch.ones(1, 48, (num_frames - 1) // 4 + 1, 4, 6)
        given = {"strength": 1.0, "strength_curve": (), "mask": None} | values
        return sockets.SourceClip(frames, latents, 24.0, is_image, origin=origin, **given)

    return make


@pytest.fixture
def reference_of(part, pictures):
    def make(seed=0, temporal_index=-10, num_frames=1):
        frames = pictures(num_frames, 64, 64, seed=seed).float() / 255
        return part("nodes.sockets").ReferenceClip(frames, torch.full((1, 48, 1, 4, 4), float(seed)), temporal_index)

    return make


@pytest.fixture
def run(node, built_in):
    """Runs the node; its three outputs."""

    def execute(prompt="a boat", *, task="auto", layout="official", clip=None, **inputs):
        return node.execute(clip or built_in, prompt, task=task, layout=layout, **inputs).args

    return execute


def latent(num_frames):
    return {"samples": torch.zeros(1, 48, (num_frames - 1) // 4 + 1, 4, 6)}


def test_outputs_are_those_of_the_workflows(node):
    schema = node.GET_SCHEMA()
    assert [output.display_name for output in schema.outputs] == ["positive", "visual", "negative"]
    assert {item.id for item in schema.inputs if not item.optional} == {"clip", "prompt", "task", "layout"}


def test_what_the_conditionings_hold(run, keys, source_of, reference_of, built_in):
    source = source_of(strength=0.7, strength_curve=((1.0, 1.0), (0.0, 0.5)), mask=torch.ones(3, 2, 3))
    references = (reference_of(1), reference_of(2, temporal_index=-35))
    positive, visual, negative = run("@Image 1 and @Image 2", source=source, references=references)
    for conditioning, branch in ((positive, "full"), (visual, "visual"), (negative, "unconditional")):
        ((tensor, values),) = conditioning
        assert tensor.dtype == torch.bfloat16
        assert tensor.device.type == "cpu"
        assert tensor.shape[::2] == (1, BLOCKS * 128)
        assert values[keys.NUM_LAYERS] == BLOCKS
        assert values[keys.TASK] == "reference-edit"
        assert values[keys.BRANCH] == branch
        assert keys.has_visual(conditioning) == (branch != "unconditional")
    for ((_, values),) in (positive, visual):
        assert values[keys.SOURCE_LATENT] is source.latents
        assert values[keys.SOURCE_STRENGTH] == 0.7
        assert values[keys.SOURCE_MASK].shape == (1, 3, 2, 3)
        assert [one is two.latents for one, two in zip(values[keys.REFERENCE_LATENTS], references, strict=True)]
        assert values[keys.REFERENCE_INDICES] == (-10, -35)
    assert set(negative[0][1]) == {keys.TASK, keys.BRANCH, keys.NUM_LAYERS}
    lengths = [conditioning[0][0].shape[1] for conditioning in (positive, visual, negative)]
    assert lengths[0] > lengths[1]
    assert len(set(lengths)) == 3


def test_without_pictures_the_visual_one_is_the_negative_one(run, keys):
    positive, visual, negative = run()
    assert visual[0][0] is negative[0][0]
    assert visual[0][1][keys.BRANCH] == "visual"
    assert not keys.has_visual(visual)
    assert positive[0][0].shape != negative[0][0].shape


def test_the_same_states_as_the_command_line(part, run, source_of, reference_of, types):
    """With the built-in model, up to the rounding to bfloat16."""
    pytest.importorskip("transformers")
    source, reference = source_of(), reference_of(4)
    found = run("the colour of @Image 1", source=source, references=(reference,))
    encoder = part("loom_core.mllm.encoder").QwenEncoder.load(
        part("loom_core.bundle").BUILT_IN / "mllm", num_blocks=BLOCKS, dtype=torch.float32, device=torch.device("cpu")
    )
    expected = encoder.encode(
        types.Task.REFERENCE_EDIT,
        "the colour of @Image 1",
        negative_prompt=part("loom_core.config.sampling").DEFAULT_NEGATIVE_PROMPT,
        source=types.Clip((source.frames * 255).round().to(torch.uint8), 24.0),
        references=[types.Clip((reference.frames * 255).round().to(torch.uint8), 0.0, is_image=True)],
    )
    for conditioning, states in zip(found, (expected.full, expected.visual, expected.negative), strict=True):
        ours = torch.cat([state[None] for state in states], dim=-1).bfloat16()
        difference = (conditioning[0][0].float() - ours.float()).abs()
        assert float(difference.max() / ours.float().abs().max()) < 2**-8
        assert float((difference > 0).float().mean()) < 0.01


@pytest.mark.parametrize(
    ("inputs", "task"),
    [
        ({}, "text-to-video"),
        ({"latent": latent(33)}, "text-to-video"),
        ({"latent": latent(1)}, "text-to-image"),
        ({"latent": {"samples": torch.zeros(1, 4, 8, 8)}}, "text-to-image"),
        ({"source": 9}, "edit-video"),
        ({"source": 1}, "edit-image"),
        ({"source": 9, "references": 1}, "reference-edit"),
        ({"references": 1}, "reference-to-video"),
        ({"references": 2, "latent": latent(1)}, "reference-to-image"),
        ({"task": "text-to-video", "latent": latent(1)}, "text-to-video"),
        ({"task": "edit-video", "source": 1}, "edit-video"),
    ],
)
def test_tasks(run, keys, source_of, reference_of, inputs, task):
    given = dict(inputs)
    if "source" in given:
        given["source"] = source_of(given["source"])
    if "references" in given:
        given["references"] = tuple(reference_of(seed) for seed in range(given["references"]))
    positive, *_ = run("a boat like @Image 1" if "references" in given else "a boat", **given)
    assert keys.task_of(positive).value == task


@pytest.mark.parametrize(
    ("prompt", "inputs", "says"),
    [
        ("", {}, "empty prompt"),
        (" \n ", {}, "empty prompt"),
        ("a", {"task": "edit-video"}, "without a source"),
        ("a", {"task": "reference-to-image"}, "without references"),
        ("a", {"task": "text-to-video", "source": 9}, "a source with task text-to-video"),
        ("a", {"task": "edit-video", "source": "still"}, "still image as source of task edit-video"),
        ("a", {"task": "edit-image", "source": 9}, "a clip as source of task edit-image"),
        ("a", {"task": "text-to-video", "references": 1}, "1 reference with task text-to-video"),
        ("@Image 3", {"references": 2}, "@Image 3 in the prompt with 2 references"),
        ("@Image 1", {}, "@Image 1 in the prompt with no references"),
        ("@image0", {"references": 1}, "counted from @Image 1"),
        ("a", {"task": "text-to-image", "latent": latent(33)}, "a latent of 33 frames"),
        ("a", {"mllm_frames": 1}, "1 frames for the MLLM"),
        ("a", {"layout": "other"}, "layout"),
    ],
)
def test_refused_before_anything_is_read(part, run, passes, built_in, source_of, reference_of, prompt, inputs, says):
    given, lengths = dict(inputs), passes(built_in)
    if "source" in given:
        given["source"] = source_of(1, is_image=True) if given["source"] == "still" else source_of(given["source"])
    if "references" in given:
        given["references"] = tuple(reference_of(seed) for seed in range(given["references"]))
    if "mllm_frames" in given:
        given["source"] = source_of()
    with pytest.raises(part("loom_core.errors").ConfigError, match=says):
        run(prompt, **given)
    assert lengths == []


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a boat", "the prompt mentions no reference (@Image 1–4); name each where it is meant"),
        ("a boat like @Image 1", "never mentioned in the prompt: @Image 2–4"),
    ],
)
def test_references_that_are_not_mentioned_are_told(part, run, reference_of, prompt, says, monkeypatch, caplog):
    told = []
    monkeypatch.setattr(part("nodes.conditioning").NodeProgress, "text", lambda _self, text, **_: told.append(text))
    with caplog.at_level(logging.WARNING):
        run(prompt, references=tuple(reference_of(seed) for seed in range(4)))
    assert says in told[-1]
    assert says in caplog.text


def test_the_node_says_what_is_read_and_what_was_known(part, run, source_of, monkeypatch):
    told = []
    monkeypatch.setattr(part("nodes.conditioning").NodeProgress, "text", lambda _self, text, **_: told.append(text))
    source = source_of()
    run("a boat", source=source)
    assert [text.split(",")[0] for text in told[1:4]] == [
        "reading the full prompt (1 of 3)",
        "reading the visual prompt (2 of 3)",
        "reading the unconditional prompt (3 of 3)",
    ]
    assert "edit-video; tokens: full " in told[-1]
    assert "cache" not in told[-1]
    told.clear()
    run("a ship", source=source)
    assert told[1].startswith("reading the full prompt (1 of 1)")
    assert told[-1].endswith("from the cache: visual and unconditional")
    told.clear()
    run("a ship", source=source)
    assert len(told) == 1
    assert told[0].endswith("from the cache: all")


def test_layout_and_frames_reach_the_encoder(run, source_of, reference_of):
    given = {"references": (reference_of(0), reference_of(1))}
    made = {layout: run("a @Image 2 b @Image 1", layout=layout, **given) for layout in ("official", "inline")}
    assert not torch.equal(made["official"][0][0][0], made["inline"][0][0][0])
    assert not torch.equal(made["official"][1][0][0], made["inline"][1][0][0])  # the pictures stand in another order
    lengths = []
    for frames in (4, 8):
        positive, *_ = run("a", source=source_of(121), mllm_frames=frames)
        lengths.append(positive[0][0].shape[1])
    assert lengths[1] > lengths[0]


def test_frames_are_rounded_to_eight_bits(part):
    frames = torch.tensor([0.0, 0.0019, 0.002, 0.5, 1.0, 1.2, -0.1]).view(7, 1, 1, 1).expand(-1, 2, 2, 3)
    clip = part("nodes.conditioning").as_clip(frames)
    assert clip.frames[:, 0, 0, 0].tolist() == [0, 0, 1, 128, 255, 255, 0]
    assert not clip.is_image
    assert part("nodes.conditioning").as_clip(frames[:1]).is_image


def test_all_frames_that_can_be_read_are_there(part, types, pictures, built_in):
    """The others do not change a bit of what is read."""
    frames = pictures(121, 64, 96)
    encoder, clip = (
        part("nodes.adapter.encoder.encoding"),
        part("nodes.conditioning").as_clip(frames.float() / 255, fps=24.0),
    )
    qwen = part("nodes.adapter.encoder.qwen").find_qwen(built_in)
    for max_frames in (2, 4, 8, 64):
        reader = encoder.reader_of(qwen, max_frames=max_frames)
        found, expected = (
            reader.full(types.Task.EDIT_VIDEO, "x", source=source) for source in (clip, types.Clip(frames, 24.0))
        )
        assert torch.equal(found.videos[0].pixels, expected.videos[0].pixels)
        assert torch.equal(found.input_ids, expected.input_ids)
