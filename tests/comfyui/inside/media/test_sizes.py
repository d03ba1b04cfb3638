"""Size Helper and Empty Latent."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def helper(part):
    """Runs the node; (width, height, length, fps)."""
    node = part("nodes.latents").LoomVideoSizeHelper

    def run(resolution="auto", aspect="from source", length=0, **inputs):
        return node.execute(resolution, aspect, length, **inputs).result

    return run


@pytest.fixture
def empty(part):
    return part("nodes.latents").LoomVideoEmptyLatent


@pytest.fixture
def make_model(part):
    """Makes what the helper reads of a MODEL: its sizes."""
    config = part("loom_core.config.model").DiTConfig

    def make(hidden_size=48):
        sizes = config(hidden_size=hidden_size, num_heads=1, head_dim=hidden_size, num_layers=1, ffn_dim=8)
        return SimpleNamespace(model=SimpleNamespace(loom_config=sizes))

    return make


def test_words_become_trained_sizes(helper):
    assert helper() == (832, 480, 81, 24.0)
    assert helper("720p", "9:16", 9) == (704, 1280, 9, 24.0)


def test_a_small_model_has_sizes_of_its_own(helper, make_model):
    assert helper(model=make_model())[:3] == (128, 128, 33)
    assert helper(aspect="16:9", model=make_model())[:2] == (160, 96)
    assert helper("480p", "16:9", model=make_model())[:2] == (832, 480)
    assert helper(model=make_model(3072))[:3] == (832, 480, 81)


def test_a_model_of_another_kind(helper, errors):
    with pytest.raises(errors.WeightsError, match="LoomVideo Model Loader"):
        helper(model=SimpleNamespace(model=object()))


def test_a_length_that_was_cut_is_told(helper, shown):
    helper(length=98)
    assert shown[-1] == "832 x 480, 97 frames, 4.0 s\n98 is not 4k + 1"
    helper(length=1, aspect="1:1")
    assert shown[-1] == "640 x 640, an image"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 1080, 1920, 3), (832, 480, 1)), ((50, 1000, 1000, 3), (640, 640, 49)), ((300, 64, 36, 3), (480, 832, 121))],
)
def test_shape_and_length_of_images(helper, shape, expected):
    assert helper(source=torch.zeros(1, 1, 1, 1).expand(shape))[:3] == expected


def test_shape_and_length_of_a_file_are_read_off_its_header(helper, make_video, monkeypatch, pack):
    from comfy_api.latest import InputImpl

    path = make_video("upright.mp4", 60, fps=Fraction(30000, 1001), width=96, height=128)
    video = InputImpl.VideoFromFile(str(path))
    monkeypatch.setattr(InputImpl.VideoFromFile, "get_components", None)  # nothing is decoded
    assert helper(source=video)[:3] == (544, 704, 45)
    assert helper(source=video, length=9)[2] == 9
    assert helper(source=video, aspect="1:1")[:2] == (640, 640)
    assert helper(source=video.as_trimmed(0.5, 0.75))[2] == 17


def test_the_helper_and_the_scaler_agree(helper, part, make_video, built_in, pack):
    from comfy_api.latest import InputImpl

    for frames, fps in ((60, Fraction(30000, 1001)), (31, 25), (20, 12)):
        video = InputImpl.VideoFromFile(str(make_video(f"agree{frames}.mp4", frames, fps=fps)))
        node = part("nodes.source").LoomVideoSourceLatentScaler
        made = node.execute(built_in, video, 64, 64, max_frames=121, fps=24.0, fit="cover", strength=1.0).result
        assert helper(source=video)[2] == made[4]


def test_shape_and_length_of_a_video_in_memory(helper, picture, pack):
    from comfy_api.latest import InputImpl, Types

    components = Types.VideoComponents(images=picture(30, 64, 64), frame_rate=Fraction(12))
    assert helper(source=InputImpl.VideoFromComponents(components))[:3] == (640, 640, 57)


@pytest.mark.parametrize("source", ["clip.mp4", torch.zeros(0, 8, 8, 3)])
def test_sources_that_are_none(helper, errors, source):
    with pytest.raises(errors.MediaError):
        helper(source=source)


@pytest.mark.parametrize("words", [{"resolution": "8k"}, {"aspect": "2:7"}, {"length": -1}])
def test_words_that_are_unknown(helper, errors, words):
    with pytest.raises(errors.ConfigError, match="to fix"):
        helper(**words)


def test_an_empty_latent_is_of_the_models_latents(empty):
    latent = empty.execute(832, 480, 81, 2).result[0]
    assert latent["samples"].shape == (2, 48, 21, 30, 52)
    assert not latent["samples"].any()


def test_the_hosts_samplers_leave_its_size_alone(empty, pack):
    """They resize what was made for another VAE's scale."""
    from comfy import sample
    from comfy.latent_formats import Wan22

    latent = empty.execute(64, 96, 5, 1).result[0]
    model = SimpleNamespace(get_model_object=lambda name: Wan22())
    fixed = sample.fix_empty_latent_channels(
        model, latent["samples"], latent.get("downscale_ratio_spacial"), latent.get("downscale_ratio_temporal")
    )
    assert fixed.shape == (1, 48, 2, 6, 4)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((1000, 480, 81, 1), "size 1000x480.*use 992x480"),
        ((832, 480, 98, 1), "98 frames.*use 97 or 101"),
        ((832, 480, 0, 1), "0 frames"),
        ((832, 480, 1, 0), "batch_size 0"),
    ],
)
def test_what_the_model_cannot_have_is_refused(empty, errors, numbers, says):
    with pytest.raises(errors.ConfigError, match=says):
        empty.execute(*numbers)


def test_more_than_memory_holds_is_one_sentence(empty, errors, monkeypatch):
    def zeros(*_, **__):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "zeros", zeros)
    with pytest.raises(errors.ResourceError, match="no memory left while making an empty latent of 64 x 97 frames"):
        empty.execute(4096, 4096, 97, 64)
