"""The command for owners of a GPU, on a CPU with a small model: rows, resuming, and what it refuses."""

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import gpu
from loom_core.cli.compute import ComputeWords
from loom_core.errors import ConfigError, WeightsError

CASES = {"edit": gpu.Case(width=64, height=64, num_frames=5, references=1)}
WAYS = {gpu.EXACT: {"num_inference_steps": 2}, "1 step": {"num_inference_steps": 1}}


@pytest.fixture
def setup(small_files, tmp_path):
    return gpu.Setup(files=small_files, words=ComputeWords(device="cpu"), source=gpu.SOURCE, work=tmp_path / "gpu")


def test_rows_of_all_ways(setup):
    rows = gpu.run_all(setup, CASES, WAYS)
    assert [(row.way, row.steps) for row in rows] == [(gpu.EXACT, 2), ("1 step", 1)]
    assert all(0 < row.denoising < row.seconds for row in rows)
    assert rows[0].psnr is None and 0 < rows[1].psnr < 100
    assert {row.peak_gb for row in rows} == {None}, "a CPU has no such number"
    assert gpu.read_rows(setup.work / "rows.json") == rows
    assert (setup.work / "table.md").read_text() == gpu.table(rows)


def test_a_run_that_was_stopped_goes_on(setup, monkeypatch, capsys):
    gpu.run_all(setup, CASES, {gpu.EXACT: WAYS[gpu.EXACT]})
    ran = []
    measure = gpu.measure_row
    monkeypatch.setattr(gpu, "measure_row", lambda row, *others: ran.append(row.way) or measure(row, *others))
    rows = gpu.run_all(setup, CASES, WAYS)
    assert ran == ["1 step"]
    assert len(rows) == 2
    assert rows[1].psnr is not None, "compared with the frames of the run before"
    assert "done before: edit, exact" in capsys.readouterr().out


def test_a_row_without_room_says_so_and_the_others_go_on(setup, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpu, "measure_row", full)
    rows = gpu.run_all(setup, CASES, WAYS)
    assert [row.note for row in rows] == ["out of memory"] * 2
    assert "| out of memory |" in gpu.table(rows)


def test_another_fault_is_not_hidden(setup, monkeypatch):
    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(gpu, "measure_row", broken)
    with pytest.raises(ValueError, match="a bug"):
        gpu.run_all(setup, CASES, WAYS)


def test_without_weights():
    with pytest.raises(ConfigError, match=r"no weights.*--model.*--smoke"):
        gpu.main([])


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(WeightsError, match="absent"):
        gpu.main(["--model", str(tmp_path / "absent.safetensors"), "--device", "cpu"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu(small_dit):
    with pytest.raises(ConfigError, match=r"no CUDA device.*--device.*--smoke"):
        gpu.main(["--model", str(small_dit)])


def test_an_image_is_edited_as_an_image(setup):
    case = gpu.Case(width=64, height=64, num_frames=1)
    setup.work.mkdir()
    assert gpu.request_of(case, setup, {}).source.suffix == ".png"
    [row] = gpu.run_all(setup, {"image_edit": case}, {gpu.EXACT: {"num_inference_steps": 1}})
    assert row.num_frames == 1


def test_an_unknown_case():
    with pytest.raises(ConfigError, match=r"no case dance.*some of edit"):
        gpu.main(["--smoke", "--only", "dance"])


def test_rows_of_another_kind_are_not_overwritten(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"speed": 1}]))
    with pytest.raises(ConfigError, match="holds no rows"):
        gpu.read_rows(tmp_path / "rows.json")


def test_a_clip_is_lengthened_without_a_jump():
    frames = torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1)
    assert gpu.there_and_back(frames, 9).flatten().tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert gpu.there_and_back(frames[:1], 3).flatten().tolist() == [0, 0, 0]


def test_equal_frames_have_a_number_that_json_knows(tmp_path):
    frames = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    gpu.save_file({"frames": frames}, tmp_path / "exact.safetensors")
    assert gpu.fidelity(frames, tmp_path / "exact.safetensors") == 100
    assert gpu.fidelity(frames + 1, tmp_path / "exact.safetensors") == pytest.approx(48.13, abs=0.01)
    assert gpu.fidelity(frames, tmp_path / "none.safetensors") is None


def test_all_cases_can_be_asked_for(setup):
    for case in gpu.CASES.values():
        request = gpu.request_of(replace(case, has_source=False), setup, {})
        assert (request.width, request.height, request.num_frames) == (case.width, case.height, case.num_frames)
        assert all(f"@Image {number + 1}" in request.prompt for number in range(case.references))
