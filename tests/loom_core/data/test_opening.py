"""From settings to packs, with real files of every layout."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from loom_core.bundle import BUILT_IN
from loom_core.config.data import DataConfig
from loom_core.config.reading import build
from loom_core.data import opening
from loom_core.data.dropout import prompt_content
from loom_core.data.opening import open_cache, open_samples, open_sources
from loom_core.errors import ConfigError, MediaError
from loom_core.mllm.reader import PromptReader

PLAIN = {"sizes": [[64, 64], [96, 64]], "num_frames": 9, "token_budget": 200, "cache_reserve_gb": 0}


@pytest.fixture(scope="module")
def library(tmp_path_factory, counting_clip, save_picture):
    """One set of each layout: a folder with a broken clip among many, a manifest, single JSONs."""
    root = tmp_path_factory.mktemp("library")
    clip = counting_clip(root / "clip.mp4", frames=30)
    for number in range(24):
        path = root / "folder" / f"{number:02d}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(clip.read_bytes() if number != 7 else clip.read_bytes()[:300])
        path.with_suffix(".txt").write_text(f"clip {number}")
    save_picture(root / "manifest" / "a.png", size=(100, 100))
    save_picture(root / "manifest" / "b.png", size=(96, 64), colour=(0, 0, 255))
    (root / "manifest" / "v.mp4").write_bytes(clip.read_bytes())
    rows = [
        {"task": "edit-image", "image": "a.png", "source": "b.png", "instruction": "make it red"},
        {"task": "reference-to-video", "video": "v.mp4", "caption": "move @Image 1", "references": ["a.png", "b.png"]},
        {"task": "reconstruct-image", "image": "b.png"},
    ]
    (root / "manifest" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "official" / "single_jsons").mkdir(parents=True)
    (root / "official" / "s.mp4").write_bytes(clip.read_bytes())
    values = {"source_video_path": "s.mp4", "instruction": "make it blue", "target_video_path": "s.mp4"}
    (root / "official" / "single_jsons" / "0.json").write_text(json.dumps(values))
    return root


def config_of(library, **changes):
    sets = [
        {"kind": "folder", "path": str(library / "folder"), "tasks": ["text-to-video"], "group": "clips"},
        {"kind": "manifest", "path": str(library / "manifest")},
        {"kind": "single_jsons", "path": str(library / "official"), "tasks": ["edit-video"]},
    ]
    return build(DataConfig, {"sets": sets, **PLAIN, **changes})


def open_packs(config, **kwargs):
    return opening.open_packs(config, reader=PromptReader.load(BUILT_IN / "mllm"), **kwargs)


def test_the_budget_counts_what_the_mllm_reads(library, codec):
    """Of every sample of every pack: its own tokens and those of its prompt as it is written in the run."""
    reader = PromptReader.load(BUILT_IN / "mllm")
    for order in ("training", "inference"):
        config = config_of(library, prompt_order=order)
        for pack in itertools.islice(open_packs(config, seed=0, codec=codec, codec_identity="mean"), 4):
            prompts = [
                len(reader.read(prompt_content(sample, prompt_order=order)).input_ids) for sample in pack.samples
            ]
            assert pack.tokens == sum(prompts) + sum(sample.shift_tokens for sample in pack.samples)
            assert pack.tokens <= config.token_budget


def summary(pack):
    return [(sample.key, sample.seed, sample.target.float().sum().item()) for sample in pack.samples]


@pytest.mark.parametrize("workers", [0, 2])
def test_packs_from_every_layout(library, codec, workers):
    config = config_of(library, workers=workers)
    packs = open_packs(config, seed=0, codec=codec, codec_identity="mean")
    samples = [sample for pack in itertools.islice(packs, 12) for sample in pack.samples]
    packs.close()
    tasks = {sample.task.name for sample in samples}
    assert tasks == {"text-to-video", "edit-image", "reference-to-video", "reconstruct-image", "edit-video"}
    for sample in samples:
        assert sample.target.dtype == torch.bfloat16
        assert sample.target.shape[1] == (1 if sample.task.is_image else 3)
        assert (sample.source is not None) == sample.task.needs_source
        assert len(sample.references) == (2 if sample.task.needs_references else 0)
        if sample.source is not None:
            assert sample.source.shape == sample.target.shape


def test_a_broken_clip_among_many_is_counted_and_the_rest_is_used(library, codec):
    config = config_of(library)
    samples = open_samples(config, seed=0, codec=codec, codec_identity="mean")
    seen = set()
    while len(seen) < 23:
        item = next(samples)
        if item.place.set_index == 0:
            seen.add(item.sample.key.split()[0])
    while not samples.guard.problems.total:
        next(samples)
    assert seen == {f"{number:02d}" for number in range(24)} - {"07"}
    assert list(samples.guard.problems.counts) == ["unreadable"]
    assert "07.mp4" in samples.guard.problems.examples["unreadable"][0]


def test_a_cached_run_decodes_nothing_and_gives_the_same(library, codec, tmp_path, monkeypatch):
    # longer than all clips, which then have one start with a cache and without
    whole = {"num_frames": 33, "token_budget": 600}
    config = config_of(library, cache=str(tmp_path / "latents"), clip_variants=1, **whole)
    packs = open_packs(config, seed=0, codec=codec, codec_identity="mean")
    first = [summary(pack) for pack in itertools.islice(packs, 15)]
    plain = open_packs(config_of(library, **whole), seed=0, codec=codec, codec_identity="mean")
    assert [summary(pack) for pack in itertools.islice(plain, 15)] == first
    calls = codec.calls

    def fails(*args, **kwargs):
        raise AssertionError("a cached sample needs no decoding")

    for name in ("read_clip", "read_image"):
        monkeypatch.setattr(f"loom_core.data.files.{name}", fails)
    # the broken clip is probed again, and found broken again
    again = open_packs(config, seed=0, codec=codec, codec_identity="mean")
    assert [summary(pack) for pack in itertools.islice(again, 15)] == first
    assert codec.calls == calls


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_goes_on_with_the_same_packs(library, codec, tmp_path, workers):
    config = config_of(library, workers=workers, cache=str(tmp_path / "latents"))
    first = config_of(library, cache=str(tmp_path / "other"))
    whole = list(itertools.islice(open_packs(first, seed=5, codec=codec, codec_identity="mean"), 8))
    state = json.loads(json.dumps(whole[3].state))
    resumed = open_packs(config, seed=5, codec=codec, codec_identity="mean", state=state)
    assert [summary(pack) for pack in itertools.islice(resumed, 4)] == [summary(pack) for pack in whole[4:]]
    resumed.close()


def test_another_seed_is_another_order(library, codec):
    first, second = (
        [
            summary(pack)
            for pack in itertools.islice(
                open_packs(config_of(library), seed=seed, codec=codec, codec_identity="mean"), 3
            )
        ]
        for seed in (0, 1)
    )
    assert first != second


def test_cache_identity_follows_codec_parts_and_format(library, tmp_path):
    cache = str(tmp_path / "latents")
    names = {
        open_cache(config_of(library, cache=cache, **changes), codec_identity=codec).name_of("f", variant=0)
        for codec, changes in [
            ("a", {}),
            ("b", {}),
            ("a", {"source_to_dit": False}),
            ("a", {"source_to_mllm": False}),
            ("a", {"latent_dtype": "fp32"}),
        ]
    }
    assert len(names) == 5
    assert open_cache(config_of(library), codec_identity="a") is None
    with_reserve = config_of(library, cache=cache, cache_reserve_gb=1.5)
    assert open_cache(with_reserve, codec_identity="a").reserve == 1_500_000_000


def test_a_world_and_a_limit(library):
    world = {"kind": "world", "name": "shapes", "max_samples": 5, "options": {"count": 9, "size": [64, 64]}}
    (source,) = open_sources(config_of(library, sets=[world]))
    assert (source.name, len(source)) == ("shapes", 5)
    sample = source.load(0, generator=torch.Generator())
    assert sample.target.size == (64, 64)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"kind": "folder", "tasks": []}, "0 tasks of the folder set folder.*exactly one"),
        ({"kind": "folder", "tasks": ["text-to-video", "text-to-image"]}, "2 tasks"),
        ({"kind": "folder", "tasks": ["text-to-vidoe"]}, "did you mean 'text-to-video'"),
        ({"kind": "folder", "tasks": ["text-to-video"], "options": {"json_dri": "a"}}, "json_dri"),
    ],
)
def test_settings_that_make_no_set(library, entry, said):
    config = config_of(library, sets=[{"path": str(library / "folder"), **entry}])
    with pytest.raises(ConfigError, match=said):
        open_sources(config)


def test_captions_missing_end_it_at_once(library, tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.mp4").touch()
    (tmp_path / "0.txt").write_text("a")
    config = config_of(library, sets=[{"kind": "folder", "path": str(tmp_path), "tasks": ["text-to-video"]}])
    with pytest.raises(MediaError, match=r"9 of 10 samples.*9 x missing caption: 1.mp4, 2.mp4"):
        open_sources(config)


def test_a_set_of_another_task_is_found_when_it_is_opened(library):
    official = {"kind": "single_jsons", "path": str(library / "official")}
    config = config_of(library, sets=[{**official, "tasks": ["text-to-video"]}])
    with pytest.raises(MediaError, match=r"1 of 1 samples looked at.*missing \w+: it has .* as a sample of edit-video"):
        open_sources(config)


def test_files_that_are_not_where_a_set_says_are_found_when_it_is_opened(library, tmp_path):
    """Such as paths in a manifest that are relative to another folder."""
    rows = [{"task": "text-to-image", "image": f"pictures/{number}.png", "caption": "a"} for number in range(30)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = config_of(library, sets=[{"kind": "manifest", "path": str(tmp_path)}])
    with pytest.raises(MediaError, match=r"8 of 8 samples looked at.*pictures/0\.png.*`tasks:` or `path:` of set"):
        open_sources(config)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "28.png").write_bytes(b"the last of those looked at")
    assert len(open_sources(config)[0]) == 30, "one is enough; the others are counted in training"


def test_a_bucket_that_fits_nothing_ends_it_with_its_reason(library, codec):
    """Clips of 64 x 48 pixels would have to be enlarged beyond all use."""
    config = config_of(library, sizes=[], buckets=[960], min_bad_samples=4)
    packs = open_packs(config, seed=0, codec=codec, codec_identity="mean")
    with pytest.raises(
        MediaError,
        match=r"x no size fits: .*would be enlarged \d+\.\d times to \d+x\d+ of data\.buckets; data\.max_enlarge",
    ):
        next(packs)
