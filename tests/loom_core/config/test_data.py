"""Settings of the training data: what a mapping may say, and what each mistake is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom_core.config.data import DataConfig, DataSetConfig
from loom_core.config.reading import build
from loom_core.errors import ConfigError

FOLDER = {"kind": "folder", "path": "cats", "tasks": ["text-to-video"]}
LEAST = {"sets": [FOLDER], "buckets": [256]}


def config(**changes):
    return build(DataConfig, {**LEAST, **changes})


def test_from_a_plain_mapping():
    found = config(
        sets=[FOLDER, {"kind": "world", "name": "shapes", "weight": 2, "options": {"seed": 1}}],
        group_weights={"shapes": 3},
        cache="latents",
        token_budget=10_240,
        dropout_all=0.1,
    )
    assert found.sets[0] == DataSetConfig(kind="folder", path=Path("cats"), tasks=("text-to-video",))
    assert found.sets[1].options == {"seed": 1}
    assert [entry.label for entry in found.sets] == ["cats", "shapes"]
    assert (found.cache, found.buckets, found.sizes) == (Path("latents"), (256,), ())


def test_sizes_of_ones_own():
    found = config(buckets=[], sizes=[[128, 128], [192, 128]])
    assert found.sizes == ((128, 128), (192, 128))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"token_bugdet": 5}, "did you mean 'token_budget'"),
        ({"sets": [{**FOLDER, "wieght": 2}]}, "did you mean 'weight'"),
        ({"sets": [{"path": "cats"}]}, r"no sets.0.kind"),
        ({"sets": [{**FOLDER, "kind": "folders"}]}, "'folder', 'manifest', 'single_jsons', 'world'"),
        ({"sets": []}, "no sets"),
        ({"sets": [{"kind": "manifest"}]}, "a manifest set without a path"),
        ({"sets": [{**FOLDER, "weight": 0}]}, "weight 0"),
        ({"sets": [{**FOLDER, "max_samples": 0}]}, "max_samples 0"),
        ({"sets": [FOLDER, FOLDER]}, "two sets of the name 'cats'"),
        ({"buckets": []}, "neither buckets nor sizes"),
        ({"sizes": [[128, 128]]}, "both buckets and sizes"),
        ({"buckets": [512]}, "bucket 512, which has no sizes; expected some of 256, 640, 960"),
        ({"buckets": [], "sizes": [[100, 128]]}, "use 96x128"),
        ({"group_weights": {"dogs": 1}}, "a weight for group 'dogs'.*expected one of cats"),
        ({"group_weights": {"cats": -1}}, "weight -1"),
        ({"num_frames": 98}, "use 97 or 101"),
        ({"num_frames": 5, "min_frames": 9}, "min_frames 9"),
        ({"fps": 0}, "fps 0"),
        ({"max_enlarge": 0}, "max_enlarge 0"),
        ({"max_cropped": 1.5}, "max_cropped 1.5"),
        ({"dropout_all": -0.1}, "dropout_all -0.1"),
        ({"dropout_all": 0.6, "dropout_text": 0.6}, "exclude each other"),
        ({"max_bad_share": 1}, "max_bad_share 1"),
        ({"token_budget": 0}, "token_budget 0"),
        ({"cache_reserve_gb": -1}, "cache_reserve_gb -1"),
        ({"clip_variants": 0}, "clip_variants 0"),
        ({"min_bad_samples": 0}, "min_bad_samples 0"),
        ({"prefetch": 0}, "prefetch 0"),
        ({"workers": -1}, "workers -1"),
        ({"max_samples_per_pack": 0}, "max_samples_per_pack 0"),
        ({"latent_dtype": "fp16"}, "'bf16', 'fp32'"),
        ({"reference_size": "mine"}, "'target', 'own'"),
    ],
)
def test_mistakes(changes, said):
    with pytest.raises(ConfigError, match=said):
        config(**changes)


def test_a_group_is_named_by_its_sets():
    found = config(
        sets=[{**FOLDER, "group": "animals"}, {**FOLDER, "name": "dogs"}], group_weights={"animals": 2, "dogs": 1}
    )
    assert found.group_weights == {"animals": 2.0, "dogs": 1.0}
