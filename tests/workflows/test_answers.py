"""The answers that the workflows are held to, without a model: the right one is told from what was there before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loom_core.bundle import BUILT_IN
from loom_core.data.world.render import render
from loom_core.evaluation.judge import judge, through_codec
from loom_core.vae.loading import load_codec
from scripts.workflows.definitions import WORKFLOWS

PROMPTS = {
    workflow.name: step.values["prompt"]
    for workflow in WORKFLOWS
    for step in workflow.steps.values()
    if step.kind == "LoomVideoDeepstackEncode"
}


@pytest.fixture(scope="module")
def codec():
    return load_codec(BUILT_IN / "codec.safetensors")


def test_every_workflow_has_an_answer(answers):
    assert {name: request.instruction for name, request in answers.ANSWERS.items()} == {
        name: prompt for name, prompt in PROMPTS.items() if name != "long_video_edit"
    }


@pytest.mark.parametrize("name", [name for name in PROMPTS if name != "long_video_edit"])
def test_the_right_answer_is_told_from_the_source(answers, codec, name):
    request = answers.ANSWERS[name]

    def verdict(scene):
        frames = render(scene, num_frames=1 if request.task.is_image else 33).frames
        blurred = through_codec(frames[None], codec)[0].byte()
        return judge(request, blurred, codec=codec)

    assert verdict(request.after).is_right
    before = request.before or answers.ANSWERS["video_edit"].before
    assert not verdict(before).is_asked_right


def test_what_is_asserted_of_results_tells_right_from_wrong(answers, assert_obeyed, codec):
    """What tests of the built-in model assert holds of the right answer alone."""
    request = answers.ANSWERS["video_edit"]

    def made(scene):
        return through_codec(render(scene, num_frames=33).frames[None], codec)[0].byte()

    assert_obeyed(made(request.after), "video_edit")
    square, triangle = request.after.things
    wrong = {
        "source": request.before,
        "no triangle": replace(request.after, things=(square,)),
        "no square": replace(request.after, things=(triangle,)),
        "another colour": replace(request.after, things=(replace(square, rgb=(225, 40, 40)), triangle)),
        "another background": answers.ANSWERS["low_memory_edit"].after,
    }
    for name, scene in wrong.items():
        with pytest.raises(AssertionError):
            assert_obeyed(made(scene), "video_edit")
            pytest.fail(name)
