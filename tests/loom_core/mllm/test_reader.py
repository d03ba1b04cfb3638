from dataclasses import replace

import pytest
import torch

from loom_core.errors import ConfigError
from loom_core.mllm.frames import source_frame_indices
from loom_core.mllm.reader import PromptReader
from loom_core.mllm.vision import vision_patches
from loom_core.types import Clip, Task

pytest.importorskip("tokenizers", reason="prompts are tokenised with the tokenizers package")

GOLDEN = {
    "t2v_video": Task.TEXT_TO_VIDEO,
    "t2v_image": Task.TEXT_TO_IMAGE,
    "edit_image": Task.EDIT_IMAGE,
    "edit_video_short": Task.EDIT_VIDEO,
    "edit_video_mid": Task.EDIT_VIDEO,
    "ref_edit": Task.REFERENCE_EDIT,
    "mi2v": Task.REFERENCE_TO_VIDEO,
}


@pytest.fixture(scope="module")
def reader(qwen_dir):
    return PromptReader.load(qwen_dir)


def still(frames):
    return Clip(frames[:1], 0.0, is_image=True)


def position_of(ids, wanted):
    """Where a row of ids begins in another; -1 if it is not there."""
    count = len(wanted)
    return next((at for at in range(len(ids) - count + 1) if ids[at : at + count] == wanted), -1)


@pytest.mark.parametrize("size", [(64, 96), (33, 40), (480, 832)])
def test_counting_gives_the_number_of_tokens_that_reading_gives(reader, pictures, size):
    for frames in (1, 2, 5, 33):
        content = ["Edit: ", Clip(pictures(frames, *size), 24.0), "make it", still(pictures(1, 70, 50)), " red"]
        assert reader.count(content) == len(reader.read(content).input_ids)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_requests(golden_case, golden_strings, reader, pictures, name):
    """Ids and patch grids of whole requests, all frames given; they depend on the sizes of the pictures alone."""
    _, tensors = golden_case(f"visual_only_prompt/{name}")
    entry = golden_strings["tasks"][name]
    size = entry["resolved"]
    kinds = [item["type"] for item in entry["messages"][0]["content"]]
    is_edit = entry["function"] in ("prepare_edit_inputs", "prepare_ref_edit_inputs")
    source = Clip(pictures(size["num_frames"], size["height"], size["width"]), 24.0, is_image=size["num_frames"] == 1)
    references = [still(pictures(1, size["height"], size["width"]))] * kinds.count("image")
    prompt = reader.full(
        GOLDEN[name],
        entry["user_prompt"],
        source=source if is_edit else None,
        references=[] if GOLDEN[name] is Task.EDIT_IMAGE else references,
    )
    assert torch.equal(prompt.input_ids, tensors["input_ids"][0])
    for grids, read in (("image_grid_thw", prompt.images), ("video_grid_thw", prompt.videos)):
        assert [picture.grid for picture in read] == [
            tuple(grid) for grid in tensors.get(grids, torch.empty(0)).tolist()
        ]
    if "visual_only_input_ids" in tensors:
        assert torch.equal(reader.tokenizer.visual_only(prompt).input_ids, tensors["visual_only_input_ids"][0])


def test_golden_negative_prompts(reader, golden_strings):
    texts = {text: entry for text, entry in golden_strings["negative_prompt"].items() if text != "<None>"}
    assert texts
    for text, entry in texts.items():
        assert reader.negative(text).input_ids.tolist() == entry["ids"]


def test_the_frames_that_are_read(reader, pictures):
    clip = Clip(pictures(81, 32, 64), 24.0)
    (read,) = reader.full(Task.EDIT_VIDEO, "blue", source=clip).videos
    expected = vision_patches(clip.frames[source_frame_indices(81)], settings=reader.video_settings)
    assert read.grid[0] == 2
    assert torch.equal(read.pixels, expected.pixels)


def test_more_frames_on_request(reader, pictures):
    clip = Clip(pictures(121, 32, 32), 24.0)
    (read,) = replace(reader, max_frames=8).full(Task.EDIT_VIDEO, "blue", source=clip).videos
    assert read.grid[0] == 4


def test_stills_and_clips_have_settings_of_their_own(reader, pictures):
    frames = pictures(2, 64, 64)
    small = replace(reader, video_settings=replace(reader.video_settings, min_pixels=1, max_pixels=32 * 32 * 2))
    prompt = small.full(Task.REFERENCE_EDIT, "x", source=Clip(frames, 24.0), references=[still(frames)])
    assert (prompt.images[0].tokens_a_frame, prompt.videos[0].tokens_a_frame) == (4, 1)


def test_a_clip_of_one_frame_is_read_as_a_still(reader, pictures):
    prompt = reader.full(Task.EDIT_VIDEO, "blue", source=Clip(pictures(1, 32, 32), 24.0))
    assert (len(prompt.images), len(prompt.videos)) == (1, 0)


def test_a_still_is_its_first_picture(reader, pictures):
    frames = pictures(3, 32, 32)
    (read,) = reader.read([Clip(frames, 0.0, is_image=True)]).images
    assert torch.equal(read.pixels, vision_patches(frames[:1], settings=reader.image_settings).pixels)


def test_references_come_first_and_inline_at_their_mention(reader, pictures):
    first, second = (still(pictures(1, 32, 32 * (1 + seed), seed=seed)) for seed in (0, 1))
    given = {"references": [first, second]}
    official = reader.full(Task.REFERENCE_TO_VIDEO, "a hat @Image 2", **given)
    inline = reader.full(Task.REFERENCE_TO_VIDEO, "a hat @Image 2", layout="inline", **given)
    hat = reader.tokenizer.encode([" hat "]).input_ids.tolist()[3:-5]
    start = reader.tokenizer.special.vision_start
    for prompt, before in ((official, 2), (inline, 1)):
        ids = prompt.input_ids.tolist()
        assert ids[: position_of(ids, hat)].count(start) == before
        assert ids.count(start) == 2
        assert [picture.grid for picture in prompt.images] == [(1, 2, 2), (1, 2, 4)]


def test_pictures_are_kept_in_the_order_of_their_spans(reader, pictures):
    wide, narrow = still(pictures(1, 32, 64)), still(pictures(1, 32, 32))
    prompt = reader.full(Task.REFERENCE_TO_IMAGE, "@Image 2 on @Image 1", references=[wide, narrow], layout="inline")
    assert [picture.grid for picture in prompt.images] == [(1, 2, 2), (1, 2, 4)]


def test_an_unknown_layout(reader):
    with pytest.raises(ConfigError, match="layout"):
        reader.full(Task.TEXT_TO_VIDEO, "x", layout="other")


def test_a_picture_that_is_too_narrow(reader, pictures):
    with pytest.raises(ConfigError, match="ratio"):
        reader.full(Task.EDIT_IMAGE, "x", source=still(pictures(1, 1, 300)))
