"""The address at which the browser asks what a prompt would run into, in a running server."""

from __future__ import annotations

import json
import urllib.error

import pytest

PREFLIGHT = "/loomvideo/preflight"


@pytest.fixture
def ask(server):
    """The answer for a graph."""

    def answer(graph_, path=PREFLIGHT):
        return server.post(path, {"prompt": graph_.prompt})

    return answer


def bad(answer, level="error"):
    return [one for one in answer["findings"] if one["level"] == level]


@pytest.mark.parametrize("name", ["reference_edit", "text_to_video", "image_edit"])
def test_a_bundled_workflow_has_no_fault(ask, graph, name):
    answer = ask(graph(name), "/api" + PREFLIGHT)
    assert (answer["version"], bad(answer)) == (1, [])
    said = {one["check"]: one["sentence"] for one in answer["findings"]}
    assert {"comfyui", "frontend", "attention", "device", "packages", "model", "encoder", "vae", "size"} <= set(said)
    assert "loom_tiny" in str(said) or "dit.safetensors" in said["model"]


def test_versions_are_the_servers(ask, server, graph):
    system = server.get("/system_stats")["system"]
    said = {one["check"]: one["found"] for one in ask(graph("text_to_video"))["findings"]}
    assert said["comfyui"] == f"ComfyUI {system['comfyui_version']}"
    assert system["pytorch_version"] in said["device"]


def test_what_it_says_is_what_the_run_would_say(ask, server, graph):
    made = graph("text_to_video").set("LoomVideoEmptyLatent", length=98)
    (error,) = bad(ask(made))
    run = server.run(made.prompt)
    assert run.status == "error" and run.error["node_id"] == error["node"]
    assert error["sentence"] in run.message
    (value,) = error["action"]["values"]
    made.prompt[value["node"]]["inputs"][value["input"]] = value["value"]
    assert bad(ask(made)) == []


def test_mentions(ask, server, graph):
    made = graph("reference_edit").set("LoomVideoDeepstackEncode", prompt="Like @Image 3.")
    (error,) = bad(ask(made))
    run = server.run(made.prompt)
    assert run.error["node_id"] == error["node"] and error["sentence"] in run.message


def test_files_in_the_servers_folders(ask, server, graph):
    import torch
    from safetensors.torch import save_file

    folder = server.base / "models" / "vae"
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"decoder.conv1.weight": (8,), "encoder.conv1.weight": (8,), "conv2.weight": (16, 16, 1, 1, 1)}
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, folder / "preflight_vae.safetensors")
    made = graph("video_edit").set("LoomVideoVAELoader", vae_name="preflight_vae.safetensors")
    (error,) = bad(ask(made))
    assert error["found"] == "preflight_vae.safetensors, which is a Wan 2.1 VAE (16 latent channels)"
    assert error["action"]["kind"] == "show"
    shapes["conv2.weight"] = (48, 48, 1, 1, 1)  # another file under the same name
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, folder / "preflight_vae.safetensors")
    assert "preflight_vae.safetensors without" in bad(ask(made))[0]["found"]
    gone = made.set("LoomVideoVAELoader", vae_name="gone.safetensors")
    assert "no file 'gone.safetensors' in models/vae" in bad(ask(gone))[0]["sentence"]


def test_a_vae_that_lacks_weights(ask, server, graph, golden_dir):
    from safetensors.torch import load_file, save_file

    weights = load_file(golden_dir / "models" / "tiny" / "vae" / "diffusion_pytorch_model.safetensors")
    place = server.base / "models" / "vae" / "preflight_wan22.safetensors"
    place.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, place)
    made = graph("video_edit").set("LoomVideoVAELoader", vae_name=place.name)
    assert bad(ask(made)) == []
    save_file({name: value for name, value in weights.items() if name != "quant_conv.weight"}, place)
    (error,) = bad(ask(made))
    assert error["found"] == f"{place.name} without 1 weights, conv1.weight among them"


@pytest.mark.parametrize("name", ["../server.log", "/etc/hostname", "gone.mp4", "../../x.mp4 [output]"])
def test_nothing_outside_the_folders_is_looked_at(ask, graph, name):
    (error,) = bad(ask(graph("video_edit").set("LoadVideo", file=name)))
    assert error["found"].startswith("no file ") and "input folder" in error["found"]


@pytest.mark.parametrize("content", [{}, {"prompt": []}, {"prompt": {"1": {}}}])
def test_what_is_no_prompt(server, content):
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.post(PREFLIGHT, content)
    assert refused.value.code == 400
    assert "something else than a prompt" in json.loads(refused.value.read())["error"]


def test_no_answer_names_the_servers_folders(ask, server, graph):
    made = graph("video_edit").set("LoomVideoModelLoader", model_name="gone.safetensors")
    assert str(server.base) not in json.dumps(ask(made))
    assert str(server.base) not in json.dumps(ask(graph("reference_edit")))


def test_a_report_for_an_issue(server, graph):
    asked = {"prompt": graph("text_to_video").set("LoomVideoEmptyLatent", length=98).prompt, "report": True}
    text = server.post(PREFLIGHT, asked)["report"]
    assert "error    frames: found 98 frames" in text and "LoomVideoEmptyLatent" in text and "ComfyUI" in text
    assert str(server.base) not in text and "report" not in server.post(PREFLIGHT, {"prompt": asked["prompt"]})
