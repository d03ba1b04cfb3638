"""Source Latent Scaler: which frames of a clip are edited, at which size, and what is kept of what it was."""

from __future__ import annotations

import io
from fractions import Fraction

import pytest
import torch

TELEVISION = Fraction(30000, 1001)


@pytest.fixture
def node(part):
    return part("nodes.source").LoomVideoSourceLatentScaler


@pytest.fixture
def prepare(node, built_in):
    """Runs the node; its outputs."""

    def run(source, **values):
        given = {"width": 96, "height": 64, "max_frames": 121, "fps": 24.0, "fit": "cover", "strength": 1.0}
        return node.execute(values.pop("vae", built_in), source, **{**given, **values}).result

    return run


@pytest.fixture(scope="session")
def television(make_video):
    """60 frames at 29.97 a second, 192 x 128, with two seconds of sound."""
    return make_video("television.mp4", 60, fps=TELEVISION, width=192, height=128, seconds_of_sound=2.002)


@pytest.fixture
def video(pack):
    """Makes the host's VIDEO of a file."""
    from comfy_api.latest import InputImpl

    return lambda file, **options: InputImpl.VideoFromFile(str(file) if not hasattr(file, "read") else file, **options)


@pytest.fixture
def video_in_memory(pack):
    """Makes the host's VIDEO of tensors."""
    from comfy_api.latest import InputImpl, Types

    def make(images, fps, sound=None):
        audio = None if sound is None else {"waveform": sound, "sample_rate": 1000}
        return InputImpl.VideoFromComponents(
            Types.VideoComponents(images=images, audio=audio, frame_rate=Fraction(fps))
        )

    return make


def test_a_file_is_read_as_the_command_line_does(part, prepare, video, television, built_in, frame_number):
    clip, latent, audio, fps, length, images = prepare(video(television))
    expected = part("loom_core.media.decode").read_clip(television, size=(96, 64)).frames
    assert torch.equal(clip.frames, expected.float() / 255)
    numbers = part("loom_core.geometry").resample_indices(float(TELEVISION), 60)
    assert [frame_number(frame) for frame in clip.frames] == numbers
    assert torch.equal(clip.latents, built_in.encode(clip.frames))
    assert (clip.fps, clip.is_image, clip.strength, clip.strength_curve, clip.mask) == (24.0, False, 1.0, (), None)
    assert (fps, length) == (24.0, 45)
    assert images is clip.frames
    assert latent["samples"].shape == clip.latents.shape
    assert not latent["samples"].any()
    assert audio is clip.origin.audio


def test_what_it_was_is_kept(prepare, video, television, frame_number):
    origin = prepare(video(television))[0].origin
    assert (origin.width, origin.height, origin.fit) == (192, 128, "cover")
    assert Fraction(origin.fps).limit_denominator(1001) == TELEVISION
    assert origin.num_frames == round(45 / 24 * float(TELEVISION)) == len(origin.frames)
    frames = list(origin.frames)
    assert [frame_number(frame) for frame in frames] == list(range(56))
    assert frames[0].shape == (128, 192, 3) and frames[0].dtype is torch.float32
    waveform = origin.audio["waveform"]
    assert waveform.shape[:2] == (1, 2)
    assert waveform.shape[2] / origin.audio["sample_rate"] == pytest.approx(56 / float(TELEVISION), abs=1e-3)
    heard = (waveform[0, 0].abs() > 0.1).nonzero() / 48000
    assert float(heard[0]) == pytest.approx(0.5, abs=0.01)


def test_originals_of_a_file_do_not_stand_in_memory(prepare, video, television):
    origin = prepare(video(television))[0].origin
    assert not isinstance(origin.frames, torch.Tensor)
    assert not any(isinstance(value, torch.Tensor) for value in vars(origin.frames).values())


