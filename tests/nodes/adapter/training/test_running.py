"""A run inside the host: in inference mode, cancelled, out of memory, out of room; on the built-in model."""

from __future__ import annotations

import errno

import pytest
import torch


@pytest.fixture
def train(stand_in, progress):
    """Trains as the host would have it: in inference mode."""

    def run(config):
        with torch.inference_mode():
            return stand_in("nodes.adapter.training.running").train(config, progress=progress)

    return run


@pytest.fixture
def newest(stand_in):
    return stand_in("loom_core.training.checkpoint").newest_checkpoint


def test_a_run_gives_a_lora_that_says_what_it_is_of(train, config_of, host, progress):
    config = config_of()
    done = train(config)
    assert host.unloaded == 1
    assert progress.steps[-1] == 3
    assert done.lora["diffusion_model.blocks.0.self_attn.q.lora_A.weight"].shape[0] == 4
    assert done.lora["diffusion_model.blocks.0.self_attn.q.lora_B.weight"].abs().max() > 0
    assert done.lora.metadata["format"] == "loomvideo-lora"
    assert done.picture.shape[0] == 1
    assert done.about.startswith("3 steps, ")
    again = train(config)  # it is finished
    assert all(torch.equal(again.lora[name], tensor) for name, tensor in done.lora.items())


@pytest.mark.parametrize("by_bar", [False, True])
def test_cancel_saves_and_the_same_request_goes_on(train, config_of, host, progress, newest, by_bar):
    """Whether the trainer sees the wish first, or the bar, which takes it back by raising."""
    config = config_of()
    whole = train(config_of(name="whole"))

    def cancel(done):
        if done == 1:
            host.is_cancelled = True
            if not by_bar:
                progress.host = type(host)()  # a bar that does not look

    progress.on_step = cancel
    with pytest.raises(host.InterruptProcessingException):
        train(config)
    assert not host.is_cancelled
    assert newest(config.run).name == "step-000001"
    progress.on_step, progress.host = lambda done: None, host
    done = train(config)
    assert "training from step 1 to 3" in progress.texts
    assert all(torch.equal(whole.lora[name], tensor) for name, tensor in done.lora.items())


def test_memory_that_runs_out_once_costs_no_step(train, config_of, stand_in, monkeypatch, host):
    fail_at(stand_in, monkeypatch, {2: torch.OutOfMemoryError("CUDA out of memory (as if)")})
    done = train(config_of(save_every=1))
    assert done.about.startswith("3 steps, ")
    assert host.unloaded == 2


def test_memory_that_runs_out_again_is_one_sentence(train, config_of, stand_in, monkeypatch, newest):
    fail_at(stand_in, monkeypatch, {number: torch.OutOfMemoryError("as if") for number in (2, 3, 4)})
    config = config_of(save_every=1)
    with pytest.raises(stand_in("loom_core.errors").ResourceError, match=r"no memory left while training run.*16 GB"):
        train(config)
    assert newest(config.run).name == "step-000001"


def fail_at(stand_in, monkeypatch, errors):
    """The trainer's steps, counted from 1 over all runs, of which some fail."""
    trainer = stand_in("loom_core.training.trainer").Trainer
    whole, calls = trainer.step, [0]

    def step(self):
        calls[0] += 1
        if calls[0] in errors:
            raise errors[calls[0]]
        return whole(self)

    monkeypatch.setattr(trainer, "step", step)


def test_a_full_disk_keeps_the_last_checkpoint(train, config_of, stand_in, monkeypatch, newest):
    checkpoints = stand_in("loom_core.training.checkpoint")
    write, calls = checkpoints._write, [0]

    def full(*args, **kwargs):
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*args, **kwargs)

    monkeypatch.setattr(checkpoints, "_write", full)
    config = config_of(save_every=1)
    with pytest.raises(stand_in("loom_core.errors").ResourceError, match="no space left for the checkpoint"):
        train(config)
    assert newest(config.run).name == "step-000001"


def test_other_settings_are_named_in_the_words_of_a_node(train, config_of, stand_in):
    train(config_of(steps=1))
    with pytest.raises(stand_in("loom_core.errors").ConfigError, match=r"lora.rank was 4 and is 2.*give another name"):
        train(config_of(steps=1, rank=2))


def test_a_folder_that_is_gone_since_it_was_prepared(train, config_of, stand_in, stills):
    config = config_of()
    stills.rename(stills.with_name("elsewhere"))
    with pytest.raises(stand_in("loom_core.errors").MediaError, match="no folder"):
        train(config)
