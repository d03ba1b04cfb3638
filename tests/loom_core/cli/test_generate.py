"""The command as a user runs it: results, one-line errors, exit codes, nothing left behind."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.bundle import BUILT_IN
from loom_core.cli.convert import main as convert
from loom_core.cli.exits import run
from loom_core.cli.generate import main
from loom_core.media.decode import read_clip, read_image
from loom_core.media.metadata import read_metadata
from loom_core.media.probe import probe


@pytest.fixture
def model(small_dit):
    return ["--model", str(small_dit), "--mllm", str(BUILT_IN / "mllm"), "--vae", str(BUILT_IN / "codec.safetensors")]


@pytest.fixture
def small():
    return ["--width", "64", "--height", "32", "--steps", "2"]


def test_an_edit_with_reference_and_comparison(model, small, harbour, still, tmp_path, capsys):
    output = tmp_path / "a.mp4"
    code = run(
        main,
        [
            "--prompt", "in the colour of @Image 1", "--source", str(harbour), "--reference", str(still),
            "--output", str(output), "--compare", "--preview", str(tmp_path / "preview.png"), *model, *small,
        ],
    )  # fmt: skip
    printed = capsys.readouterr()
    assert code == 0
    assert printed.out.split() == [str(output), str(tmp_path / "a_compare.mp4")]
    assert "reference-edit: 64x32, 49 frames at 24 a second" in printed.err
    assert "2/2" in printed.err
    assert probe(output).has_audio
    assert probe(tmp_path / "preview.png").is_image
    assert read_metadata(output)["task"] == "reference-edit"


def test_the_demo_does_what_it_says(repo_root, assert_obeyed, monkeypatch, tmp_path):
    """The arguments are those of `make demo`, but for where the result goes."""
    recipe = (repo_root / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = (line for line in recipe.splitlines() if "loom_core.cli.generate" in line)
    words = shlex.split(line.partition("loom_core.cli.generate")[2])
    words[words.index("--output") + 1] = str(tmp_path / "demo.mp4")
    monkeypatch.chdir(repo_root)
    assert run(main, words) == 0
    assert_obeyed(read_clip(tmp_path / "demo.mp4").frames, "reference_edit")
    assert probe(tmp_path / "demo.mp4").has_audio
    assert (tmp_path / "demo_compare.mp4").is_file()


def test_one_frame_is_a_still_and_quiet_is_quiet(model, small, tmp_path, capsys):
    code = run(main, ["--prompt", "x", "--frames", "1", "--output", str(tmp_path / "a.mp4"), "--quiet", *model, *small])
    printed = capsys.readouterr()
    assert code == 0
    assert printed.err == ""
    assert printed.out.strip() == str(tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_video_name_for_one_frame_is_told(model, small, tmp_path, capsys):
    run(main, ["--prompt", "x", "--frames", "1", "--output", str(tmp_path / "a.mp4"), *model, *small])
    assert "one frame is written as a still image, a.png" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fp8", "gguf-q4_0"])
def test_quantised_weights_that_come_for_their_turn(small_dit, model, small, tmp_path, name):
    pytest.importorskip("gguf", reason="one of the forms is GGUF's")
    assert run(convert, [str(small_dit), str(tmp_path / "dit"), "--to", name]) == 0
    made = []
    for offload in ("none", "blocks"):
        words = ["--prompt", "x", "--frames", "1", "--output", str(tmp_path / f"{offload}.png"), "--offload", offload]
        assert run(main, [*words, *model, "--model", str(tmp_path / "dit"), *small]) == 0
        made.append(read_image(tmp_path / f"{offload}.png").frames)
    assert torch.equal(*made)


BAD_REQUESTS = [
    (["--frames", "98"], 2, "use 97 or 101"),
    (["--frames", "0"], 2, "0 frames"),
    (["--width", "100", "--height", "64"], 2, "use 96x64"),
    (["--prompt", "like @Image 3", "--reference", "STILL", "--reference", "STILL"], 2, "with 2 references"),
    (["--steps", "-4"], 2, "-4 steps"),
    (["--guidance-scale", "-2"], 2, "guidance_scale -2"),
    (["--guidance-scale", "1e9"], 2, "expected 0 to 30"),
    (["--visual-guidance-scale", "nan"], 2, "visual_guidance_scale nan"),
    (["--task", "dream"], 2, "task 'dream'"),
    (["--task", "edit-video"], 2, "without a source"),
    (["--preset", "dream"], 2, "preset 'dream'"),
    (["--solver", "dream"], 2, "solver 'dream'"),
    (["--device", "quantum"], 2, "device 'quantum'"),
    (["--dtype", "int3"], 2, "int3"),
    (["--compare"], 2, "--compare without --source"),
    (["--source", "MISSING"], 4, "missing.mp4"),
    (["--source", "EMPTY"], 4, "empty.mp4"),
    (["--source", "TRUNCATED"], 4, "truncated.mp4"),
    (["--reference", "HARBOUR"], 4, "which is a clip"),
    (["--output", "NOWHERE"], 4, "nowhere"),
    (["--output", "ODD"], 4, "a.odd"),
    (["--source", "MINE", "--output", "MINE"], 4, "also an input"),
    (["--source", "HARBOUR", "--preview", "HARBOUR"], 4, "an image name"),
    (["--preview", "NOWHERE_PNG"], 4, "nowhere"),
    (["--vae-tile", "100"], 2, "tiles of 100 pixels"),
    (["--rope", "fp8"], 2, "fp8"),
    (["--quantise", "int3"], 2, "expected int8-torchao or"),
    (["--quantise", "int8-torchao", "--offload", "blocks"], 2, "--quantise with --offload blocks"),
    (["--seed", "99999999999999999999"], 2, "seed 9999"),
    (["--model", "MISSING"], 3, "missing.mp4"),
    (["--model", "CODEC", "--mllm", "MLLM", "--vae", "CODEC"], 3, "expected a LoomVideo DiT"),
    (["--model", "PICKLE", "--mllm", "MLLM", "--vae", "CODEC"], 3, "evil.pth"),
    (["--mllm", "CODEC"], 3, "codec"),
    (["--vae", "DIT"], 3, "a LoomVideo DiT"),
]


@pytest.mark.parametrize(("bad", "expected_code", "words"), BAD_REQUESTS, ids=lambda value: str(value)[:40])
def test_bad_input_is_one_line_a_code_and_no_file(
    bad, expected_code, words, model, small, harbour, still, small_dit, tmp_path, capsys
):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "empty.mp4").write_bytes(b"")
    (inputs / "truncated.mp4").write_bytes(harbour.read_bytes()[:2000])
    (inputs / "mine.mp4").write_bytes(harbour.read_bytes())
    torch.save({"weight": Evil()}, inputs / "evil.pth")
    names = {
        "STILL": still, "HARBOUR": harbour, "MISSING": inputs / "missing.mp4", "EMPTY": inputs / "empty.mp4",
        "MINE": inputs / "mine.mp4", "NOWHERE_PNG": tmp_path / "nowhere" / "a.png",
        "TRUNCATED": inputs / "truncated.mp4", "NOWHERE": tmp_path / "nowhere" / "a.mp4", "ODD": tmp_path / "a.odd",
        "CODEC": BUILT_IN / "codec.safetensors", "MLLM": BUILT_IN / "mllm", "DIT": small_dit,
        "PICKLE": inputs / "evil.pth",
    }  # fmt: skip
    arguments = ["--prompt", "x", "--output", str(tmp_path / "a.mp4"), *model, *small]
    start = time.perf_counter()
    code = run(main, [*arguments, *(str(names.get(word, word)) for word in bad)])
    elapsed = time.perf_counter() - start
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == expected_code, error
    assert error.startswith("error: found ")
    assert words in error
    assert {file.name for file in tmp_path.iterdir()} == {"inputs"}
    assert (inputs / "mine.mp4").read_bytes() == harbour.read_bytes()
    if expected_code in (2, 4):
        assert elapsed < 1


def test_nan_weights_are_named_and_nothing_is_written(model, small, small_dit, tmp_path, capsys):
    from safetensors import safe_open

    weights = load_file(small_dit)
    weights["blocks.1.ffn.0.weight"][3, 3] = torch.nan
    with safe_open(small_dit, "pt") as file:
        save_file(weights, tmp_path / "nan.safetensors", metadata=file.metadata())
    arguments = ["--prompt", "x", "--frames", "5", "--output", str(tmp_path / "a.mp4"), *model, *small]
    assert run(main, [*arguments, "--model", str(tmp_path / "nan.safetensors")]) == 3
    assert "blocks.1.ffn.0.weight" in capsys.readouterr().err
    assert not (tmp_path / "a.mp4").exists()


def test_a_full_disk_leaves_no_partial_file(model, small, tmp_path):
    """A limit on the size of files stands for the full disk; the process dies of neither."""
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "from loom_core.cli.exits import run\n"
        "from loom_core.cli.generate import main\n"
        "sys.exit(run(main, sys.argv[1:]))\n"
    )
    arguments = ["--prompt", "x", "--frames", "33", "--output", str(tmp_path / "a.mp4"), *model, *small]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 6, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: found ")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_one_sentence(model, small, golden_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    for name in [name for name in sys.modules if name.startswith("diffusers.")]:
        monkeypatch.delitem(sys.modules, name)
    arguments = ["--prompt", "x", "--frames", "5", "--output", str(tmp_path / "a.mp4"), *model, *small]
    assert run(main, [*arguments, "--vae", str(golden_dir / "models" / "tiny" / "vae")]) == 5
    assert "pip install" in capsys.readouterr().err


def test_help_names_every_task(capsys):
    assert run(main, ["--help"]) == 0
    printed = capsys.readouterr().out
    for task in ("text-to-video", "reference-to-image", "--guidance-scale", "--compare"):
        assert task in printed


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--frames", "98"], "use 97 or 101"),
        (["--dtype", "int3"], "int3"),
        (["--device", "quantum"], "quantum"),
        (["--vae-tile", "100"], "tiles of 100"),
    ],
)
def test_a_wrong_request_is_refused_before_torch_is_imported(wrong, words, tmp_path, harbour):
    script = (
        "import sys\n"
        "from loom_core.cli.exits import run\n"
        "from loom_core.cli.generate import main\n"
        "code = run(main, sys.argv[1:])\n"
        "print(sorted({'torch', 'transformers', 'diffusers'} & set(sys.modules)))\n"
        "sys.exit(code)\n"
    )
    arguments = ["--prompt", "x", "--source", str(harbour), "--output", str(tmp_path / "a.mp4"), *wrong]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout.strip() == "[]"


def test_two_processes_make_the_same_edit_and_the_first_one_writes_it(
    model, harbour, still, processes, tmp_path, capsys
):
    """6 target tokens and 3 of the reference: 5 for one process, 1 of the target, 3 and padding for the other."""
    alone, shared = tmp_path / "alone.mp4", tmp_path / "shared.mp4"
    wanted = [
        "--prompt", "in the colour of @Image 1", "--source", str(harbour), "--reference", str(still), "--frames", "5",
        "--width", "96", "--height", "32", "--steps", "3", "--visual-guidance-scale", "1.5", "--device", "cpu", *model,
    ]  # fmt: skip
    assert run(main, [*wanted, "--output", str(alone)]) == 0
    capsys.readouterr()
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
        "--master-port", str(processes.free_port()), "-m", "loom_core.cli.generate",
    ]  # fmt: skip
    done = subprocess.run(
        [*launcher, *wanted, "--output", str(shared)], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(shared)]
    assert done.stderr.count("2 processes share the work") == 1
    assert done.stderr.count("decoding and writing") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.mp4", "shared.mp4"]
    difference = (read_clip(shared).frames.int() - read_clip(alone).frames.int()).abs()  # [F, height, width, 3]
    assert difference.float().mean() < 0.1  # a pixel that rounds the other way changes a block of the compressed file


def test_processes_with_different_requests_are_refused_by_name(model, small, processes, tmp_path):
    port, command = processes.free_port(), [sys.executable, "-m", "loom_core.cli.generate", "--device", "cpu"]
    running = [
        subprocess.Popen(
            [*command, *model, *small, "--prompt", prompt, "--output", str(tmp_path / f"{rank}.mp4"), "--quiet"],
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **processes.environment_of(rank, 2, port)},
        )
        for rank, prompt in enumerate(("a red circle", "a blue circle"))
    ]  # fmt: skip
    said = [process.communicate(timeout=240)[1] for process in running]
    assert [process.returncode for process in running] == [2, 2], "\n".join(said)
    for words in said:
        assert "rank 1 with other settings than rank 0: prompt is 'a blue circle' there and 'a red circle'" in words
        assert "output" not in words
    assert list(tmp_path.iterdir()) == []


def test_processes_that_heads_cannot_be_shared_out_over_are_one_sentence(model, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    arguments = ["--prompt", "x", "--output", str(tmp_path / "a.mp4"), "--device", "cpu", *model, *small]
    assert run(main, arguments) == 2
    assert "3 processes for a model of 2 attention heads" in capsys.readouterr().err


def test_compiled_in_one_process_alone(model, small, tmp_path, monkeypatch, capsys):
    """That compiled blocks give the same numbers is tested with them."""
    from loom_core import pipeline

    compiled = []
    monkeypatch.setattr(pipeline, "compile_blocks", compiled.append)
    arguments = ["--prompt", "x", "--frames", "1", "--output", str(tmp_path / "a.png"), "--compile", *model, *small]
    assert run(main, arguments) == 0
    assert len(compiled) == 1
    assert run(main, [*arguments, "--attention", "sage"]) == 2
    assert "--compile with --attention sage" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(main, arguments) == 2
    assert "--compile in 2 processes" in capsys.readouterr().err
