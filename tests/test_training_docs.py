"""The pages about training and RL say what the code says: settings and defaults, tasks and prefixes, rewards."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest
import yaml

from loom_core.cli.train import build_parser
from loom_core.config.data import DataConfig, DataSetConfig
from loom_core.config.rl import (
    REWARD_KINDS,
    GRPOSettings,
    NFTSettings,
    RewardSettings,
    RLSettings,
    RolloutSettings,
    StopSettings,
)
from loom_core.config.training import (
    CheckpointSettings,
    LoraSettings,
    ModelSettings,
    OptimiserSettings,
    TrainingConfig,
    ValidationSettings,
)
from loom_core.data.single_json import NAMES
from loom_core.data.tasks import TRAINING_TASKS
from loom_core.data.world.samples import WorldSettings
from loom_core.data.world.source import world_source

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "training.md").read_text(encoding="utf-8")
RL_PAGE = (DOCS / "rl.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| .+ \|$", re.MULTILINE)
SECTIONS = {
    "The run": TrainingConfig,
    "model": ModelSettings,
    "lora": LoraSettings,
    "optimiser": OptimiserSettings,
    "checkpoint": CheckpointSettings,
    "validation": ValidationSettings,
    "data": DataConfig,
    "data.sets": DataSetConfig,
}


RL_SECTIONS = {
    "rl": RLSettings,
    "rl.rewards": RewardSettings,
    "rl.rollout": RolloutSettings,
    "rl.nft": NFTSettings,
    "rl.grpo": GRPOSettings,
    "rl.stops": StopSettings,
}


def section(title, page=PAGE):
    """What stands between a heading and the next."""
    _, _, rest = page.partition(f"\n### {title}\n")
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def default_text(entry):
    """A field's default as a config file has it."""
    default = entry.default if entry.default_factory is MISSING else entry.default_factory()
    if default is MISSING:
        return "required"
    if is_dataclass(default):
        return "see below"
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return str(list(default))
    return str(default) if default != "" else '""'


@pytest.mark.parametrize("title", SECTIONS)
def test_settings_and_defaults_are_those_of_the_code(title):
    told = dict(ROW.findall(section(title)))
    assert told == {entry.name: default_text(entry) for entry in fields(SECTIONS[title])}


@pytest.mark.parametrize("title", RL_SECTIONS)
def test_settings_of_rl_and_defaults_are_those_of_the_code(title):
    told = dict(ROW.findall(section(title, RL_PAGE)))
    assert told == {entry.name: default_text(entry) for entry in fields(RL_SECTIONS[title])}


def test_options_of_the_world_are_those_of_the_code():
    told = section("The procedural world").partition("the fields of `WorldSettings`")[2].partition(". ")[0]
    names = re.sub(r"\([^)]*\)", "", told)
    assert re.findall(r"`(\w+)`", names) == [entry.name for entry in fields(WorldSettings)]


def test_the_example_of_a_world_can_be_read():
    example = re.search(r"options: (\{.*\})\}\n", section("The procedural world"))[1]
    source = world_source(yaml.safe_load(example))
    assert (len(source), source.settings.frames) == (10_000, (1, 9))


def test_every_reward_is_told():
    table = RL_PAGE.partition("| kind | what it is |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([\w-]+)`", table)) - {"path"} == set(REWARD_KINDS)


def test_every_task_is_there_with_its_prefix():
    for task in TRAINING_TASKS.values():
        assert f"`{task.name}`" in section("Tasks")
        assert f"`{task.prefix}`" in section("Tasks")


def test_names_of_the_official_layout_are_those_of_the_code():
    rows = {}
    for line in section("The official layout").splitlines():
        if line.startswith("| `"):
            tasks, names = (set(re.findall(r"`([\w-]+)`", cell)) for cell in line.strip("|").split("|"))
            rows |= dict.fromkeys(tasks, names)
    assert rows.keys() == NAMES.keys()
    for task, names in NAMES.items():
        needed = {names.target, names.instruction, names.source, names.references} - {""}
        told = rows[task] | (rows["edit-video"] if "edit-video" in rows[task] else set())
        assert needed <= told


def test_settings_that_the_text_names_exist():
    """Dotted names in the text lead to a field."""
    roots = {"data": DataConfig, "model": ModelSettings, "optimiser": OptimiserSettings, "lora": LoraSettings}
    named = re.findall(r"`(data|model|optimiser|lora)\.(?!safetensors)(\w+)", PAGE)
    assert len(named) > 5
    for root, name in named:
        assert name in {entry.name for entry in fields(roots[root])}, f"{root}.{name}"


def test_options_are_those_of_the_command():
    known = {name for action in build_parser()._actions for name in action.option_strings} - {"-h", "--help"}
    table = PAGE.partition("| option | does |")[2].partition("\n\n")[0]
    told = set(re.findall(r"--[a-z][a-z-]*", table))
    assert told == known


def test_configs_that_commands_name_exist():
    root = Path(__file__).resolve().parent.parent
    named = set(re.findall(r"configs/[\w/.-]+\.yaml", PAGE + RL_PAGE))
    assert len(named) >= 3
    assert [name for name in named if not (root / name).is_file()] == []


def test_every_fault_of_the_official_trainer_has_a_test():
    """The rows are numbered, and tests of that number exist."""
    told = re.findall(
        r"^\| (\d+) \| .+ \| .+ \|$", PAGE.partition("## What the official trainer does")[2], re.MULTILINE
    )
    assert told == [str(number) for number in range(1, 11)]
    tests = Path(__file__).resolve().parent / "loom_core"
    found = {
        number
        for path in tests.rglob("test_*.py")
        for number in re.findall(r"^def test_fault_(\d+)_", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == set(told)
