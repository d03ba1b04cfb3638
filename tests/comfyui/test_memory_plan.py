"""LoomVideo Memory Plan in a real server: alone, and beside the parts of the built-in model."""

from __future__ import annotations

import pytest

NODE = "LoomVideoMemoryPlan"
SIZES = {"width": 832, "height": 480, "length": 81, "references": 0, "has_source": True, "vram": 12.0}


@pytest.fixture
def told(server, graph):
    """Adds the node to a bundled workflow and runs it alone; the lines that it shows."""

    def run(**changes):
        made = graph("image_edit")
        linked = {name: made.output(f"LoomVideo{kind}Loader") for name, kind in changes.pop("parts", {}).items()}
        node = made.add(NODE, **{**SIZES, **changes, **linked})
        wanted = {node, *(link[0] for link in linked.values())}
        made.prompt = {number: entry for number, entry in made.prompt.items() if number in wanted}
        done = server.run(made.prompt)
        assert done.status == "success", done.message
        (text,) = done.outputs[node]["text"]
        return text.split("\n")

    return run


def test_it_needs_nothing(told):
    lines = told()
    assert lines[0].startswith("It fits: prompt takes the most, ")
    assert lines[1] == "832x480, 81 frames, source, on a GPU with 12 GB"
    assert [line.partition(":")[0] for line in lines if " of 12.0 GB" in line and line[0] != "I"] == [
        "prompt", "encode", "denoise", "decode",
    ]  # fmt: skip
    assert lines[-1] == "Assumed: the released 5B model, Qwen3-VL-8B, the Wan 2.2 VAE, in bf16."


def test_it_is_told_again_when_it_is_queued_again(told):
    assert told() == told()


def test_the_built_in_model_on_this_computer(told):
    parts = {"model": "Model", "encoder": "Encoder", "vae": "VAE"}
    lines = told(parts=parts, width=128, height=128, length=33, vram=0.0)
    assert lines[0].startswith("It fits: ")
    assert "128x128, 33 frames, source, on this computer, without a GPU: " in lines[1]
    assert not lines[-1].startswith("Assumed")


def test_an_impossible_length_is_one_sentence(server, graph):
    made = graph("image_edit")
    node = made.add(NODE, **{**SIZES, "length": 98})
    done = server.run({node: made.prompt[node]})
    assert done.status != "success"
    assert "98 frames" in done.message and "use 97 or 101" in done.message
