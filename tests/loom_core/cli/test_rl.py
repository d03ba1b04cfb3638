"""The RL command: the train command with another config, another plan and another trainer."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from loom_core.cli.exits import run
from loom_core.cli.rl import RL, describe, main
from loom_core.cli.train import build_parser
from loom_core.config.rl import read_rl_config
from loom_core.training.checkpoint import newest_checkpoint, read_state

OF_RL = """
steps: 1
ema: 0.5
rl:
  rewards: [{kind: world-asks}, {kind: sharpness, weight: 0.5}]
  rollout: {group_size: 2, num_inference_steps: 2}
"""


@pytest.fixture
def config_file(write_config):
    return write_config(OF_RL)


def test_a_round_by_command(config_file, tmp_path, capsys):
    assert run(main, ["--config", str(config_file), "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "1 of 1 steps" in captured.out
    assert "algorithm: nft, 2 answers to a prompt" in captured.err
    assert "reward " in captured.err
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["measures"]["reward"] >= 0 for row in rows if row["event"] == "step"] == [True]


def test_the_plan_is_shown_without_training(config_file, tmp_path, capsys):
    assert run(main, ["--config", str(config_file), "--dry-run", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    for part in (
        "micro in",
        "rewards     1 x world-asks, 0.5 x sharpness",
        "2 to each prompt",
        "no guidance",
        "reference",
    ):
        assert part in out
    assert not (tmp_path / "run").exists()


def test_guidance_is_shown(config_file):
    config = read_rl_config(config_file, overrides=["rl.rollout.guidance_scale=1.3"])
    told = "".join(describe(config))
    assert "guidance 1.3" in told
    assert "reference" not in "".join(describe(read_rl_config(config_file, overrides=["rl.kl=0"])))


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("rl.rewards=[{kind: clip}]", 3, "the reward clip without weights"),
        ("rl.rewards=[{kind: beauty}]", 2, "beauty"),
        ("rl.rollout.group_size=1", 2, "group_size 1"),
        ("rl.beta=1", 2, "unknown setting 'rl.beta'"),
    ],
)
def test_a_config_that_makes_no_sense(config_file, capsys, override, code, message):
    assert run(main, ["--config", str(config_file), "--set", override]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("[0.5] * len(outcomes)", 7, "the reward mine:reward, which gave list for 4 answers; expected a tensor [4]"),
        ("torch.zeros(len(outcomes), 1)", 7, "the reward mine:reward, which gave [4, 1] for 4 answers"),
        (
            "torch.full((len(outcomes),), torch.nan)",
            7,
            "the reward mine:reward, which gave nan for an answer to",
        ),
        ("1 / 0", 1, "ZeroDivisionError"),
    ],
)
def test_a_reward_of_ones_own_that_makes_no_sense_ends_the_run_at_the_last_whole_round(
    config_file, tmp_path, capsys, monkeypatch, body, code, message
):
    """It is well for a round, so that there is something to keep."""
    (tmp_path / "mine.py").write_text(
        "import torch\n\nCALLS = []\n\n\ndef reward(outcomes):\n    CALLS.append(1)\n"
        f"    return torch.arange(float(len(outcomes))) if len(CALLS) == 1 else {body}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    arguments = ["--config", str(config_file), "--device", "cpu", "--steps", "3", "--set", "checkpoint.every=100"]
    assert run(main, [*arguments, "--set", "rl.rewards=[{kind: 'mine:reward'}]"]) == code
    assert message in capsys.readouterr().err
    assert read_state(newest_checkpoint(tmp_path / "run")).step == 1


def test_options_are_those_of_training():
    parsers = build_parser(), build_parser(RL)
    training, rl = ([action.option_strings for action in parser._actions] for parser in parsers)
    assert training == rl
    assert parsers[1].prog == "python -m loom_core.cli.rl"
    for parser, module in zip(parsers, ("train", "rl"), strict=True):
        assert f"torchrun ... -m -- loom_core.cli.{module} with" in parser.description


def test_memory_names_the_reference_that_stays_beside_the_model(repo_root, capsys):
    assert run(main, ["--config", str(repo_root / "configs" / "training" / "rl.yaml"), "--memory"]) == 0
    out = capsys.readouterr().out
    assert "\n  64 " in out
    assert "reference   20.27 GB in the CPU's memory, spread over all ranks, 10.1" in out


def test_torchrun_shares_a_round_and_a_single_process_goes_on(config_file, processes, tmp_path, capsys):
    arguments = ["--config", str(config_file), "--device", "cpu"]
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
        "--master-port", str(processes.free_port()), "-m", "--", "loom_core.cli.rl",
    ]  # fmt: skip
    done = subprocess.run(
        [*launcher, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{tmp_path / 'run'}:", "1", "of", "1", "steps"]
    state = read_state(newest_checkpoint(tmp_path / "run"))
    assert (sorted(state.data), state.samples) == (["0", "1"], 8)
    assert run(main, [*arguments, "--steps", "2"]) == 0
    assert "2 of 2 steps" in capsys.readouterr().out
    assert read_state(newest_checkpoint(tmp_path / "run")).samples == 12
