"""All of a request is looked at, not only up to its first error."""

from pathlib import Path

from loom_core.config.presets import get_preset
from loom_core.doctor.asked import request_findings
from loom_core.doctor.finding import Level
from loom_core.request import Request, plan_request


def look(**values):
    return request_findings(Request(**{"prompt": "x", **values}), get_preset("tiny"), is_released=False)


def of(findings, level):
    return [finding.sentence for finding in findings if finding.level is level]


def test_every_fault_at_once(still, tmp_path):
    findings, plan = look(
        prompt="like @Image 2", references=(still,), num_frames=98, width=100, height=64, fps=0.0, seed=-1,
        source=tmp_path / "gone.mp4",
    )  # fmt: skip
    said = " ".join(of(findings, Level.ERROR))
    assert plan is None
    for words in ("@Image 2 in the prompt", "98 frames", "100x64", "a rate of 0", "gone.mp4"):
        assert said.count(words) == 1, words


def test_what_only_planning_shows_is_said_once():
    findings, plan = look(task="edit-video")
    (error,) = of(findings, Level.ERROR)
    assert plan is None and "without a source" in error
    findings, _ = look(num_frames=98)
    assert len(of(findings, Level.ERROR)) == 1


def test_a_sound_request_is_planned(shapes, still):
    findings, plan = look(prompt="Use @Image 1.", source=shapes, references=(still,))
    assert of(findings, Level.ERROR) == of(findings, Level.WARNING) == []
    assert plan == plan_request(Request(prompt="Use @Image 1.", source=shapes, references=(still,)), get_preset("tiny"))
    assert {"frames", "fps", "size", "source", "audio", "references"} == {finding.check for finding in findings}


def test_a_source_is_told_of_though_the_rest_is_wrong(harbour):
    findings, _ = look(source=harbour, num_frames=98)
    assert any("harbour.mp4, 320x192" in sentence for sentence in of(findings, Level.NOTE))


def test_no_prompt():
    findings, _ = request_findings(Request(prompt=""), get_preset("tiny"), has_prompt=False)
    assert of(findings, Level.ERROR)[0].startswith("found no prompt")


def test_media_that_cannot_be_read():
    findings, _ = look(references=(Path("gone.png"),))
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    assert [finding.exit_code for finding in errors] == [4]
