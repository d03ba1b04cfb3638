"""The command as a user runs it."""

from __future__ import annotations

import json

import pytest

from loom_core.bundle import BUILT_IN
from loom_core.cli.doctor import as_flags, build_parser, main
from loom_core.cli.exits import run
from loom_core.cli.generate import build_parser as build_generate
from loom_core.doctor import installation


@pytest.fixture(autouse=True)
def quick_installation(request, monkeypatch):
    """Its own tests look at it; those that ask for `whole_installation` do too."""
    if "whole_installation" not in request.fixturenames:
        monkeypatch.setattr(installation, "installation_findings", lambda: [installation.check_python()])


@pytest.fixture
def whole_installation():
    """Leaves it as it is."""


@pytest.fixture
def model(small_dit):
    return ["--model", str(small_dit), "--mllm", str(BUILT_IN / "mllm"), "--vae", str(BUILT_IN / "codec.safetensors")]


def test_it_takes_every_argument_of_generate():
    mine, theirs = ({action.dest for action in make()._actions} for make in (build_parser, build_generate))
    assert mine - theirs == {"report", "json"}
    assert theirs - mine == set()
    assert not [action.dest for action in build_parser()._actions if action.required]


@pytest.mark.usefixtures("whole_installation")
def test_without_arguments_the_installation_is_looked_at(capsys):
    assert run(main, []) == 0
    printed = capsys.readouterr()
    assert "ok       built-in: found the built-in model loom-tiny, whole" in printed.out
    assert printed.out.splitlines()[-1].startswith("0 errors")
    assert "prompt" not in printed.out
    assert printed.err == ""


def test_a_sound_request(model, shapes, still, tmp_path, capsys):
    request = ["--prompt", "Use @Image 1.", "--source", str(shapes), "--reference", str(still)]
    assert run(main, [*request, "--output", str(tmp_path / "a.mp4"), *model]) == 0
    shown = capsys.readouterr().out
    assert "memory: found" in shown and "predicted for 128x128, 33 frames, source, 1 reference" in shown
    assert "0 errors, 0 warnings" in shown
    assert list(tmp_path.iterdir()) == []


BAD = [
    (["--frames", "98"], 2, "--frames 97"),
    (["--width", "100", "--height", "64"], 2, "--width 96 --height 64"),
    (["--prompt", "like @Image 2"], 2, "@Image 2 in the prompt with no references"),
    (["--fps", "30"], 0, "--fps 24"),
    (["--task", "dream"], 2, "task 'dream'"),
    (["--preset", "dream"], 2, "preset 'dream'"),
    (["--device", "quantum"], 2, "device 'quantum'"),
    (["--compare"], 2, "--compare without --source"),
    (["--source", "MISSING"], 4, "missing.mp4"),
    (["--output", "NOWHERE"], 4, "nowhere"),
    (["--vae", "DIT"], 3, "a LoomVideo DiT"),
    (["--vae", "MISSING"], 3, "missing.mp4"),
    (["--mllm", "DIT"], 3, "a LoomVideo DiT"),
    (["--model", "CODEC"], 3, "a linear codec"),
]


@pytest.mark.parametrize(("bad", "code", "words"), BAD, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_said_with_the_exit_code_of_a_run(bad, code, words, model, small_dit, tmp_path, capsys):
    places = {
        "MISSING": tmp_path / "missing.mp4",
        "NOWHERE": tmp_path / "nowhere" / "a.mp4",
        "DIT": small_dit,
        "CODEC": BUILT_IN / "codec.safetensors",
    }
    arguments = [str(places.get(word, word)) for word in bad]
    given = ["--prompt", "x", "--output", str(tmp_path / "a.mp4"), *model, *arguments]
    assert run(main, given) == code
    assert words in capsys.readouterr().out


def test_all_faults_are_said_at_once(model, tmp_path, capsys):
    code = run(main, ["--frames", "98", "--source", str(tmp_path / "gone.mp4"), *model[:4], "--vae", model[1]])
    shown = capsys.readouterr().out
    assert code == 2
    for words in ("no prompt", "98 frames", "gone.mp4", "which is a LoomVideo DiT"):
        assert words in shown
    assert "4 errors" in shown


def test_files_alone(model, capsys):
    assert run(main, model) == 0
    shown = capsys.readouterr().out
    assert "encoder: found mllm" in shown
    assert "prompt" not in shown and "memory" not in shown


def test_parts_that_do_not_lie_beside_the_model(small_dit, capsys):
    assert run(main, ["--model", str(small_dit)]) == 2
    shown = capsys.readouterr().out
    assert "no Qwen3-VL beside the model" in shown and "a LoomVideo DiT" in shown


def test_parts_of_other_models(small_dit, golden_dir, capsys):
    mllm = golden_dir / "models" / "tiny" / "qwen"
    code = run(main, ["--model", str(small_dit), "--mllm", str(mllm), "--vae", str(BUILT_IN / "codec.safetensors")])
    assert code == 3
    assert "the encoder that the model was trained with" in capsys.readouterr().out


def test_json(model, capsys):
    assert run(main, ["--json", "--prompt", "x", "--frames", "98", *model]) == 2
    findings = json.loads(capsys.readouterr().out)["findings"]
    (frames,) = (one for one in findings if one["check"] == "frames")
    assert (frames["level"], frames["settings"]) == ("error", {"num_frames": 97})
    assert frames["sentence"].startswith("found 98 frames; expected")


def test_a_report_has_no_private_word(model, tmp_path, monkeypatch, capsys):
    home = tmp_path / "carol"
    secret = home / "Acme film"
    secret.mkdir(parents=True)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("USER", "carol")
    monkeypatch.setattr("platform.node", lambda: "tower-7")
    place = tmp_path / "report.txt"
    code = run(
        main,
        [
            "--report", str(place), "--prompt", "Make Bob smile", "--negative-prompt", "ugly Bob",
            "--source", str(secret / "take 1.mp4"), "--output", str(secret / "out.mp4"), *model,
        ],
    )  # fmt: skip
    assert code == 4
    assert capsys.readouterr().out.strip() == str(place)
    text = place.read_text(encoding="utf-8")
    for word in ("carol", "Acme", "tower-7", "Bob", "smile", str(tmp_path), str(BUILT_IN)):
        assert word not in text, word
    for word in ("prompt of 14 characters", "…/take 1.mp4", "error    source: found no file …/take 1.mp4"):
        assert word in text, word


def test_a_report_on_the_terminal(capsys):
    assert run(main, ["--report"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert (lines[0], lines[-1]) == ("```", "```")
    assert "asked: nothing, the installation alone" in lines


def test_a_report_that_cannot_be_written(tmp_path, capsys):
    assert run(main, ["--report", str(tmp_path / "nowhere" / "report.txt")]) == 4
    assert capsys.readouterr().err.startswith("error: found")


def test_settings_as_arguments():
    assert as_flags({"width": 832, "height": 480}) == "--width 832 --height 480"
    assert as_flags({"fps": 24.0}) == "--fps 24"
