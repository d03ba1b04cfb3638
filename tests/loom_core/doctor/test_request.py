"""What is asked, by its numbers and words: each fault is found, named like the error of a run, and can be set right."""

import pytest

from loom_core.doctor.finding import Level
from loom_core.doctor.request import check_length, check_mentions, check_prompt, check_rate, check_result_size
from loom_core.errors import ConfigError
from loom_core.geometry import check_frames, check_size
from loom_core.mllm.prompts import check_request
from loom_core.types import Task


def levels(findings):
    return [finding.level for finding in findings]


@pytest.mark.parametrize(("prompt", "found"), [(None, "no prompt"), (" \n", "an empty prompt")])
def test_no_prompt(prompt, found):
    (finding,) = check_prompt(prompt)
    assert (finding.level, finding.found) == (Level.ERROR, found)
    assert check_prompt("a cat") == []


def test_mentions_without_references_say_what_a_run_would():
    findings = check_mentions("@Image 3 and @Image 0 by @image 1", 2)
    assert levels(findings) == [Level.ERROR, Level.ERROR, Level.WARNING]
    with pytest.raises(ConfigError) as refused:
        check_request(Task.REFERENCE_TO_VIDEO, "@Image 3", num_references=2, has_source=False)
    assert findings[0].sentence == str(refused.value)
    assert "counted from @Image 1" in findings[1].fix
    assert "reference 2, which the prompt never mentions" in findings[2].sentence


def test_mentions_where_a_slot_may_hold_more():
    findings = check_mentions("@Image 3, @Image 0 of @Image 1", 1, is_count_exact=False)
    assert levels(findings) == [Level.WARNING, Level.ERROR]


def test_references_without_a_mention_are_one_finding():
    """An animation may have any number of them."""
    (finding,) = check_mentions("@Image 1 moves", 60)
    assert finding.level is Level.WARNING
    assert finding.found == "references @Image 2–60, which the prompt never mentions"
    (finding,) = check_mentions("@Image 8, @Image 5 and @Image 2", 10)
    assert "references @Image 1, @Image 3, @Image 4, @Image 6, @Image 7, @Image 9, @Image 10," in finding.found
    (finding,) = check_mentions("@Image 4", 6)
    assert "references @Image 1–3, @Image 5, @Image 6," in finding.found


def test_mentions_that_fit():
    assert check_mentions("@Image 2 in front of @image1", 2) == []
    assert check_mentions("a cat", 0) == []


@pytest.mark.parametrize(("width", "height"), [(1000, 600), (100, 64), (16, 16), (0, 0), (5000, 480), (-32, 64)])
def test_sizes_that_cannot_be_made_have_one_that_can(width, height):
    (finding,) = check_result_size(width, height)
    assert finding.level is Level.ERROR
    check_size(finding.settings["width"], finding.settings["height"])
    assert f"{finding.settings['width']}x{finding.settings['height']}" in finding.fix


def test_sizes_larger_than_in_training():
    (finding,) = check_result_size(1920, 1088)
    assert finding.level is Level.WARNING
    assert check_result_size(**finding.settings)[0].level is Level.NOTE
    assert levels(check_result_size(1920, 1088, is_released=False)) == [Level.NOTE]


def test_sizes_that_were_trained_and_others():
    assert check_result_size(832, 480)[0].expected == "a size that was trained"
    assert "832x480 is nearest" in check_result_size(800, 480)[0].expected
    assert "is nearest" in check_result_size(960, 704, is_image=True)[0].expected  # for clips alone
    assert "is nearest" not in check_result_size(960, 704)[0].expected


@pytest.mark.parametrize("num_frames", [98, 0, -3, 100_000])
def test_lengths_that_cannot_be_made_have_one_that_can(num_frames):
    (finding,) = check_length(num_frames)
    assert finding.level is Level.ERROR
    check_frames(finding.settings["num_frames"])
    assert check_length(finding.settings["num_frames"])[0].level is not Level.ERROR


def test_lengths_beyond_training():
    (finding,) = check_length(201)
    assert (finding.level, finding.settings) == (Level.WARNING, {"num_frames": 121})
    assert levels(check_length(121)) == levels(check_length(1)) == [Level.NOTE]


@pytest.mark.parametrize(("fps", "level"), [(0, Level.ERROR), (1000, Level.ERROR), (30, Level.WARNING)])
def test_rates(fps, level):
    (finding,) = check_rate(fps)
    assert (finding.level, finding.settings) == (level, {"fps": 24.0})
    assert levels(check_rate(24.0)) == [Level.NOTE]
