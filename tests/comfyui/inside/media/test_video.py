"""Restore Video: an edit given back with the size, rate, length and sound of its source."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

TELEVISION = Fraction(30000, 1001)


@pytest.fixture
def node(part):
    return part("nodes.video").LoomVideoRestoreVideo


@pytest.fixture
def prepare(part, built_in):
    """Makes a source of a VIDEO or IMAGE."""

    def run(source, **values):
        given = {"width": 96, "height": 64, "max_frames": 121, "fps": 24.0, "fit": "cover", "strength": 1.0}
        return (
            part("nodes.source").LoomVideoSourceLatentScaler.execute(built_in, source, **{**given, **values}).result[0]
        )

    return run


@pytest.fixture
def restored(node):
    """Runs the node; (components of the VIDEO, IMAGE)."""

    def run(images, source, size="original", rate="original", **values):
        video, frames = node.execute(images, source, size, rate, **values).result
        return video.get_components(), frames

    return run


@pytest.fixture
def television(make_video, pack):
    """60 frames at 29.97 a second, 192 x 128, with two seconds of sound, as the host's VIDEO."""
    from comfy_api.latest import InputImpl

    path = make_video("television.mp4", 60, fps=TELEVISION, width=192, height=128, seconds_of_sound=2.002)
    return InputImpl.VideoFromFile(str(path))


def numbered(count, height=64, width=96):
    """Frames whose brightness is their number over 100."""
    return (torch.arange(count) / 100)[:, None, None, None].expand(-1, height, width, 3)


def test_size_rate_length_and_sound_come_back(prepare, restored, television, shown):
    source = prepare(television)
    video, images = restored(source.frames, source)
    assert video.frame_rate == TELEVISION
    assert images.shape == (56, 128, 192, 3)
    assert torch.equal(video.images, images)
    sound = video.audio["waveform"]
    assert sound.shape[-1] == round(56 / TELEVISION * 48000)
    assert float((sound[0, 0].abs() > 0.1).nonzero()[0]) / 48000 == pytest.approx(0.5, abs=0.01)
    assert shown[-1] == "56 frames of 192 x 128 at 29.97 a second, with sound"


def test_every_frame_shows_its_own_number(prepare, restored, television, frame_number):
    """Frames that the model saw stand where they stood; one that it did not see shows a neighbour."""
    source = prepare(television)
    numbers = [frame_number(frame) for frame in restored(source.frames, source)[1]]
    seen = {frame_number(frame) for frame in source.frames}
    assert all(number == position if position in seen else abs(number - position) == 1
               for position, number in enumerate(numbers))  # fmt: skip
    assert numbers == sorted(numbers)


