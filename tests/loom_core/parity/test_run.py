"""Every bundled reference case passes, and a wrong implementation does not."""

from __future__ import annotations

import shutil

import pytest
from safetensors.torch import load_file, save_file

from loom_core.cli.parity import main
from loom_core.errors import ConfigError
from loom_core.parity.cases import find_cases
from loom_core.parity.run import KINDS, run_case, run_folder


def bundled(root):
    return [case for kind in KINDS for case in find_cases(root, kind)]


def test_every_bundled_case(golden_dir):
    pytest.importorskip("diffusers", reason="the Wan VAE needs diffusers")
    reports = list(run_folder(golden_dir))
    assert len(reports) >= 21
    assert {"training/packed3", "training/packed2_scalar_t"} <= {report.name for report in reports}
    assert [report.line() for report in reports if not report.ok] == []


def test_mistakes_are_found(golden_dir, monkeypatch):
    """Three of the mistakes that the data's own table lists must each fail the forward case."""
    from loom_core.models import dit, references, source

    case = next(case for case in find_cases(golden_dir, "dit_forward") if case.stem == "ref1")
    assert run_case(case).ok
    mistakes = [
        (references, "reference_temporal_index", lambda position: 10 * (position + 1)),
        (dit, "add_source", lambda tokens, source, timestep: tokens),
        (source, "NUM_TRAIN_TIMESTEPS", 999),
    ]
    for module, name, wrong in mistakes:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, wrong)
            assert not run_case(case).ok, name


def test_a_changed_number_fails_and_is_named(golden_dir, tmp_path, capsys):
    shutil.copytree(golden_dir / "models", tmp_path / "models")
    (tmp_path / "dit_forward").mkdir()
    for suffix in (".json", ".safetensors"):
        shutil.copy(golden_dir / "dit_forward" / f"ref1{suffix}", tmp_path / "dit_forward")
    file = tmp_path / "dit_forward" / "ref1.safetensors"
    tensors = load_file(file)
    tensors["block.1"][0, 3, 4] += 1e-3
    save_file(tensors, file)
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "dit_forward/ref1" in printed
    assert "FAIL" in printed
    assert "block.1" in printed


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no reference case"):
        list(run_folder(tmp_path))
