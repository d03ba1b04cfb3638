import pytest

from loom_core.errors import ConfigError
from loom_core.mllm.prompts import (
    TASKS,
    Part,
    ReferenceSegment,
    SourceSegment,
    TextSegment,
    build_segments,
    check_request,
    infer_task,
    mentioned_references,
    named_references,
    negative_segments,
    parse_task,
)
from loom_core.types import Task


def test_every_task_has_a_prompt():
    assert set(TASKS) == set(Task)
    assert len({prompt.prefix for prompt in TASKS.values()}) == 7
    assert all(prompt.prefix.endswith(": ") for prompt in TASKS.values())


@pytest.mark.parametrize("task", Task)
def test_orders_hold_each_needed_part_once(task):
    prompt = TASKS[task]
    for order in (prompt.inference_order, prompt.training_order):
        assert len(set(order)) == len(order)
        assert {Part.PREFIX, Part.INSTRUCTION} <= set(order)
        assert Part.SOURCE in order or not prompt.needs_source
        assert Part.REFERENCES in order or not prompt.needs_references


@pytest.mark.parametrize(
    ("source", "is_image", "references", "frames", "task"),
    [
        (False, False, 0, 81, Task.TEXT_TO_VIDEO),
        (False, False, 0, 1, Task.TEXT_TO_IMAGE),
        (True, False, 0, 81, Task.EDIT_VIDEO),
        (True, True, 0, 1, Task.EDIT_IMAGE),
        (True, False, 2, 81, Task.REFERENCE_EDIT),
        (True, True, 1, 1, Task.REFERENCE_EDIT),
        (False, False, 1, 81, Task.REFERENCE_TO_VIDEO),
        (False, False, 3, 1, Task.REFERENCE_TO_IMAGE),
    ],
)
def test_infer_task(source, is_image, references, frames, task):
    assert infer_task(has_source=source, source_is_image=is_image, num_references=references, num_frames=frames) is task


@pytest.mark.parametrize("task", Task)
def test_parse_own_names(task):
    assert parse_task(task.value) is task
    assert parse_task(task.value.upper().replace("-", "_")) is task


def test_parse_official_names():
    assert parse_task("t2v") is Task.TEXT_TO_VIDEO
    assert parse_task("ref_edit") is Task.REFERENCE_EDIT
    assert parse_task("mi2v") is Task.REFERENCE_TO_VIDEO
    assert parse_task("edit") is Task.EDIT_VIDEO
    assert parse_task("edit", source_is_image=True) is Task.EDIT_IMAGE


def test_parse_unknown_name_offers_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'edit-video'"):
        parse_task("edit-vidoe")
    with pytest.raises(ConfigError, match="expected one of text-to-video"):
        parse_task("zzz")


def test_mentions_in_every_spelling():
    assert mentioned_references("put @Image 2 on @image1, then @IMAGE  2 and @Image 10") == (2, 1, 10)
    assert mentioned_references("mail me@image 3, see @images") == ()


def test_several_mentions_are_named_in_rows():
    assert named_references([]) == ""
    assert named_references((2, 3)) == "@Image 2, @Image 3"
    assert named_references((1, 2, 3, 5, 7, 8, 9, 10)) == "@Image 1–3, @Image 5, @Image 7–10"


def test_unmentioned_references_are_returned():
    assert check_request(Task.REFERENCE_EDIT, "use @Image 2", num_references=3, has_source=True) == (1, 3)
    assert check_request(Task.TEXT_TO_VIDEO, "a cat", num_references=0, has_source=False) == ()


def test_mention_of_a_missing_reference():
    with pytest.raises(ConfigError) as caught:
        check_request(Task.REFERENCE_EDIT, "the hat of @Image 3", num_references=2, has_source=True)
    assert caught.value.found == "@Image 3 in the prompt with 2 references"
    assert caught.value.expected == "@Image 1 to @Image 2"
    assert "give 1 more" in caught.value.fix


def test_mention_of_a_missing_reference_beside_the_only_one():
    with pytest.raises(ConfigError) as caught:
        check_request(Task.REFERENCE_EDIT, "the hat of @Image 99", num_references=1, has_source=True)
    assert caught.value.expected == "@Image 1"


@pytest.mark.parametrize(("number", "fix"), [(3, "give 2 more, or change the mention"), (4, "change the mention")])
def test_more_references_are_asked_for_only_where_few_are_missing(number, fix):
    with pytest.raises(ConfigError) as caught:
        check_request(Task.REFERENCE_EDIT, f"the hat of @Image {number}", num_references=1, has_source=True)
    assert caught.value.fix == fix