def test_the_saved_file_is_as_the_source(prepare, restored, node, television, tmp_path, frame_number):
    import av

    source = prepare(television)
    video = node.execute(source.frames, source, "original", "original").result[0]
    video.save_to(str(tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream, sound = container.streams.video[0], container.streams.audio[0]
        assert (stream.width, stream.height, stream.frames) == (192, 128, 56)
        assert float(stream.average_rate) == pytest.approx(29.97, abs=1e-3)
        assert float(sound.duration * sound.time_base) == pytest.approx(56 / float(TELEVISION), abs=0.05)


@pytest.mark.parametrize(
    ("fps", "frames", "count", "shows"),
    [
        (24.0, 57, 57, list(range(57))),
        (12.0, 30, 29, [min(2 * number, 56) for number in range(29)]),
        (48.0, 120, 114, None),
        (60.0, 60, 53, None),
    ],
)
def test_rates_below_and_above_the_working_one(prepare, restored, picture, fps, frames, count, shows):
    source = prepare(picture(frames), source_fps=fps)
    video, images = restored(numbered(len(source.frames)), source)
    assert (video.frame_rate, len(images)) == (fps, count)
    numbers = [round(float(frame.mean()) * 100) for frame in images]
    expected = shows or [min(round(position * 24 / fps), len(source.frames) - 1) for position in range(count)]
    assert numbers == expected


def test_the_working_rate_and_size_on_wish(prepare, restored, television):
    source = prepare(television)
    video, images = restored(source.frames, source, rate="edited")
    assert (video.frame_rate, images.shape) == (24, (45, 128, 192, 3))
    assert video.audio["waveform"].shape[-1] == pytest.approx(45 / 24 * 48000, abs=400)
    video, images = restored(source.frames, source, size="edited")
    assert (video.frame_rate, images.shape) == (TELEVISION, (56, 64, 96, 3))
    video, images = restored(source.frames, source, size="edited", rate="edited")
    assert torch.equal(images, source.frames)


def test_a_clip_without_sound(prepare, restored, picture):
    source = prepare(picture(9))
    video, images = restored(source.frames, source)
    assert video.audio is None
    assert torch.equal(images, source.frames)


def test_a_still_is_a_video_of_one_frame_and_an_image(prepare, restored, picture, shown):
    source = prepare(picture(1, 128, 192))
    video, images = restored(source.frames, source)
    assert images.shape == video.images.shape == (1, 128, 192, 3)
    assert shown[-1] == "an image of 192 x 128"


def test_odd_sizes_stay_in_the_image_and_become_even_in_the_video(prepare, restored, picture):
    source = prepare(picture(5, 65, 97))
    video, images = restored(source.frames, source, border="original")
    assert images.shape == (5, 65, 97, 3)
    assert video.images.shape == (5, 64, 96, 3)


# What the working size had cut off or added


def test_bars_are_cut_away(prepare, restored, picture):
    images = picture(5, 64, 64)
    source = prepare(images, fit="contain")
    back = restored(source.frames, source)[1]
    torch.testing.assert_close(back, images, atol=0.01, rtol=0)


def wide(prepare, picture, **values):
    """A source of 160 x 64 edited at 96 x 64: 32 pixels are cut off at each side."""
    return prepare(picture(5, 64, 160), **values)


def test_wide_edges_keep_the_sources_own_pixels(prepare, restored, picture, shown):
    source, white = wide(prepare, picture), torch.ones(5, 64, 96, 3)
    back = restored(white, source)[1]
    own = picture(5, 64, 160)
    assert torch.equal(back[:, :, :32], own[:, :, :32]) and torch.equal(back[:, :, 128:], own[:, :, 128:])
    assert (back[:, :, 36:124] == 1).all()
    fade = back[0, 0, 32:36, 0] - own[0, 0, 32:36, 0]
    assert (fade > 0).all()
    assert "the source's own" in shown[-1]


def test_narrow_edges_are_continued_from_the_edit(prepare, restored, picture, shown):
    source = prepare(picture(5, 64, 104))
    back = restored(picture(5, seed=9), source)[1]
    assert back.shape == (5, 64, 104, 3)
    assert torch.equal(back[:, :, 4:100], picture(5, seed=9))
    assert torch.equal(back[:, :, :4], picture(5, seed=9)[:, :, 1:5].flip(2))
    assert "continued from the edit" in shown[-1]


@pytest.mark.parametrize(
    ("border", "size"), [("cut", (64, 96)), ("mirror", (64, 160)), ("original", (64, 160)), ("auto", (64, 160))]
)
def test_borders_on_wish(prepare, restored, picture, border, size):
    back = restored(picture(5, seed=9), wide(prepare, picture), border=border)[1]
    assert tuple(back.shape[1:3]) == size
    if border == "cut":
        assert torch.equal(back, picture(5, seed=9))


def test_a_mirror_wider_than_the_edit(prepare, restored, picture):
    source = prepare(picture(1, 32, 320), width=32, height=32)
    back = restored(picture(1, 32, 32, seed=9), source, border="mirror")[1]
    assert back.shape == (1, 32, 320, 3)
    assert torch.equal(back[0, :, 0], picture(1, 32, 32, seed=9)[0, :, 0])


def test_edges_of_a_file_are_decoded_again_in_step(prepare, restored, television, frame_number):
    source = prepare(television, width=64, height=96)  # cuts two thirds off at the sides
    back = restored(torch.zeros(45, 96, 64, 3), source)[1]
    frames = list(source.origin.frames)
    for position in (0, 1, 30, 55):
        torch.testing.assert_close(back[position, :, :40], frames[position][:, :40])
    slow = restored(torch.zeros(45, 96, 64, 3), source, rate="edited")[1]
    torch.testing.assert_close(slow[44, :, :40], frames[55][:, :40])
    assert len(slow) == 45


def test_an_edit_that_was_enlarged(prepare, restored, picture):
    source = wide(prepare, picture)
    back = restored(torch.ones(5, 128, 192, 3), source, border="original")[1]
    assert back.shape == (5, 64, 160, 3)
    assert (back[:, :, 36:124] == 1).all()
    source = prepare(picture(5, 64, 64), fit="contain")
    torch.testing.assert_close(restored(torch.ones(5, 256, 384, 3), source)[1], torch.ones(5, 64, 64, 3))


# What is refused


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.zeros(8, 64, 96, 3), "8 edited frames for a source of 9; expected one for each.*all frames"),
        (torch.zeros(18, 64, 96, 3), "18 edited frames for a source of 9.*LatentFromBatch"),
        (torch.zeros(9, 96, 64, 3), "an edit of 64 x 96 for a source that was edited at 96 x 64"),
    ],
)
def test_edits_that_do_not_fit_the_source(prepare, restored, picture, errors, images, says):
    with pytest.raises(errors.ConfigError, match=says):
        restored(images, prepare(picture(9)))


