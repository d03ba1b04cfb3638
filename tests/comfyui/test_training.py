"""A LoRA of one's own in a real server: prepared, trained, saved, loaded by core's own loader, cancelled, resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

BUILT_IN = "built-in: loom-tiny"
PREPARE, TRAIN, SAVE = "1", "2", "3"
MAROON = (128, 0, 32)
MERGED_TOLERANCE = 1e-4
"""Largest difference of latents as a share of their spread, all weights in float32, after six steps."""


def prompt(folder, name, *, prepare=None, train=None, save=None):
    """A folder to a LoRA file."""
    nodes = {
        PREPARE: ("LoomVideoDatasetPrepare", {
            "folder": str(folder), "task": "auto", "resolution": "128x128", "length": 9, "max_bad_share": 0.0,
            "pictures": 2, **(prepare or {}),
        }),
        TRAIN: ("LoomVideoLoraTrain", {
            "dataset": [PREPARE, 0], "name": name, "model_name": BUILT_IN, "encoder_name": BUILT_IN,
            "vae_name": BUILT_IN, "recipe": "auto", "steps": 6, "rank": 4, "learning_rate": 0.0, "sample_every": -1,
            "save_every": 0, "run_seed": 0, **(train or {}),
        }),
        SAVE: ("LoomVideoLoraSave", {
            "lora": [TRAIN, 0], "filename": name, "if_there": "replace it", **(save or {}),
        }),
        "4": ("PreviewImage", {"images": [PREPARE, 1]}),
        "5": ("PreviewImage", {"images": [TRAIN, 1]}),
    }  # fmt: skip
    return {
        number: {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
        for number, (kind, inputs) in nodes.items()
    }


@pytest.fixture(scope="module")
def world(server):
    """Four edits as `cli.make_world` writes them, below the input folder; its name there."""
    from loom_core.cli.make_world import main

    main(["--output", str(server.base / "input" / "world"), "--samples", "4", "--quiet"])
    return "world"


@pytest.fixture(scope="module")
def stills(server):
    """Two pictures of one colour with captions beside them."""
    from PIL import Image

    folder = server.base / "input" / "maroon stills"
    folder.mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (128, 128), MAROON).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text("a scene")
    return folder


def run_folder(server, name):
    return server.base / "output" / "loomvideo_training" / name


def lora_file(server, name):
    return server.base / "models" / "loras" / f"{name}.safetensors"


def succeeded(server, graph, **kwargs):
    done = server.run(graph, **kwargs)
    assert done.status == "success", done.message
    return done


def test_a_folder_of_the_world_becomes_a_lora(server, world):
    """Report, pictures, live preview, samples on the way, checkpoints, and a file that names what it is of."""
    from loom_core.weights.safetensors_files import open_safetensors

    done = succeeded(server, prompt(world, "whole", train={"steps": 4, "sample_every": 2, "save_every": 2}))
    assert "world: 4 samples (4 x edit-video)  \ntrained at: 4 x 128x128, 9 frames" in done.texts(PREPARE)
    assert any(text.startswith("step 1 of 4, loss ") for text in done.texts(TRAIN))
    assert len(done.previews) >= 3  # the first step, samples twice
    assert {"4", "5"} <= set(done.outputs)
    run = run_folder(server, "whole")
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"step-000002", "step-000004"}
    assert {path.name for path in (run / "samples").iterdir()} == {"step-000002.png", "step-000004.png"}
    file = open_safetensors(lora_file(server, "whole"))
    assert "diffusion_model.blocks.0.self_attn.q.lora_A.weight" in file
    assert "diffusion_model.blocks.0.self_attn.q.alpha" in file
    assert file.metadata["format"] == "loomvideo-lora"
    assert file.metadata["rank"] == "4"


def distance(server, graph):
    """How far the pixels that a graph saves are from maroon, of 255."""
    from PIL import Image

    (file,) = server.saved(succeeded(server, graph.prompt))
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(float)
    return float(np.abs(pixels - MAROON).mean())


def test_it_does_what_it_was_trained_for_and_equals_merged_weights(server, stills, short, latents):
    """Stills of one colour: what is generated with the LoRA is nearer to that colour, by ComfyUI's own loader."""
    from loom_core.bundle import BUILT_IN as FOLDER
    from loom_core.cli.lora import main

    train = {"steps": 60, "learning_rate": 0.01, "rank": 8}
    succeeded(server, prompt(stills, "maroon", prepare={"pictures": 1}, train=train))
    plain, made, merged = (short("text_to_image", steps=6).set("LoomVideoSizeHelper", length=1) for _ in range(3))
    made.insert(
        "LoraLoaderModelOnly",
        after=made.output("LoomVideoModelLoader"),
        into="model",
        lora_name="maroon.safetensors",
        strength_model=1.0,
    )
    assert distance(server, made) < 0.5 * distance(server, plain)
    folder = server.base / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "merged.safetensors"
    base, lora = FOLDER / "dit.safetensors", lora_file(server, "maroon")
    assert main(["merge", str(base), str(lora), str(path), "--dtype", "fp32"]) == 0
    made.set("LoomVideoModelLoader", weight_dtype="fp32")
    merged.set("LoomVideoModelLoader", model_name="merged.safetensors", weight_dtype="fp32")
    found, expected = latents(made), latents(merged)
    assert (found - expected).abs().max() < MERGED_TOLERANCE * expected.std()