def test_max_frames_and_start(prepare, video, television, frame_number, shown):
    clip, _, audio, _, length, _ = prepare(video(television), max_frames=12, start_seconds=0.4)
    assert length == 9
    assert frame_number(clip.frames[0]) == 12
    assert frame_number(next(iter(clip.origin.frames))) == 12
    assert clip.origin.num_frames == 11
    heard = (audio["waveform"][0, 0].abs() > 0.1).nonzero() / 48000
    assert float(heard[0]) == pytest.approx(0.1, abs=0.02)
    assert "the first 0.38 s of 1.60 s are edited (max_frames)" in shown[-1]


def test_a_part_that_was_cut_out_of_a_file(prepare, video, television, frame_number):
    part = video(television).as_trimmed(0.5005, 0.6, strict_duration=False)
    clip = prepare(part)[0]
    assert frame_number(clip.frames[0]) == 15
    assert len(clip.frames) == 13  # 0.6 seconds are 14.4
    later = prepare(part, start_seconds=0.3003)[0]
    assert frame_number(later.frames[0]) == 24
    assert len(later.frames) == 5
    assert [frame_number(frame) for frame in later.origin.frames] == list(range(24, 30))


def test_a_mask_for_a_part_that_was_cut_out_of_a_file(prepare, video, television):
    """It has a frame for each of the part, as the host's own nodes decode it."""
    part = video(television).as_trimmed(0.5005, 0.6, strict_duration=False)
    frames = part.get_components().images.shape[0]
    mask = torch.linspace(0.1, 1, frames)[:, None, None].expand(-1, 64, 64)
    tokens = prepare(part, mask=mask)[0].mask
    assert tokens[0, 0, 0] == pytest.approx(0.1, abs=1e-4)
    assert 0.7 < tokens[-1, 0, 0] < 1


def test_a_file_in_memory_is_a_file_too(prepare, video, television, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(tmp_path / "temp"))
    content = io.BytesIO(television.read_bytes())
    first, again = prepare(video(content))[0], prepare(video(content))[0]
    assert torch.equal(first.frames, prepare(video(television))[0].frames)
    assert len(list(again.origin.frames)) == 56
    assert len(list((tmp_path / "temp").iterdir())) == 1


def test_a_variable_rate_stays_in_time(prepare, video, make_video, frame_number):
    times = [*(number / 30 for number in range(15)), *(1.0 + number / 30 for number in range(15))]
    clip = prepare(video(make_video("phone.mkv", 30, times=times)))[0]
    shown = [frame_number(frame) for frame in clip.frames]
    assert shown[:12] == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 14]
    assert set(shown[12:23]) == {14}  # held for half a second
    assert shown[24] == 15
    assert (clip.origin.fps, clip.origin.num_frames) == (30.0, 41)
    assert [frame_number(frame) for frame in clip.origin.frames][13:31] == [13, *[14] * 16, 15]


def test_a_clip_in_memory(prepare, video_in_memory, picture):
    images, sound = picture(60, 90, 160), torch.rand(1, 1, 2000)
    clip, _, audio, *_ = prepare(video_in_memory(images, 30, sound))
    assert len(clip.frames) == 45
    assert (clip.origin.fps, clip.origin.num_frames, clip.origin.width, clip.origin.height) == (30.0, 56, 160, 90)
    assert torch.equal(torch.stack(list(clip.origin.frames)), images[:56])
    assert torch.equal(audio["waveform"], sound[..., :1867])
    later, _, audio, *_ = prepare(video_in_memory(images, 30, sound), start_seconds=1.0)
    assert torch.equal(next(iter(later.origin.frames)), images[30])
    assert torch.equal(audio["waveform"], sound[..., 1000:1867])


def test_a_batch_of_images_has_the_rate_that_it_is_given(prepare, picture, part):
    images = picture(60)
    clip = prepare(images)[0]
    assert torch.equal(clip.frames, images[:57])  # as they are, at the working rate
    clip, _, audio, *_ = prepare(images, source_fps=60.0)
    wanted = part("loom_core.geometry").resample_indices(60.0, 60)
    assert torch.equal(clip.frames, images[wanted])
    assert (clip.origin.fps, clip.origin.num_frames, audio) == (60.0, 53, None)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_still(prepare, picture, channels, shown):
    clip, latent, audio, _, length, _ = prepare(picture(1, 100, 90, channels=channels))
    assert (clip.is_image, length, audio) == (True, 1, None)
    assert clip.frames.shape == (1, 64, 96, 3)
    assert latent["samples"].shape == (1, 48, 1, 4, 6)
    assert (clip.origin.num_frames, clip.origin.width, clip.origin.height) == (1, 90, 100)
    assert shown[-1] == "a still of 96 x 64, from 90 x 100"


