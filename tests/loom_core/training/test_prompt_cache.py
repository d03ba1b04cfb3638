"""States of prompts on disk: asked once, told apart by words, pixels and MLLM, and every one that a run needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.errors import CancelledError
from loom_core.training.objective import ObjectiveSettings, PackObjective
from loom_core.training.planning import plan_run
from loom_core.training.prompt_cache import PromptCache, prompts_of
from loom_core.training.run import open_trainer
from loom_core.types import Clip

PICTURE = Clip(torch.zeros(1, 32, 32, 3, dtype=torch.uint8), 0.0, is_image=True)


class Reader:
    """Counts what it is asked; a prompt's states are numbers of its own."""

    def __init__(self):
        self.asked = []
        self.loaded = 0

    def load(self):
        self.loaded += 1
        return self

    def __call__(self, contents):
        self.asked += contents
        return [tuple(torch.full((3, 4), len(self.asked) + block / 8) for block in range(2)) for _ in contents]


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def make(tmp_path, reader):
    return lambda identity="mllm": PromptCache(tmp_path / "prompts", identity=identity, load=reader.load)


def same(first, second):
    return len(first) == len(second) == 2 and all(map(torch.equal, first, second))


def test_a_prompt_is_asked_once_and_read_from_disk_then(make, reader):
    cache = make()
    (first,) = cache([("a cat",)])
    assert same(first, cache([("a cat",)])[0]) and same(first, make()([("a cat",)])[0])
    assert (reader.asked, reader.loaded) == ([("a cat",)], 1)
    assert cache.fill([("a cat",), ("a dog",), ("a dog",)]) == 1
    cache.release()
    cache([("a bird",)])
    assert reader.loaded == 2


def test_filling_tells_and_can_be_stopped_and_taken_up(make, reader):
    told = []
    with pytest.raises(CancelledError, match="those so far are kept"):
        make().fill([("a",), ("b",), ("c",)], tell=told.append, is_stopped=lambda: len(told) == 2)
    assert told == [1, 2]
    assert make().fill([("a",), ("b",), ("c",)]) == 1


def test_what_differs_in_words_pixels_order_or_mllm_is_another_prompt(make, reader):
    brighter = replace(PICTURE, frames=PICTURE.frames + 1)
    contents = [(), ("a",), ("a", "b"), ("ab",), (PICTURE,), (brighter,), (replace(PICTURE, fps=2.0),), ("a", PICTURE),
                (PICTURE, "a"), (replace(PICTURE, is_image=False),)]  # fmt: skip
    assert make().fill(contents) == len(contents)
    assert make("another mllm").fill(contents) == len(contents)


def test_a_damaged_file_is_made_anew(make, reader, tmp_path):
    cache = make()
    cache([("a cat",)])
    (path,) = (tmp_path / "prompts").rglob("*.safetensors")
    path.write_bytes(b"short")
    (states,) = cache([("a cat",)])
    assert len(reader.asked) == 2 and same(states, make()([("a cat",)])[0])


def test_they_are_those_that_the_objective_asks_for(make_packs, sample_of):
    """Drawn as in training, for the packs to come; of held-out samples what losses and pictures need."""
    asked = []

    def read(contents):
        asked.extend(contents)
        return [(torch.zeros(1, 1),)] * len(contents)

    settings = ObjectiveSettings(shift_scale=0.5, dropout_all=0.3, dropout_text=0.3)
    objective, packs = PackObjective(None, read, settings), make_packs()
    for _ in range(4):
        objective.prepare(next(packs).samples)
    assert list(prompts_of(make_packs(), settings, count=4)) == asked
    assert () in asked and len(set(asked)) > 2
    held_out = [sample_of(1, seed=1), sample_of(2, seed=2)]
    extra = list(prompts_of(make_packs(), settings, count=0, held_out=held_out, pictured=held_out[:1]))
    assert len(extra) == 4 and extra[0][0].endswith("Do number 1.") and extra[3] == ()


def test_a_run_with_them_is_the_run_without_and_loads_no_mllm_again(world, recorder, tmp_path, monkeypatch):
    """One at a time or in a batch, an MLLM in float32 says the same to within rounding."""
    folders = {"cache": tmp_path / "latents", "clip_variants": 1}
    world = replace(world, data=replace(world.data, **folders), validation=replace(world.validation, pictures=1))
    kept = replace(world, prompt_cache=tmp_path / "prompts", mllm_device="cpu")
    losses = []
    for name, config in (("without", world), ("with", kept), ("again", kept)):
        if name == "again":
            monkeypatch.setattr("loom_core.training.run._load_mllm", None)
        recorder.steps.clear()
        plan = plan_run(replace(config, run=tmp_path / name))
        open_trainer(plan, device=torch.device("cpu"), observer=recorder).run()
        losses.append([metrics.loss for metrics in recorder.steps])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] == losses[1]
    assert recorder.notes[-1] == "0 prompts asked; the MLLM is let go of"