def test_core_takes_it_from_the_socket(server, stills, short, latents):
    """Load LoRA Model, which reads no file: the same latents as with the saved one."""
    by_file, by_socket = (short("text_to_image").set("LoomVideoSizeHelper", length=1) for _ in range(2))
    nodes = prompt(stills, "socket", train={"steps": 3, "learning_rate": 0.01})
    by_socket.prompt |= {f"10{number}": node for number, node in nodes.items() if number != "4"}
    for node in by_socket.prompt.values():
        node["inputs"] = {
            name: [f"10{value[0]}", value[1]] if isinstance(value, list) and node in nodes.values() else value
            for name, value in node["inputs"].items()
        }
    model = by_socket.output("LoomVideoModelLoader")
    by_socket.insert("LoraModelLoader", after=model, into="model", lora=["102", 0], strength_model=1.0, bypass=False)
    found = latents(by_socket)
    name = {"lora_name": "socket.safetensors", "strength_model": 1.0}
    by_file.insert("LoraLoaderModelOnly", after=by_file.output("LoomVideoModelLoader"), into="model", **name)
    assert torch.equal(latents(by_file), found)


def test_cancel_keeps_what_was_done_and_the_next_run_goes_on(server, world):
    """To the bit what it would have been without the cancel."""
    from safetensors.torch import load_file

    from loom_core.training.checkpoint import newest_checkpoint, read_state

    settings, asked = {"steps": 7}, []

    def cancel(kind, data):
        if kind == "progress" and data["node"] == TRAIN and data["value"] >= 2 and not asked:
            asked.append(data["value"])
            server.interrupt()

    stopped = server.run(prompt(world, "stopped", train=settings), on_event=cancel)
    assert stopped.status == "interrupted"
    assert not lora_file(server, "stopped").exists()
    step = read_state(newest_checkpoint(run_folder(server, "stopped"))).step
    assert 2 <= step < 7

    on = succeeded(server, prompt(world, "stopped", train=settings))
    assert f"training from step {step} to 7" in on.texts(TRAIN)
    lines = [json.loads(line) for line in (run_folder(server, "stopped") / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "step"] == list(range(1, 8))
    succeeded(server, prompt(world, "at_once", train=settings))
    resumed, at_once = (load_file(lora_file(server, name)) for name in ("stopped", "at_once"))
    assert resumed.keys() == at_once.keys()
    assert all(torch.equal(resumed[name], at_once[name]) for name in resumed)


@pytest.fixture
def refused(server):
    """Runs a graph that must fail on one of its nodes; what that says."""

    def run(graph, node):
        done = server.run(graph)
        assert done.status == "error", done.status + done.message
        assert done.error["node_id"] == node, done.message
        assert done.message.startswith("found "), done.message
        assert "\n" not in done.message
        return done.message

    return run


def test_folders_that_cannot_be_trained_on(server, stills, refused, tmp_path):
    from PIL import Image

    def says(folder, **prepare):
        return refused(prompt(folder, "bad", prepare=prepare), PREPARE)

    assert "no folder" in says("")
    assert "no folder" in says(tmp_path / "gone")
    assert "no clip and no picture" in says(tmp_path)
    Image.new("RGB", (128, 128)).save(tmp_path / "a.png")
    assert "1 x missing caption: a.png" in says(tmp_path)
    (tmp_path / "a.txt").write_text("a scene")
    Image.new("RGB", (1280, 64)).save(tmp_path / "wide.png")
    (tmp_path / "wide.txt").write_text("a wide one")
    assert "1 x no size fits: wide" in says(tmp_path)
    assert "without target/ and source/" in says(stills, task="edit-image")
    (tmp_path / "wide.png").write_bytes(b"no picture")
    assert "1 x unreadable: wide" in says(tmp_path)
    # with leave to leave some out, the rest is taken
    done = server.run({number: node for number, node in prompt(
        tmp_path, "some", prepare={"max_bad_share": 0.5}).items() if number in (PREPARE, "4")})  # fmt: skip
    assert done.status == "success", done.message
    assert "left out: 1 x unreadable" in done.texts(PREPARE)[-1]


def test_runs_that_make_no_sense(server, stills, refused):
    def says(name, **train):
        return refused(prompt(stills, name, train={"steps": 1, **train}), TRAIN)

    assert "name '../out'" in says("../out")
    assert "name 'CON'" in says("CON")
    assert "for a model of width" in says("wrong", recipe="24 GB")
    assert "rank 1000" in says("wide", rank=1000)
    succeeded(server, prompt(stills, "begun", train={"steps": 1}))
    message = says("begun", rank=2)
    assert "lora.rank was 4 and is 2" in message
    assert "give another name" in message


def test_a_lora_of_another_model_is_not_trained_further(server, stills, refused):
    from safetensors.torch import save_file

    tensors = {f"diffusion_model.blocks.0.self_attn.q.lora_{part}.weight": torch.zeros(4, 8) for part in "A"}
    tensors["diffusion_model.blocks.0.self_attn.q.lora_B.weight"] = torch.zeros(3072, 4)
    save_file(tensors, lora_file(server, "of_another"))
    graph = prompt(stills, "further", train={"start_lora": "of_another.safetensors", "steps": 1})
    assert "of_another.safetensors" in refused(graph, TRAIN)


def test_names_of_files_that_are_there(server, stills, refused):
    """None is replaced unless that is asked for, and none leads out of the folder."""
    train = {"steps": 1}
    succeeded(server, prompt(stills, "twice", train=train))
    before = lora_file(server, "twice").read_bytes()
    succeeded(server, prompt(stills, "twice", train=train, save={"if_there": "add a number"}))
    assert lora_file(server, "twice_2").is_file()
    assert "twice.safetensors that is there" in refused(
        prompt(stills, "twice", train=train, save={"if_there": "refuse"}), SAVE
    )
    assert lora_file(server, "twice").read_bytes() == before
    assert "name '../evil'" in refused(prompt(stills, "twice", train=train, save={"filename": "../evil"}), SAVE)