def test_one_frame_of_video_is_a_still(prepare, video, make_video):
    for frames in (1, 3):
        clip = prepare(video(make_video(f"short{frames}.mp4", frames)))[0]
        assert (clip.is_image, len(clip.frames), len(list(clip.origin.frames))) == (True, 1, 1)


def test_too_few_frames_are_told(prepare, picture, shown):
    prepare(picture(4))
    assert shown[-1].endswith("4 frames, of which the first is edited as a still (a clip has 5 or more)")


def test_what_is_left_out_is_told(prepare, picture, shown):
    prepare(picture(60))
    assert shown[-1].splitlines() == [
        "57 frames of 96 x 64 at 24 a second, from 57 of 96 x 64 at 24, without sound",
        "the first 2.38 s of 2.50 s are edited (a clip has 4k + 1 frames)",
    ]
    prepare(picture(57))
    assert len(shown[-1].splitlines()) == 1


def test_contain_keeps_the_whole_picture(prepare, picture):
    clip = prepare(picture(5, 64, 64), fit="contain")[0]
    assert clip.origin.fit == "contain"
    assert not clip.frames[:, :, :16].any() and not clip.frames[:, :, 80:].any()


def test_only_the_strength_changed_encodes_nothing(prepare, video, television, built_in, part):
    part("nodes.adapter.media.latents").ENCODED.clear()
    encoded = []
    built_in.first_stage_model.encoder.register_forward_hook(lambda *_: encoded.append(0))
    first = prepare(video(television))[0]
    count = len(encoded)
    again = prepare(video(television), strength=0.5, strength_curve="1:1, 0:0")[0]
    assert (len(encoded), count) == (12, 12)
    assert again.latents is first.latents
    assert (again.strength, again.strength_curve) == (0.5, ((1.0, 1.0), (0.0, 0.0)))


def test_cancel_while_reading(prepare, video, television, cancel, part, monkeypatch):
    from comfy import model_management

    steps = []
    progress = part("nodes.adapter.progress").NodeProgress
    whole = progress.step

    def step(self, done, total):
        steps.append((done, total))
        if len(steps) == 3:
            cancel()
        whole(self, done, total)

    monkeypatch.setattr(progress, "step", step)
    with pytest.raises(model_management.InterruptProcessingException):
        prepare(video(television))
    assert steps == [(1, 45), (2, 45), (3, 45)]


@pytest.mark.parametrize("kind", ["file", "images"])
def test_a_source_longer_than_memory_allows_says_what_would_fit(
    prepare, video, television, picture, errors, monkeypatch, kind
):
    from comfy import model_management

    monkeypatch.setattr(model_management, "get_free_memory", lambda *_, **__: 20 * 96 * 64 * 36)
    source = video(television) if kind == "file" else picture(60)
    with pytest.raises(errors.ResourceError, match=r"frames of 96 x 64.*expected at most 17 frames of this size"):
        prepare(source)
    assert 13 <= len(prepare(source, max_frames=17)[0].frames) <= 17  # the official choice stops early at 29.97
    monkeypatch.setattr(model_management, "get_free_memory", lambda *_, **__: 100)
    with pytest.raises(errors.ResourceError, match="expected a smaller size"):
        prepare(source)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"width": 100}, "size 100x64"),
        ({"fps": 0.0}, "fps 0"),
        ({"fps": float("nan")}, "fps nan"),
        ({"max_frames": 0}, "max_frames 0"),
        ({"start_seconds": -1.0}, "start_seconds -1"),
        ({"strength": -0.5}, "strength -0.5"),
        ({"strength": float("inf")}, "strength inf"),
        ({"strength_curve": "1:1, half:2"}, "'half:2' in strength_curve"),
    ],
)
def test_numbers_that_make_no_sense(prepare, picture, errors, values, says):
    with pytest.raises(errors.ConfigError, match=says):
        prepare(picture(5), **values)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (torch.zeros(0, 64, 64, 3), "the source without a single frame"),
        (torch.full((1, 64, 64, 3), float("nan")), "the source with values that are not numbers"),
        ("clip.mp4", "a source of type str"),
    ],
)
def test_sources_that_are_none(prepare, errors, source, says):
    with pytest.raises(errors.MediaError, match=says):
        prepare(source)


