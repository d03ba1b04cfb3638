"""Records have what their task needs; a set that lost too much is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom_core.data.problems import Problems
from loom_core.data.records import check_found, make_record
from loom_core.data.sample import SampleError
from loom_core.data.tasks import training_task
from loom_core.errors import MediaError

TARGET, OTHER = Path("t.mp4"), Path("o.mp4")


class Found:
    name = "cats"
    fingerprint = ""

    def __init__(self, count, missing):
        self.problems = Problems()
        self._count = count
        for number in range(missing):
            self.problems.add(f"{number}.mp4", "missing caption")

    def __len__(self):
        return self._count


@pytest.mark.parametrize(
    ("task", "given", "reason"),
    [
        ("text-to-video", {"instruction": " \n"}, "missing caption"),
        ("edit-video", {}, "missing source"),
        ("reference-edit", {"source": OTHER}, "missing references"),
        ("reference-to-image", {"references": []}, "missing references"),
    ],
)
def test_what_is_missing(task, given, reason):
    with pytest.raises(SampleError) as caught:
        make_record("one", training_task(task), **{"instruction": "a cat", "target": TARGET, **given})
    assert (caught.value.key, caught.value.reason) == ("one", reason)


def test_what_the_task_does_not_take_is_left_out():
    record = make_record(
        "one", training_task("text-to-video"), instruction=" a cat\n", target=TARGET, source=OTHER, references=[OTHER]
    )
    assert (record.instruction, record.source, record.references) == ("a cat", None, ())


def test_a_reconstruction_is_its_own_source():
    record = make_record("one", training_task("reconstruct-video"), instruction="ignored", target=TARGET, source=OTHER)
    assert (record.instruction, record.source) == ("", TARGET)


def test_a_few_missing_captions_are_a_warning(caplog):
    check_found(Found(97, 3), max_bad_share=0.05, where=Path("cats"))
    (message,) = caplog.messages
    assert message == "cats: 3 of 100 left out: 3 x missing caption: 0.mp4, 1.mp4, 2.mp4"


def test_nothing_missing_is_not_spoken_of(caplog):
    check_found(Found(1, 0), max_bad_share=0.0, where=Path("cats"))
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("count", "missing", "said"),
    [
        (90, 10, r"10 of 100 samples in cats.*10 x missing caption: 0.mp4.*at most 5.0%.*max_bad_share"),
        (0, 7, r"no sample that can be used in cats \(7 x missing caption"),
        (0, 0, r"no sample that can be used in cats;"),
    ],
)
def test_too_many(count, missing, said):
    with pytest.raises(MediaError, match=said):
        check_found(Found(count, missing), max_bad_share=0.05, where=Path("cats"))
