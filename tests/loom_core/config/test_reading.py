"""Config files: what they extend, what is overridden, what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from loom_core.config.reading import build, flatten, read_settings
from loom_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 1.0
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    steps: int
    name: str = "x"
    folder: Path | None = None
    betas: tuple[float, float] = (0.9, 0.95)
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    is_on: bool = False


def written(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_extends_another(tmp_path):
    written(tmp_path, "base.yaml", "steps: 5\ninner: {rate: 2e-5, kind: b}\nbetas: [0.5, 0.6]\n")
    path = written(tmp_path, "stage.yaml", "extends: base.yaml\nname: y\ninner: {kind: a}\n")
    config = build(Outer, read_settings(path))
    assert config == Outer(steps=5, name="y", inner=Inner(rate=2e-5, kind="a"), betas=(0.5, 0.6))


def test_a_mapping_can_stand_for_the_whole_one_below(tmp_path):
    """Else the names of the base could never be got rid of, such as weights of groups that a config does not have."""
    written(tmp_path, "base.yaml", "data: {weights: {a: 1, b: 2}, rate: 3}")
    written(tmp_path, "middle.yaml", "extends: base.yaml\ndata: {weights: !override {c: {d: 4}}}")
    path = written(tmp_path, "top.yaml", "extends: middle.yaml\ndata: {weights: {e: 5}}")
    assert read_settings(tmp_path / "middle.yaml") == {"data": {"weights": {"c": {"d": 4}}, "rate": 3}}
    assert read_settings(path) == {"data": {"weights": {"c": {"d": 4}, "e": 5}, "rate": 3}}
    empty = written(tmp_path, "empty.yaml", "extends: base.yaml\ndata: {weights: !override {}}")
    assert read_settings(empty, overrides=["data.weights.f=6"])["data"]["weights"] == {"f": 6}


def test_overrides_come_last_and_are_yaml(tmp_path):
    path = written(tmp_path, "a.yaml", "steps: 5\nmany: [{rate: 1}, {rate: 2}]\n")
    overrides = ["steps=7", "inner.kind=b", "folder=runs/x", "many.1.rate=3", "is_on=true"]
    config = build(Outer, read_settings(path, overrides=overrides))
    assert (config.steps, config.inner.kind, config.folder, config.is_on) == (7, "b", Path("runs/x"), True)
    assert [inner.rate for inner in config.many] == [1, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 1\nstepz: 2", "did you mean 'steps'"),
        ("steps: 1\ninner: {kimd: a}", "unknown setting 'inner.kimd'.*did you mean 'kind'"),
        ("name: x", "no steps"),
        ("steps: soon", "steps: 'soon'; expected a whole number"),
        ("steps: true", "steps: True"),
        ("steps: 1\ninner: {kind: c}", "one of 'a', 'b'"),
        ("steps: 1\nbetas: [1]", "2 values"),
        ("steps: 1\nmany: 3", "a list"),
        ("steps: 1\nis_on: 1", "true or false"),
        ("steps: 1\ninner: 4", "mapping"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        build(Outer, read_settings(written(tmp_path, "a.yaml", text)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "a mapping"),
        ("a: [", "no YAML"),
        ("a: !override [1]", "no mapping"),
        ("a: !other {}", "no YAML"),
        ("extends: a.yaml", "extends itself"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_settings(written(tmp_path, "a.yaml", text))


@pytest.mark.parametrize("override", ["steps", "=3", "steps.x=1", "many.4.rate=1", "name=["])
def test_overrides_that_are_none(tmp_path, override):
    path = written(tmp_path, "a.yaml", "steps: 5\nmany: []\nname: x")
    with pytest.raises(ConfigError, match="--set"):
        read_settings(path, overrides=[override])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        read_settings(tmp_path / "none.yaml")


def test_flattened_settings_have_dotted_names():
    config = Outer(steps=1, folder=Path("a"), many=(Inner(), Inner(kind="b")))
    flat = flatten(config)
    assert flat["folder"] == "a"
    assert flat["betas"] == [0.9, 0.95]
    assert flat["many.1.kind"] == "b"
    assert flat["inner.rate"] == 1.0