def test_an_edit_with_values_that_are_no_numbers(prepare, restored, picture, errors):
    with pytest.raises(errors.MediaError, match="the edit with values that are not numbers"):
        restored(torch.full((5, 64, 96, 3), float("nan")), prepare(picture(5)))


def test_a_result_larger_than_memory_says_what_would_fit(prepare, restored, picture, errors, monkeypatch):
    from comfy import model_management

    source = prepare(picture(9, 640, 960))
    monkeypatch.setattr(model_management, "get_free_memory", lambda *_, **__: 5 * 640 * 960 * 12)
    with pytest.raises(errors.ResourceError, match=r"9 frames of 960 x 640.*at most 4 frames.*size edited"):
        restored(source.frames, source)
    restored(source.frames, source, size="edited")


def test_cancel_while_restoring(prepare, node, picture, cancel, part, monkeypatch):
    from comfy import model_management

    source, done = prepare(picture(9)), []
    progress = part("nodes.adapter.progress").NodeProgress
    whole = progress.step
    monkeypatch.setattr(
        progress, "step", lambda self, *counts: done.append(counts) or (cancel() if len(done) == 2 else None)
        or whole(self, *counts)
    )  # fmt: skip
    with pytest.raises(model_management.InterruptProcessingException):
        node.execute(source.frames, source, "original", "original")
    assert len(done) == 2


def test_a_source_whose_file_is_gone(prepare, restored, make_video, errors, pack):
    from comfy_api.latest import InputImpl

    path = make_video("gone.mp4", 9, fps=24, width=192, height=64)
    source = prepare(InputImpl.VideoFromFile(str(path)))
    path.unlink()
    with pytest.raises(errors.MediaError, match=r"gone\.mp4"):
        restored(source.frames, source, border="original")
    assert len(restored(source.frames, source, border="mirror")[1]) == 9  # the edit itself needs it no more


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(29.97002997, TELEVISION), (24000 / 1001, Fraction(24000, 1001)), (25.0, 25), (12.5, Fraction(25, 2))],
)
def test_rates_are_what_is_meant(part, fps, rate):
    assert part("nodes.adapter.media.restoring").exact_rate(fps) == rate


def test_an_original_of_few_frames_is_never_left(prepare, restored, picture):
    """Rates that do not divide must not ask for a frame behind the last."""
    for fps in (23.976, 25.0, 29.97, 50.0, 59.94):
        source = prepare(picture(37, 64, 160), source_fps=fps)
        for rate in ("original", "edited"):
            images = restored(source.frames, source, rate=rate, border="original")[1]
            torch.testing.assert_close(images[0], picture(37, 64, 160)[0], atol=0.003, rtol=0)
            assert source.origin.num_frames <= 37
