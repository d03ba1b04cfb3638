"""Reference Slots: which picture is which, how large, where in time, and what is refused."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def node(part):
    return part("nodes.references").LoomVideoReferenceSlots


@pytest.fixture
def fill(node, built_in):
    """Runs the node on pictures in its slots."""

    def run(*images, slots=None, width=96, height=64, fit="cover", batch="one reference a frame", indices=""):
        names = slots or range(1, len(images) + 1)
        filled = {f"image_{number}": image for number, image in zip(names, images, strict=True)}
        return node.execute(built_in, width, height, fit=fit, batch=batch, images=filled, temporal_indices=indices)

    return run


def test_order_is_that_of_the_slots_and_time_goes_back(fill, built_in, picture):
    images = [picture(seed=seed) for seed in range(12)]  # image_10 must not come before image_2
    clips, _ = fill(*images).result
    assert [clip.temporal_index for clip in clips] == [-10 * number for number in range(1, 13)]
    for clip, image in zip(clips, images, strict=True):
        assert torch.equal(clip.frames, image)
        assert torch.equal(clip.latents, built_in.encode(image))


def test_a_batch_is_one_reference_a_frame(fill, picture):
    clips, _ = fill(picture(3), picture(1, seed=1)).result
    assert [clip.frames.shape[0] for clip in clips] == [1] * 4
    assert torch.equal(clips[2].frames[0], picture(3)[2])


def test_or_one_moving_reference(fill, picture, shown):
    clips, _ = fill(picture(8), picture(1, seed=1), batch="one reference of many frames").result
    assert [clip.frames.shape[0] for clip in clips] == [5, 1]
    assert [clip.latents.shape[2] for clip in clips] == [2, 1]
    assert shown[-1] == "2 references\nimage_1: the first 5 of 8 frames (4k + 1)"


def test_pictures_of_any_size_and_kind(fill, picture):
    odd = [picture(1, 301, 77), picture(1, 1, 1, channels=1), picture(1, 2000, 3000, channels=4)]
    clips, _ = fill(*odd, fit="contain").result
    assert all(clip.frames.shape == (1, 64, 96, 3) for clip in clips)
    assert clips[0].frames[0, :, 0].max() == 0  # a bar beside the tall one


def test_native_size_keeps_each_pictures_own(fill, picture):
    clips, _ = fill(picture(1, 301, 77), picture(1, 1500, 2000), width=31, height=1, fit="native size").result
    assert [tuple(clip.frames.shape[1:3]) for clip in clips] == [(288, 64), (832, 1120)]


def test_temporal_indices_as_written(fill, picture, errors):
    clips, _ = fill(picture(), picture(seed=1), indices="-30, -1").result
    assert [clip.temporal_index for clip in clips] == [-30, -1]
    with pytest.raises(errors.ConfigError, match="temporal index -10 twice"):
        fill(picture(), picture(seed=1), indices="-10, -10")


def test_an_empty_slot_in_the_middle_is_one_sentence(fill, picture, errors):
    with pytest.raises(errors.ConfigError, match=r"image_2 empty with image_3 connected.*@Image numbers count"):
        fill(picture(), picture(seed=1), slots=[1, 3])
    with pytest.raises(errors.ConfigError, match="image_1, image_3 empty with image_4"):
        fill(picture(), picture(seed=1), slots=[2, 4])
    with pytest.raises(errors.ConfigError, match="image_1 empty with image_2"):
        fill(None, picture())


def test_a_slot_that_gives_nothing_is_empty(fill, picture):
    clips, _ = fill(picture(), None).result
    assert len(clips) == 1


def test_no_reference_at_all(node, built_in, errors):
    for images in (None, {}):
        with pytest.raises(errors.ConfigError, match="found no reference"):
            node.execute(built_in, 96, 64, fit="cover", batch="one reference a frame", images=images)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (torch.full((1, 8, 8, 3), float("nan")), "image_2 with values that are not numbers"),
        (torch.zeros(0, 8, 8, 3), "image_2 without a single frame"),
    ],
)
def test_broken_pictures_are_named(fill, picture, errors, image, says):
    with pytest.raises(errors.MediaError, match=says):
        fill(picture(), image)


def test_sizes_and_vaes_that_do_not_fit(fill, built_in, picture, errors):
    with pytest.raises(errors.ConfigError, match="size 100x64"):
        fill(picture(), width=100)
    built_in.latent_channels = 16
    with pytest.raises(errors.WeightsError, match="16 channels"):
        fill(picture())


def test_the_strip_shows_every_reference_with_its_number(fill, picture, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(tmp_path))
    output = fill(picture(1, 64, 96), torch.ones(1, 300, 100, 3), fit="native size")
    (_, strip), shown = output.result, output.ui
    assert strip.shape[0] == 1 and strip.shape[-1] == 3
    assert strip.shape[1] < 300 and strip.shape[2] < 700
    assert (strip[0, 8:168] == 1).all(-1).any()  # the white one
    below = strip[0, 176:]
    assert (below > 0.7).all(-1).sum() > 100  # and there is writing under both
    assert (below[:, strip.shape[2] // 2 :] > 0.7).all(-1).sum() > 50
    (saved,) = shown["images"]
    assert (tmp_path / saved["filename"]).is_file()
    left, top, width, height = shown["loom_boxes"][1]
    assert (height, width) == (160, 53)  # 288 x 96
    assert (strip[0, top : top + height, left : left + width] == 1).all()


def test_the_panel_hears_how_many_references_a_slot_gave(fill, picture):
    shown = fill(picture(3), picture(1, seed=1)).ui
    assert shown["loom_counts"] == [3, 1] and len(shown["loom_boxes"]) == 4
    assert shown["loom_size"] == [96, 64]
    assert fill(picture(5), batch="one reference of many frames").ui["loom_counts"] == [1]


def test_many_references_fill_rows(fill, picture):
    _, one_row = fill(*[picture(seed=seed) for seed in range(8)]).result
    _, two_rows = fill(*[picture(seed=seed) for seed in range(9)]).result
    assert two_rows.shape == (1, 2 * one_row.shape[1], one_row.shape[2], 3)


def test_one_more_reference_encodes_only_that_one(fill, part, built_in, picture):
    part("nodes.adapter.media.latents").ENCODED.clear()
    encoded = []
    built_in.first_stage_model.encoder.register_forward_hook(lambda *_: encoded.append(0))
    fill(picture(seed=50))
    fill(picture(seed=50), picture(seed=51), indices="-3, -4")
    assert len(encoded) == 2


def test_slots_are_the_graphs(node):
    schema = node.define_schema()
    (group,) = [one for one in schema.inputs if one.id == "images"]
    assert [one.id for one in group.template.get_all()][:3] == ["image_1", "image_2", "image_3"]
    assert group.template.min == 1
