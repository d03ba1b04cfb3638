"""Pictures of answers, sorted into right and wrong."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
from PIL import Image

from loom_core.errors import OutputError
from loom_core.evaluation import grids as subject
from loom_core.evaluation.grids import Grids, findings, row_of
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


@pytest.fixture
def grids(answers):
    grids = Grids()
    for answer in answers:
        grids.add(answer)
    return grids


def test_right_and_wrong_have_pictures(grids, tmp_path):
    written = grids.write(tmp_path / "pictures")
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


def test_kinds_take_turns_in_a_picture(answers, tmp_path, monkeypatch):
    recoloured, reshaped = (answer for answer in answers if answer.score.verdict.is_right)
    shown = []
    monkeypatch.setattr(subject, "sample_grid", lambda rows: shown.append(rows) or Image.new("RGB", (8, 8)))
    grids = Grids(rows=3)
    for answer in (recoloured, recoloured, recoloured, reshaped, reshaped):
        grids.add(answer)
    grids.write(tmp_path)
    told = ["recolour" if row.caption == row_of(recoloured).caption else "reshape" for row in shown[0]]
    assert told == ["recolour", "reshape", "recolour"]


def test_only_what_is_shown_is_kept(answers):
    grids, alive = Grids(rows=2), []
    for _ in range(20):
        output = answers[0].output.clone()
        alive.append(weakref.ref(output))
        grids.add(replace(answers[0], output=output))
        del output
    assert sum(reference() is not None for reference in alive) == 2


def test_a_file_in_the_way_is_explained(grids, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        grids.write(tmp_path / "taken")
