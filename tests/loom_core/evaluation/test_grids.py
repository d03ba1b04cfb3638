"""Pictures of answers, sorted into right and wrong."""

from __future__ import annotations

import pytest
from PIL import Image

from loom_core.errors import OutputError
from loom_core.evaluation.grids import findings, row_of, write_grids
from loom_core.evaluation.plan import SuitePlan, suite_samples
from loom_core.evaluation.suite import Answer, score_answer


@pytest.fixture(scope="module")
def answers():
    """Edits of stills, each once done and once left alone."""
    plan = SuitePlan(samples=2, tasks=("edit-image",), kinds=("recolour", "reshape"))
    made = []
    for sample in suite_samples(plan):
        for clip in (sample.world.sample.target, sample.world.sample.source):
            made.append(Answer(sample, clip.frames, score_answer(sample, clip.frames, codec=None)))
    return made


def test_right_and_wrong_have_pictures(answers, tmp_path):
    written = write_grids(answers, tmp_path / "pictures")
    assert [path.name for path in written] == [
        "edit-image-recolour-wrong.png",
        "edit-image-reshape-wrong.png",
        "edit-image-right.png",
        "edit-image-wrong.png",
    ]
    heights = {path.stem: Image.open(path).height for path in written}
    assert heights["edit-image-wrong"] > 1.5 * heights["edit-image-recolour-wrong"]  # two rows, not one


def test_a_row_says_what_is_wrong(answers):
    right, wrong = answers[:2]
    assert row_of(right).caption.startswith("right: ")
    assert findings(right.score) == ""
    assert row_of(wrong).caption.startswith("WRONG: ")
    request = wrong.score.request
    colour = request.before.things[request.asks[0].thing].colour
    assert f"seen {colour}" in findings(wrong.score)


def test_a_file_in_the_way_is_explained(answers, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        write_grids(answers, tmp_path / "taken")
