"""How loom-tiny's MLLM is trained: two scores in one loss, and on from where it was stopped."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from loom_core.training.watch.metrics_file import drop_later

pytest.importorskip("transformers", reason="the script loads Qwen3-VL, which comes from transformers")


@pytest.fixture(scope="module")
def script(repo_root, load_script):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repo_root / "scripts"))  # it takes over what other scripts write
        return load_script("train_tiny_mllm")


@pytest.fixture
def train(script, monkeypatch):
    """Runs the command with two dialogues a step."""
    monkeypatch.setattr(script, "BATCH", 2)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["train", *map(str, arguments)])
        script.main()

    return run


def batch_of(script, slots):
    return script.AnswerBatch(prompts=None, labels=None, ends=torch.tensor([4, 5]), slots=torch.tensor(slots))


def test_slots_are_read_at_the_end_of_each_question_and_what_is_ignored_does_not_count(script):
    heads = script.SlotHeads(8, 2)
    count = 2 * len(script.SLOTS)
    states = [torch.randn(2, 9, 8) for _ in range(2)]
    one_slot = [[0] + [script.IGNORED] * (count - 1)] * 2
    loss, right = heads(states, batch_of(script, one_slot))
    assert 0 <= right <= 6
    read = {(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (1, 5)}  # three states up to each end
    for row, place in [(row, place) for row in range(2) for place in range(9)]:
        changed = [state.clone() for state in states]
        changed[0][row, place] += torch.randn(8)
        assert (heads(changed, batch_of(script, one_slot))[0].item() != loss.item()) == ((row, place) in read)


def test_parts_hold_each_dialogue_of_a_step_once_and_are_read_with_little_padding(script, tmp_path, monkeypatch):
    script.write(tmp_path)
    encoder = script.QwenEncoder.load(tmp_path, num_blocks=1, dtype=torch.float32, device=torch.device("cpu"))
    monkeypatch.setattr(script, "PARTS", 3)
    parts = script.Batches(encoder, 0, 1).parts(range(8))
    assert [len(part.ends) for part in parts] == [3, 3, 2]
    ends = [end for part in parts for end in part.ends.tolist()]
    assert ends == sorted(ends)
    assert len(set(ends)) > 3
    told = sorted(tuple(row) for part in parts for row in part.slots.tolist())
    assert told == sorted(tuple(script.make_dialogue(index).slots) for index in range(8))


def test_places_differ_and_stand_out_at_first(script):
    positions = torch.zeros(64, 64)
    script.stand_out(positions)
    assert len(positions.unique(dim=0)) == 64
    assert positions.std() > 0.5 * script.PLACE_SCALE
    near, far = (positions[0] - positions[index] for index in (1, 7))
    assert near.norm() < far.norm()


def test_two_runs_make_the_same_weights(train, tmp_path):
    for name in ("first", "second"):
        train("--output", tmp_path / name, "--steps", 1)
    made = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second")]
    assert made[0] == made[1]


class Killed(BaseException):
    """Where a kill ends a run."""


@pytest.fixture
def train_and_kill(train, script, monkeypatch):
    """Runs the command until some steps are made, the last of them saved; the schedule is that of all steps."""

    def run(*arguments, after):
        calls = itertools.count()
        add_gradients = script.add_gradients

        def add_gradients_or_die(*inputs):
            if next(calls) == after:
                raise Killed
            return add_gradients(*inputs)

        with monkeypatch.context() as patch:
            patch.setattr(script, "SAVE_EVERY", after)
            patch.setattr(script, "add_gradients", add_gradients_or_die)
            with pytest.raises(Killed):
                train(*arguments)

    return run


def test_a_killed_run_goes_on_as_if_it_had_not_been(train, train_and_kill, tmp_path):
    whole, killed = (["--output", tmp_path / name, "--steps", 2] for name in ("whole", "killed"))
    train(*whole, "--state", tmp_path / "whole.state")
    train_and_kill(*killed, "--state", tmp_path / "killed.state", after=1)
    assert torch.load(tmp_path / "killed.state")["step"] == 1
    train(*killed, "--state", tmp_path / "killed.state")
    left_alone, continued = (torch.load(tmp_path / f"{name}.state") for name in ("whole", "killed"))
    assert continued["step"] == left_alone["step"] == 2
    for part in ("model", "heads"):
        assert continued[part].keys() == left_alone[part].keys()
        unequal = [name for name, weight in continued[part].items() if not torch.equal(weight, left_alone[part][name])]
        assert unequal == []
    made = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert made[0] == made[1]


def test_each_step_of_a_killed_run_is_told_once_and_its_seconds_go_on(train, train_and_kill, tmp_path):
    state, metrics = tmp_path / "state", tmp_path / "metrics.jsonl"
    arguments = ["--output", tmp_path / "mllm", "--steps", 2, "--state", state, "--metrics", metrics]
    train_and_kill(*arguments, after=1)
    torch.save(torch.load(state) | {"seconds": 1000.0}, state)
    told = [json.dumps({"event": "step", "step": step, "loss": 1.0, "slots": 0.5, "seconds": 999.0}) for step in (1, 2)]
    metrics.write_text("\n".join([*told, '{"event": "step", "ste']), encoding="utf-8")  # step 2 is to be made again
    train(*arguments)
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["seconds"] == 999 < 1000 < lines[1]["seconds"] < 2000
    assert all(line["loss"] > 0 and 0 <= line["slots"] <= 1 for line in lines)
    assert torch.load(state)["seconds"] > 1000
    drop_later(metrics, 2)  # what the next start would do: it knows the lines as its own
    assert len(metrics.read_text(encoding="utf-8").splitlines()) == 2
