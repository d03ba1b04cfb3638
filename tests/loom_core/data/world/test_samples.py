"""Samples: the same everywhere for a seed, splits that share nothing, pictures that are the scenes'."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from loom_core.data.tasks import TRAINING_TASKS, training_task
from loom_core.data.world.chance import is_for_training, is_held_out_background, is_held_out_thing
from loom_core.data.world.edits import EDITS, OF_CLIPS_ONLY
from loom_core.data.world.render import render
from loom_core.data.world.samples import WorldSettings, is_in_split, make_request, make_sample
from loom_core.data.world.words import MOTIONS
from loom_core.errors import ConfigError

ALL_TASKS = WorldSettings(tasks=dict.fromkeys(TRAINING_TASKS, 1.0), frames=(5, 9))
COUNT = 150

DIGEST = """
import hashlib
from loom_core.data.tasks import TRAINING_TASKS
from loom_core.data.world.samples import WorldSettings, make_sample
settings = WorldSettings(tasks=dict.fromkeys(TRAINING_TASKS, 1.0), frames=(5, 9))
digest = hashlib.sha256()
for index in range(6):
    world = make_sample(index, settings)
    digest.update(world.sample.instruction.encode())
    for clip in (world.sample.target, world.sample.source, *world.sample.references):
        if clip is not None:
            digest.update(clip.frames.numpy().tobytes())
