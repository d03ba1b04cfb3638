"""Sizes and lengths by words, without ComfyUI."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def sizing(stand_in):
    return stand_in("nodes.sizing")


@pytest.fixture(scope="module")
def preset(stand_in):
    return stand_in("loom_core.config.presets").get_preset


@pytest.fixture(scope="module")
def errors(stand_in):
    return stand_in("loom_core.errors")


@pytest.mark.parametrize(
    ("resolution", "aspect", "size"),
    [
        ("auto", "from source", (832, 480)),
        ("480p", "16:9", (832, 480)),
        ("480p", "9:16", (480, 832)),
        ("480p", "1:1", (640, 640)),
        ("480p", "4:3", (704, 544)),
        ("480p", "3:4", (544, 704)),
        ("480p", "3:2", (768, 512)),
        ("480p", "21:9", (960, 416)),
        ("720p", "16:9", (1280, 704)),
        ("256p", "2:3", (224, 320)),
    ],
)
def test_words_become_trained_sizes(sizing, preset, resolution, aspect, size):
    assert (
        sizing.choose_size(preset("official"), resolution=resolution, aspect=aspect, source=None, is_image=False)
        == size
    )


def test_every_word_has_a_size_that_the_model_can_have(sizing, preset, stand_in):
    check = stand_in("loom_core.geometry").check_size
    for name in ("official", "tiny"):
        for resolution in sizing.RESOLUTIONS:
            for aspect, shape in sizing.ASPECTS.items():
                width, height = sizing.choose_size(
                    preset(name), resolution=resolution, aspect=aspect, source=(1080, 1920), is_image=False
                )
                check(width, height)
                wide, high = shape or (1080, 1920)
                assert (width > height) == (wide > high), (resolution, aspect)


def test_a_source_has_the_say_only_when_asked(sizing, preset):
    def choose(aspect):
        return sizing.choose_size(
            preset("official"), resolution="auto", aspect=aspect, source=(1080, 1920), is_image=False
        )

    assert (choose("from source"), choose("16:9")) == ((480, 832), (832, 480))


def test_a_small_model_keeps_its_area(sizing, preset):
    tiny = preset("tiny")
    sizes = [
        sizing.choose_size(tiny, resolution="auto", aspect=aspect, source=None, is_image=False)
        for aspect in ("from source", "16:9", "1:1", "9:16")
    ]
    assert sizes == [(128, 128), (160, 96), (128, 128), (96, 160)]


def test_stills_have_sizes_of_their_own(sizing, preset):
    sizes = [
        sizing.choose_size(preset("official"), resolution="720p", aspect="4:3", source=None, is_image=is_image)
        for is_image in (True, False)
    ]
    assert sizes == [(1088, 864), (960, 704)]


@pytest.mark.parametrize(
    ("length", "frames"), [(1, 1), (2, 1), (5, 5), (97, 97), (98, 97), (100, 97), (101, 101), (481, 481)]
)
def test_lengths_are_4k_and_1(sizing, preset, length, frames):
    assert sizing.choose_length(preset("official"), length, source_frames=300, source_fps=24.0) == frames


@pytest.mark.parametrize(
    ("frames", "fps", "expected"), [(None, None, 81), (1, None, 1), (50, None, 49), (300, None, 121), (60, 30.0, 45),
                                    (30, 12.0, 57), (3, 24.0, 1), (600, 60.0, 121)],
)  # fmt: skip
def test_length_of_a_source(sizing, preset, frames, fps, expected):
    assert sizing.choose_length(preset("official"), 0, source_frames=frames, source_fps=fps) == expected


def test_words_that_are_unknown(sizing, preset, errors):
    for words in ({"resolution": "8k", "aspect": "1:1"}, {"resolution": "auto", "aspect": "2:7"}):
        with pytest.raises(errors.ConfigError, match="one of"):
            sizing.choose_size(preset("official"), source=None, is_image=False, **words)
    with pytest.raises(errors.ConfigError, match="length -1"):
        sizing.choose_length(preset("official"), -1, source_frames=None, source_fps=None)