def test_a_start_behind_the_end(prepare, video, television, video_in_memory, picture, errors):
    for source in (video(television), picture(24), video_in_memory(picture(24), 30)):
        with pytest.raises(errors.MediaError, match="ends before 9 seconds"):
            prepare(source, start_seconds=9.0)
    with pytest.raises(errors.MediaError, match=r"a part of 0\.5 seconds"):
        prepare(video(television).as_trimmed(0.5, 0.5), start_seconds=0.6)


def test_a_file_that_is_damaged(prepare, video, tmp_path, errors):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no film at all")
    with pytest.raises(errors.MediaError, match=r"broken\.mp4"):
        prepare(video(path))


def test_a_vae_of_16_channels(prepare, built_in, picture, errors):
    built_in.latent_channels = 16
    with pytest.raises(errors.WeightsError, match=r"16 channels.*wan2\.2_vae\.safetensors"):
        prepare(picture(5))


# The mask


def test_a_mask_counts_for_each_token(prepare, picture):
    mask = torch.zeros(1, 64, 96)
    mask[:, :32, :32], mask[:, 32:, 64:] = 1.0, 0.5
    tokens = prepare(picture(9), mask=mask)[0].mask
    assert tokens.shape == (3, 2, 3)
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    torch.testing.assert_close(tokens, expected.expand(3, 2, 3))


def test_a_mask_is_brought_to_size_as_the_source_is(prepare, picture):
    left = torch.zeros(100, 200)
    left[:, :100] = 1.0
    covered = prepare(picture(1, 100, 200), mask=left, width=64, height=64)[0].mask
    torch.testing.assert_close(covered, torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]))
    contained = prepare(picture(1, 100, 200), mask=left, width=64, height=128, fit="contain")[0].mask
    torch.testing.assert_close(contained[0, [0, 3]], torch.ones(2, 2))  # the bars are kept
    torch.testing.assert_close(contained[0, 1:3], torch.tensor([[1.0, 0.5], [1.0, 0.5]]))


@pytest.mark.parametrize(("length", "step"), [(9, 1), (18, 2), (40, 2)])
def test_a_mask_of_many_frames_follows_the_source(prepare, picture, length, step):
    mask = (torch.arange(length) / 100)[:, None, None].expand(-1, 64, 96)
    tokens = prepare(picture(18), mask=mask, source_fps=48.0)[0].mask
    of_frames = torch.arange(9) * step / 100
    expected = torch.cat([of_frames[:1], of_frames[1:5].mean()[None], of_frames[5:].mean()[None]])
    torch.testing.assert_close(tokens[:, 0, 0], expected)


def test_a_mask_begins_where_the_source_does(prepare, picture):
    mask = (torch.arange(48) / 100)[:, None, None].expand(-1, 64, 96)
    assert prepare(picture(48), mask=mask, start_seconds=1.0, max_frames=5)[0].mask[0, 0, 0] == pytest.approx(
        0.24, abs=1e-4
    )


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (torch.zeros(1, 64, 96), "a mask that is black everywhere"),
        (torch.ones(7, 64, 96), "a mask of 7 frames; expected 1, 9 "),
        (torch.full((1, 64, 96), float("nan")), "a mask that is not finite"),
        (torch.ones(1, 64, 96, 3), "a mask of shape"),
        ("white", "a str as mask"),
    ],
)
def test_masks_that_make_no_sense(prepare, picture, errors, mask, says):
    with pytest.raises(errors.MediaError, match=says):
        prepare(picture(18), mask=mask, source_fps=48.0)