"""


def test_the_same_in_another_process(repo_root):
    """Whatever its hash seed."""
    scope: dict = {"hashlib": hashlib}
    exec(DIGEST, scope)
    environment = {"PYTHONPATH": str(repo_root), "PYTHONHASHSEED": "7"}
    program = [sys.executable, "-c", DIGEST + "print(digest.hexdigest())"]
    other = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == scope["digest"].hexdigest()


def test_seeds_and_numbers_make_other_samples():
    instructions = {
        make_request(index, WorldSettings(seed=seed, tasks={"text-to-video": 1.0}))[0].instruction
        for index in range(5)
        for seed in range(3)
    }
    assert len(instructions) == 15


def test_no_training_sample_has_a_held_out_combination():
    for index in range(COUNT):
        request, _ = make_request(index, ALL_TASKS)
        assert is_for_training(request.after)
        assert request.before is None or is_for_training(request.before)


def test_every_held_out_sample_has_one_where_it_matters():
    settings = WorldSettings(split="held-out", tasks=ALL_TASKS.tasks)
    for index in range(COUNT):
        request, _ = make_request(index, settings)
        assert is_in_split(request, "held-out")
        assert not is_in_split(request, "train")
        if request.kind in ("recolour", "reshape"):  # the answer itself was never seen
            assert is_held_out_thing(request.after.things[request.asks[0].thing])
        if request.kind == "background":
            assert is_held_out_background(request.after.background)


@pytest.mark.parametrize("name", TRAINING_TASKS)
def test_samples_have_what_their_task_needs(name):
    task = training_task(name)
    settings = WorldSettings(tasks={name: 1.0}, size=(96, 64), frames=(5,))
    for index in range(3):
        world = make_sample(index, settings)
        sample, request = world.sample, world.request
        assert sample.task is task
        assert sample.target.frames.shape == (1 if task.is_image else 5, 64, 96, 3)
        assert (sample.source is not None) == task.needs_source
        assert sample.source is None or sample.source.frames.shape == sample.target.frames.shape
        assert bool(sample.references) == task.needs_references
        assert bool(sample.instruction) != task.is_reconstruction
        assert {clip.num_frames for clip in sample.references} <= {1}
        picture = render(request.after, num_frames=sample.target.num_frames, width=96, height=64)
        assert torch.equal(sample.target.frames, picture.frames)


def test_stills_ask_for_nothing_that_moves():
    settings = WorldSettings(tasks={"edit-image": 1.0})
    requests = [make_request(index, settings)[0] for index in range(60)]
    assert {request.kind for request in requests} == set(EDITS) - OF_CLIPS_ONLY
    assert {thing.motion for request in requests for thing in request.after.things} == {"stays still"}


def test_clips_of_one_frame_ask_for_nothing_that_moves():
    settings = replace(ALL_TASKS, frames=(1, 9))
    for index in range(COUNT):
        request, num_frames = make_request(index, settings)
        if num_frames > 1:
            continue
        assert request.kind not in OF_CLIPS_ONLY
        assert {thing.motion for thing in request.after.things} == {"stays still"}
        assert request.after.camera == "stays still"
        assert not re.search("|".join([*MOTIONS, "camera"]), request.instruction)


def test_that_some_clips_have_one_frame_changes_no_other():
    """The length is drawn from the same numbers, whatever the lengths are."""
    mixed, longer = (replace(ALL_TASKS, frames=frames) for frames in ((1, 9), (5, 9)))
    pairs = [(make_request(index, mixed), make_request(index, longer)) for index in range(COUNT)]
    assert all(found == expected for found, expected in pairs if found[1] == 9)
    assert {found[1] for found, _ in pairs if not found[0].task.is_image} == {1, 9}


def test_shares_choose_tasks_and_kinds():
    settings = WorldSettings(
        tasks={"edit-video": 1.0, "text-to-image": 0.0}, edits={name: float(name == "keep") for name in EDITS}
    )
    kinds = {make_request(index, settings)[0].kind for index in range(20)}
    assert kinds == {"keep"}


def test_an_edit_leaves_alone_what_it_does_not_touch():
    """Where two things do not meet, recolouring one leaves the picture elsewhere as it was."""
    settings = WorldSettings(edits={name: float(name == "recolour") for name in EDITS}, frames=(5,))
    for index in range(4):
        world = make_sample(index, settings)
        request, sample = world.request, world.sample
        masks = render(request.after, num_frames=5).masks
        changed = (sample.source.frames != sample.target.frames).any(-1)
        assert bool(changed.any())
        assert not bool((changed & (masks[request.asks[0].thing] == 0)).any())


def test_busy_scenes_only_keep_and_change_the_style():
    settings = WorldSettings(busy=1.0, tasks={"edit-video": 1.0, "reconstruct-image": 1.0})
    requests = [make_request(index, settings)[0] for index in range(20)]
    assert {request.kind for request in requests} == {"keep", "style", "reconstruct"}
    assert all(request.is_busy for request in requests)


@pytest.mark.parametrize("change", [{"split": "test"}, {"tasks": {"paint": 1.0}}, {"edits": {"paint": 1.0}}])
def test_unknown_names_are_refused(change):
    with pytest.raises(ConfigError):
        WorldSettings(**change)


NO_EDITS = dict.fromkeys(EDITS, 0.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"frames": ()}, "without frames"),
        ({"frames": (4,)}, "4 frames"),
        ({"frames": (9, 0)}, "0 frames"),
        ({"size": (100, 100)}, "size 100x100"),
        ({"size": (0, 0)}, "size 0x0"),
        ({"tasks": {}}, "without tasks"),
        ({"tasks": {"edit-video": 0.0, "text-to-image": 0.0}}, "without tasks"),
        ({"tasks": {"edit-video": -1.0, "text-to-image": 2.0}}, "edit-video with share -1"),
        ({"edits": {"motion": -3.0}}, "motion with share -3"),
        ({"edits": {"motion": float("nan")}}, "motion with share nan"),
        ({"edits": NO_EDITS}, "edits of edit-video"),
        ({"edits": NO_EDITS | {"motion": 1.0}, "tasks": {"edit-image": 1.0}}, "edits of edit-image"),
        ({"edits": NO_EDITS | {"motion": 1.0}, "frames": (1, 9)}, "edits of edit-video"),
        ({"most_references": 0}, "most_references 0"),
        ({"most_references": 7}, "most_references 7"),
        ({"busy": -0.1}, "busy -0.1"),
        ({"busy": 1.5}, "busy 1.5"),
        ({"busy": float("nan")}, "busy nan"),
    ],
)
def test_settings_that_make_no_samples_are_refused_at_once(change, told):
    with pytest.raises(ConfigError, match=told):
        WorldSettings(**change)


@pytest.mark.parametrize(
    "change", [{"tasks": {"text-to-image": 1.0}}, {"tasks": {"reconstruct-video": 1.0}}, {"busy": 1.0}]
)
def test_shares_that_are_never_drawn_from_may_be_zero(change):
    make_request(0, WorldSettings(edits=NO_EDITS, **change))


def test_shares_that_allow_no_sample_are_told():
    settings = WorldSettings(split="held-out", busy=1.0)
    with pytest.raises(ConfigError, match="no held-out sample"):
        make_request(0, settings)
