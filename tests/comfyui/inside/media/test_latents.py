"""Encoding through the host's VAE: checks, progress, cancel, memory, and what need not be encoded again."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def latents(part):
    module = part("nodes.adapter.media.latents")
    module.ENCODED.clear()
    yield module
    module.ENCODED.clear()


class Progress:
    """Stands in for a node's: keeps what it is told."""

    def __init__(self, on_step=None):
        self.steps, self.texts, self.reports, self.on_step = [], [], [], on_step

    def step(self, done, total):
        from comfy import model_management

        self.steps.append((done, total))
        if self.on_step:
            self.on_step(len(self.steps))
        model_management.throw_exception_if_processing_interrupted()

    def text(self, text, *, is_frequent=False):
        self.texts.append(text)

    def report(self, state):
        self.reports.append((state.phase.value, state.step, state.steps))


@pytest.mark.parametrize("kind", ["built_in", "wan"])
@pytest.mark.parametrize("frames", [1, 13])
def test_encoding_is_the_vaes_own(latents, picture, request, kind, frames):
    vae, images = request.getfixturevalue(kind), picture(frames)
    made = latents.encode_frames(vae, images, what="the source", progress=Progress())
    assert made.shape == (1, 48, (frames - 1) // 4 + 1, 4, 6)
    assert made.dtype is torch.float32
    assert torch.equal(made, vae.encode(images))


@pytest.mark.parametrize("kind", ["built_in", "wan"])
def test_progress_counts_latent_frames(latents, picture, request, kind):
    vae, progress = request.getfixturevalue(kind), Progress()
    latents.encode_frames(vae, picture(13), what="the source", progress=progress)
    assert progress.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert progress.texts[-1] == "encoding the source: 4 of 4"
    assert progress.reports == [("encode", done, 4) for done in range(1, 5)]
    assert not vae.first_stage_model.encoder._forward_hooks  # and nobody watches on


@pytest.mark.parametrize("kind", ["built_in", "wan"])
def test_cancel_in_the_middle_stops_there_and_keeps_nothing(latents, picture, request, cancel, kind):
    from comfy import model_management

    vae = request.getfixturevalue(kind)
    progress = Progress(lambda count: cancel() if count == 2 else None)
    with pytest.raises(model_management.InterruptProcessingException):
        latents.encode_frames(vae, picture(41), what="the source", progress=progress)
    assert len(progress.steps) == 2
    assert not vae.first_stage_model.encoder._forward_hooks
    again = latents.encode_frames(vae, picture(41), what="the source", progress=Progress())
    assert torch.equal(again, vae.encode(picture(41)))


def test_cancel_inside_a_latent_frame_of_the_hosts_vae(latents, picture, wan, cancel):
    """Each of its layers looks for one."""
    from comfy import model_management

    layer, calls = wan.first_stage_model.encoder.conv1, []
    layer.register_forward_hook(lambda *_: calls.append(0) or (cancel() if len(calls) == 2 else None))
    progress = Progress()
    with pytest.raises(model_management.InterruptProcessingException):
        latents.encode_frames(wan, picture(13), what="the source", progress=progress)
    assert progress.steps == [(1, 4)]


def test_the_same_pictures_are_encoded_once(latents, built_in, picture):
    first = latents.encode_frames(built_in, picture(9), what="the source", progress=Progress())
    progress = Progress()
    assert latents.encode_frames(built_in, picture(9).clone(), what="the source", progress=progress) is first
    assert progress.steps == []
    other = picture(9)
    other[8, 63, 95, 2] += 1 / 255
    assert not torch.equal(latents.encode_frames(built_in, other, what="the source", progress=progress), first)


def test_another_vae_encodes_anew(latents, part, built_in, picture):
    first = latents.encode_frames(built_in, picture(), what="the source", progress=Progress())
    other = part("nodes.adapter.media.vae").load_vae("built-in: loom-tiny")
    assert latents.encode_frames(other, picture(), what="the source", progress=Progress()) is not first


def test_latents_are_forgotten_with_their_vae_and_beyond_a_size(part):
    import gc

    cache = part("nodes.adapter.media.latent_cache").LatentCache(max_bytes=80)
    model = torch.nn.Identity()
    for key in "abc":
        cache.put(model, key, torch.zeros(10))
    assert [cache.get(model, key) is not None for key in "abc"] == [False, True, True]
    cache.get(model, "b")
    cache.put(model, "d", torch.zeros(10))
    assert [cache.get(model, key) is not None for key in "bcd"] == [True, False, True]
    assert len(cache._by_model) == 1
    del model
    gc.collect()
    assert len(cache._by_model) == 0


@pytest.mark.parametrize(
    ("frames", "height", "width", "says"),
    [(6, 64, 64, "6 frames"), (5, 80, 64, "size 64x80"), (1, 16, 32, "size 32x16")],
)
def test_what_the_model_cannot_have_is_refused(latents, built_in, picture, errors, frames, height, width, says):
    with pytest.raises(errors.ConfigError, match=says):
        latents.encode_frames(built_in, picture(frames, height, width), what="the source")


def test_a_vae_of_16_channels_is_one_sentence(latents, built_in, picture, errors):
    built_in.latent_channels = 16
    with pytest.raises(errors.WeightsError, match=r"16 channels, as that of Wan 2\.1.*wan2\.2_vae\.safetensors"):
        latents.encode_frames(built_in, picture(), what="the source")


def test_latents_that_are_not_finite_are_refused(latents, built_in, picture, errors):
    built_in.first_stage_model.image.mean.data += float("inf")
    with pytest.raises(errors.WeightsError, match=r"not finite.*--bf16-vae"):
        latents.encode_frames(built_in, picture(), what="the source")


def test_latents_of_another_shape_are_refused(latents, built_in, picture, errors, monkeypatch):
    monkeypatch.setattr(built_in, "encode", lambda frames: torch.zeros(1, 48, 1, 2, 2))
    with pytest.raises(errors.WeightsError, match=r"\[1, 48, 1, 2, 2\].*\[1, 48, 1, 4, 6\]"):
        latents.encode_frames(built_in, picture(), what="the source")


class Failing:
    """Runs out of memory in its first calls."""

    def __init__(self, function, failures, error):
        self.function, self.left, self.error, self.sizes = function, failures, error, []

    def __call__(self, pixels):
        self.sizes.append(tuple(pixels.shape[-2:]))
        if self.left:
            self.left -= 1
            raise self.error
        return self.function(pixels)


def fail(vae, failures, error=None):
    failing = Failing(vae.first_stage_model.encode, failures, error or torch.OutOfMemoryError("CUDA out of memory"))
    vae.first_stage_model.encode = failing
    return failing


def test_out_of_memory_once_is_the_hosts_own_affair(latents, built_in, picture):
    """It repeats in tiles by itself; latents of the built-in codec are the same that way."""
    whole = built_in.encode(picture(5, 320, 384))
    failing, progress = fail(built_in, 1), Progress()
    made = latents.encode_frames(built_in, picture(5, 320, 384), what="the source", progress=progress)
    assert failing.sizes[1] == (256, 256)
    torch.testing.assert_close(made, whole, atol=1e-4, rtol=0)
    assert all(done <= total for done, total in progress.steps)


def test_out_of_memory_twice_frees_everything_and_works_in_tiles(latents, built_in, picture):
    whole, progress = built_in.encode(picture(5, 320, 384)), Progress()
    failing = fail(built_in, 2)
    made = latents.encode_frames(built_in, picture(5, 320, 384), what="the source", progress=progress)
    assert failing.sizes == [(320, 384), (256, 256), (256, 256), (256, 192), (128, 256), (128, 192)]
    torch.testing.assert_close(made, whole, atol=1e-4, rtol=0)
    assert progress.steps[-1] == (8, 8)
    assert progress.texts[-1] == "encoding the source in tiles: 8 of 8"


def test_a_machine_without_a_gpu_gets_tiles_too(latents, built_in, picture):
    """There the host knows no failed allocation and repeats nothing."""
    failing = fail(built_in, 1, RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    latents.encode_frames(built_in, picture(5, 320, 384), what="the source", progress=Progress())
    assert failing.sizes[:2] == [(320, 384), (256, 256)]


def test_out_of_memory_for_good_says_what_would_fit(latents, built_in, picture, errors, monkeypatch):
    from comfy import model_management

    monkeypatch.setattr(model_management, "get_free_memory", lambda device=None: 5 * 320 * 384 * 3 * 4 * 6)
    fail(built_in, 99)
    with pytest.raises(errors.ResourceError) as told:
        latents.encode_frames(built_in, picture(13, 320, 384), what="the source", progress=Progress())
    assert str(told.value).startswith(
        "found no memory left while encoding the source, 13 frames of 384 x 320; expected about 5 frames of this size; "
        "to fix: "
    )


@pytest.mark.parametrize(
    ("free", "frames", "told"),
    [
        (40e9, 121, ""),  # by the host's estimate all of it, so that cannot be relied on
        (14e9, 121, "about 29 frames of this size"),
        (5e9, 121, "a size of about"),  # the host's VAE needs the same for any number of frames
        (1e5, 121, ""),
        (5e9, 1, "a size of about"),
    ],
)
def test_what_would_fit(latents, wan, free, frames, told, monkeypatch):
    from comfy import model_management

    monkeypatch.setattr(model_management, "get_free_memory", lambda device=None: free)
    said = latents.what_fits(wan, frames, width=1280, height=704)
    assert said.startswith(told) and bool(said) == bool(told)


def test_an_interrupt_is_not_taken_for_a_lack_of_memory(latents, built_in, picture):
    from comfy import model_management

    failing = fail(built_in, 9, model_management.InterruptProcessingException())
    with pytest.raises(model_management.InterruptProcessingException):
        latents.encode_frames(built_in, picture(), what="the source", progress=Progress())
    assert len(failing.sizes) == 1
