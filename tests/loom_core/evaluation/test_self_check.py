"""The judge over a whole round of samples: the truth is always right, nothing else ever is."""

from __future__ import annotations

import pytest

from loom_core.evaluation.plan import SuitePlan, suite_samples
from loom_core.evaluation.self_check import SHOULD_BE_RIGHT, SHOULD_BE_WRONG, check_judge, codec_ceiling


@pytest.mark.parametrize("frames", [5])
def test_the_judge_is_right(codec, frames):
    plans = (
        SuitePlan(samples=10, frames=frames, seed=1),
        SuitePlan(samples=8, seed=1, tasks=("text-to-image", "edit-image"), kinds=("generate", "add")),
    )
    found = check_judge((sample for plan in plans for sample in suite_samples(plan)), codec=codec)
    assert set(found) == {*SHOULD_BE_RIGHT, *SHOULD_BE_WRONG}
    assert all(rate.total >= 3 for rate in found.values())
    assert {name: found[name].share for name in SHOULD_BE_RIGHT} == dict.fromkeys(SHOULD_BE_RIGHT, 1.0)
    assert {name: found[name].right for name in SHOULD_BE_WRONG} == dict.fromkeys(SHOULD_BE_WRONG, 0)


def test_the_codec_alone_sets_the_ceiling(codec):
    scores = codec_ceiling(suite_samples(SuitePlan(samples=3, frames=5, tasks=("edit-video",))), codec=codec)
    assert len(scores) == 3
    assert all(score.verdict.is_right for score in scores)
    assert all(20 < score.unchanged_psnr < 100 for score in scores if score.unchanged_psnr is not None)
