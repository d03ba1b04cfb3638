"""Files to samples: one size, one start, one length; what is broken says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from loom_core.data.files import FileSource
from loom_core.data.framing import Framing
from loom_core.data.problems import Problems
from loom_core.data.records import Record
from loom_core.data.sample import SampleError
from loom_core.data.tasks import training_task

FRAMING = Framing(sizes=((64, 64), (96, 64)), num_frames=9)


@dataclass
class Listed:
    """Records in memory."""

    entries: tuple[Record, ...]
    name: str = "listed"
    fingerprint: str = "listed"

    @property
    def problems(self):
        return Problems()

    def __len__(self):
        return len(self.entries)

    def record(self, index):
        return self.entries[index]


def source_of(*, framing=FRAMING, task="text-to-video", **kwargs):
    record = Record(**{"key": "one", "task": training_task(task), "instruction": "a cat", **kwargs})
    return FileSource(Listed((record,)), framing)


def load(source, seed=0):
    return source.load(0, generator=torch.Generator().manual_seed(seed))


def numbers(clip):
    """Frame numbers that a counting clip shows."""
    return ((clip.frames.float().mean(dim=(1, 2, 3)) - 16) / 5).round().int().tolist()


def test_a_clip_is_cut_and_resized(tmp_path, counting_clip):
    source = source_of(target=counting_clip(tmp_path / "a.mp4", frames=40, size=(150, 100)))
    sample = load(source)
    assert sample.target.frames.shape == (9, 64, 96, 3)
    shown = numbers(sample.target)
    assert shown == list(range(shown[0], shown[0] + 9))
    assert sample.source is None
    assert sample.instruction == "a cat"


def test_starts_cover_the_clip_and_follow_from_the_generator(tmp_path, counting_clip):
    source = source_of(target=counting_clip(tmp_path / "a.mp4", frames=16))
    firsts = {seed: numbers(load(source, seed).target)[0] for seed in range(40)}
    assert set(firsts.values()) == set(range(8))  # 16 frames have 8 places for 9
    assert numbers(load(source, 3).target)[0] == firsts[3]
    assert len({load(source, seed).key for seed in range(40)}) == 8


def test_a_rate_is_resampled(tmp_path, counting_clip):
    """Every second frame of 48 a second."""
    source = source_of(target=counting_clip(tmp_path / "a.mp4", frames=17, rate=48))
    assert numbers(load(source).target) == list(range(0, 17, 2))


def test_source_and_target_share_start_and_length(tmp_path, counting_clip):
    target = counting_clip(tmp_path / "t.mp4", frames=30)
    before = counting_clip(tmp_path / "s.mp4", frames=13, size=(128, 96))
    source = source_of(task="edit-video", target=target, source=before)
    starts = set()
    for seed in range(20):
        sample = load(source, seed)
        assert numbers(sample.source) == numbers(sample.target)
        assert sample.source.frames.shape == sample.target.frames.shape == (9, 64, 96, 3)
        starts.add(numbers(sample.target)[0])
    assert starts == set(range(5))  # the shorter one decides


def test_a_pair_is_truncated_to_the_shorter(tmp_path, counting_clip):
    target = counting_clip(tmp_path / "t.mp4", frames=30)
    before = counting_clip(tmp_path / "s.mp4", frames=7)
    sample = load(source_of(task="edit-video", target=target, source=before))
    assert numbers(sample.source) == numbers(sample.target) == [0, 1, 2, 3, 4]


def test_a_reconstruction_is_decoded_once(tmp_path, counting_clip, monkeypatch):
    from loom_core.data import files

    reads = []
    read = files.read_clip
    monkeypatch.setattr(files, "read_clip", lambda *args, **kwargs: reads.append(args) or read(*args, **kwargs))
    path = counting_clip(tmp_path / "a.mp4", frames=9)
    sample = load(source_of(task="reconstruct-video", target=path, source=path, instruction=""))
    assert sample.source is sample.target
    assert len(reads) == 1


def test_images_have_one_frame(tmp_path, save_picture):
    target = save_picture(tmp_path / "t.png", size=(300, 200))
    before = save_picture(tmp_path / "s.jpg", size=(150, 100), colour=(0, 0, 250))
    sample = load(source_of(task="edit-image", target=target, source=before))
    assert sample.target.frames.shape == sample.source.frames.shape == (1, 64, 96, 3)
    assert sample.target.is_image
    assert sample.source.frames.float().mean(dim=(0, 1, 2)).tolist() == pytest.approx([0, 0, 250], abs=3)


@pytest.mark.parametrize(("reference_size", "expected"), [("target", (64, 96)), ("own", (64, 64))])
def test_references(tmp_path, counting_clip, save_picture, reference_size, expected):
    clip = counting_clip(tmp_path / "t.mp4", frames=9, size=(96, 64))
    pictures = [save_picture(tmp_path / f"{number}.png", size=(80, 80), colour=(number, 0, 0)) for number in (10, 90)]
    framing = replace(FRAMING, reference_size=reference_size)
    sample = load(source_of(task="reference-to-video", target=clip, references=tuple(pictures), framing=framing))
    assert [tuple(reference.frames.shape) for reference in sample.references] == [(1, *expected, 3)] * 2
    assert [int(reference.frames[..., 0].max()) for reference in sample.references] == [10, 90]


def broken_clip(path: Path) -> Path:
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 8)
    return path


def test_what_is_broken_says_so(tmp_path, counting_clip, save_picture):
    clip = counting_clip(tmp_path / "good.mp4", frames=9)
    picture = save_picture(tmp_path / "good.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture.read_bytes()[:60])
    cases = {
        "unreadable: ": source_of(target=broken_clip(tmp_path / "broken.mp4")),
        "unreadable: found no file": source_of(target=tmp_path / "none.mp4"),
        "unreadable: found the image cut.png": source_of(task="text-to-image", target=cut),
        "wrong kind: good.png is a still": source_of(target=picture),
        "unreadable: found good.mp4, which is not a still": source_of(task="text-to-image", target=clip),
        "too short: 1 frames": source_of(target=counting_clip(tmp_path / "short.mp4", frames=3)),
        "unreadable: found no file ": source_of(
            task="reference-to-video", target=clip, references=(tmp_path / "none.png",)
        ),
    }
    for reason, source in cases.items():
        with pytest.raises(SampleError) as caught:
            load(source)
        assert caught.value.reason.startswith(reason), caught.value.reason
        assert caught.value.key == "one"


@pytest.mark.parametrize(
    ("size", "reason"),
    [((10, 10), "10x10 would be enlarged 6.4 times to 64x64"), ((1000, 60), "1000x60 would lose 91% of its area")],
)
def test_no_size_fits(tmp_path, save_picture, size, reason):
    source = source_of(task="text-to-image", target=save_picture(tmp_path / "a.png", size=size))
    with pytest.raises(SampleError, match="no size fits") as caught:
        load(source)
    assert reason in caught.value.reason


def test_description_follows_files_text_and_framing(tmp_path, save_picture):
    path = save_picture(tmp_path / "a.png")
    source = source_of(task="text-to-image", target=path)
    first = source.describe(0)
    assert not first.has_variants
    assert source_of(task="text-to-image", target=path).describe(0) == first
    others = [
        source_of(task="text-to-image", target=path, instruction="a dog").describe(0),
        source_of(task="text-to-image", target=path, framing=replace(FRAMING, num_frames=5)).describe(0),
    ]
    save_picture(path, size=(99, 48))
    others.append(source.describe(0))
    assert len({first, *others}) == 4
    path.unlink()
    with pytest.raises(SampleError, match="unreadable"):
        source.describe(0)


def test_clips_have_variants(tmp_path, counting_clip):
    assert source_of(target=counting_clip(tmp_path / "a.mp4", frames=5)).describe(0).has_variants