def test_mention_without_any_reference_and_mention_zero():
    with pytest.raises(ConfigError, match="with no references; expected no @Image mention"):
        check_request(Task.EDIT_VIDEO, "@Image1", num_references=0, has_source=True)
    with pytest.raises(ConfigError, match="counted from @Image 1"):
        check_request(Task.REFERENCE_EDIT, "@Image 0", num_references=1, has_source=True)


@pytest.mark.parametrize(
    ("task", "references", "source", "is_image", "message"),
    [
        (Task.EDIT_VIDEO, 0, False, False, "without a source"),
        (Task.TEXT_TO_VIDEO, 0, True, False, "a source with task text-to-video"),
        (Task.REFERENCE_TO_VIDEO, 0, False, False, "without references"),
        (Task.EDIT_VIDEO, 2, True, False, "2 references with task edit-video.*use reference-edit"),
        (Task.TEXT_TO_IMAGE, 1, False, False, "1 reference with task text-to-image.*use reference-to-image"),
        (Task.TEXT_TO_VIDEO, 1, False, False, "use reference-to-video"),
        (Task.EDIT_IMAGE, 0, True, False, "use edit-video"),
        (Task.EDIT_VIDEO, 0, True, True, "use edit-image"),
    ],
)
def test_inputs_that_do_not_fit_the_task(task, references, source, is_image, message):
    with pytest.raises(ConfigError, match=message):
        check_request(task, "x", num_references=references, has_source=source, source_is_image=is_image)


def test_official_layout():
    assert build_segments(Task.REFERENCE_EDIT, "use @Image 2", num_references=2, has_source=True) == (
        ReferenceSegment(0),
        ReferenceSegment(1),
        SourceSegment(),
        TextSegment("Edit this video with reference images: use @Image 2"),
    )


def test_inline_layout_puts_references_before_their_first_mention():
    prompt = "hat of @Image 2, then @image3, then @Image 2 again"
    assert build_segments(Task.REFERENCE_EDIT, prompt, num_references=3, has_source=True, layout="inline") == (
        ReferenceSegment(0),
        SourceSegment(),
        TextSegment("Edit this video with reference images: hat of "),
        ReferenceSegment(1),
        TextSegment("@Image 2, then "),
        ReferenceSegment(2),
        TextSegment("@image3, then @Image 2 again"),
    )


def test_inline_layout_without_mentions_is_the_official_one():
    request = {"num_references": 2, "has_source": True}
    assert build_segments(Task.REFERENCE_EDIT, "swap", layout="inline", **request) == build_segments(
        Task.REFERENCE_EDIT, "swap", **request
    )


def test_training_order():
    order = TASKS[Task.REFERENCE_EDIT].training_order
    assert build_segments(Task.REFERENCE_EDIT, "swap", num_references=1, has_source=True, order=order) == (
        TextSegment("Edit this video with reference images: "),
        SourceSegment(),
        ReferenceSegment(0),
        TextSegment("swap"),
    )


def test_unknown_layout():
    with pytest.raises(ConfigError, match="layout 'sideways'"):
        build_segments(Task.TEXT_TO_VIDEO, "x", layout="sideways")


@pytest.mark.parametrize("name", ["t2v_video", "t2v_image", "edit_image", "edit_video_short", "ref_edit", "mi2v"])
def test_golden_messages(golden_strings, name):
    """Order and text of the official helpers."""
    case = golden_strings["tasks"][name]
    content = case["messages"][0]["content"]
    kinds = [item["type"] for item in content]
    has_source = "edit" in name
    source_is_image = name == "edit_image"
    references = kinds.count("image") - source_is_image
    frames = case["resolved"]["num_frames"]
    task = infer_task(
        has_source=has_source, source_is_image=source_is_image, num_references=references, num_frames=frames
    )
    segments = build_segments(task, case["user_prompt"], num_references=references, has_source=has_source)
    source_kind = "image" if source_is_image else "video"
    names = {TextSegment: "text", ReferenceSegment: "image", SourceSegment: source_kind}
    assert [names[type(segment)] for segment in segments] == kinds
    assert segments[-1] == TextSegment(content[-1]["text"])


def test_golden_negative(golden_strings):
    for text, case in golden_strings["negative_prompt"].items():
        if text != "<None>":
            assert negative_segments(text) == (TextSegment(case["messages"][0]["content"][0]["text"]),)
