"""LoomVideo Memory Plan: what it shows is the plan of loom_core for the sizes that are given."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

GIB = 1 << 30
RELEASED = {"width": 832, "height": 480, "length": 81, "references": 0, "has_source": True}


@pytest.fixture
def shown(stand_in, monkeypatch):
    """Runs the node on a computer with a GPU of 24 GiB; the text that it shows and gives."""
    module, host = stand_in("nodes.memory_plan"), stand_in("nodes.adapter.planning").model_management
    for name, value in {
        "get_torch_device": lambda: "gpu",
        "text_encoder_device": lambda: "gpu",
        "get_free_memory": lambda device: 20 * GIB,
        "get_total_memory": lambda device: 24 * GIB,
        "minimum_inference_memory": lambda: GIB,
        "is_device_cpu": lambda device: device == "cpu",
        "current_loaded_models": [],
    }.items():
        monkeypatch.setattr(host, name, value, raising=False)
    texts = []
    monkeypatch.setattr(module.NodeProgress, "text", lambda self, text: texts.append(text))
    monkeypatch.setattr(module.NodeProgress, "__init__", lambda self: None)

    def run(**changes):
        output = module.LoomVideoMemoryPlan.execute(**{"vram": 0.0, **RELEASED, **changes})
        (text,) = output.args
        assert output.ui["text"] == (text,)
        assert output.ui["loom_plan"] == text.split("\n")
        assert output.ui["loom_plan"][0] == texts[-1]
        return text

    return run


def lines_of(stand_in, *, budget, model=None, **sizes):
    hosted, giga = stand_in("loom_core.planning.hosted"), 10**9
    run = stand_in("loom_core.planning.run").RunSizes(**sizes)
    tables = stand_in("loom_core.planning.sizes")
    setting = stand_in("loom_core.planning.plan").Setting(
        run=run, model=model or tables.ModelSizes(), form=tables.FORMATS["bf16"], offload="none"
    )
    plan = hosted.hosted_plan(setting, hosted.Device(budget=budget * giga, reserve=GIB))
    return hosted.verdict_lines(plan), hosted.phase_lines(plan)


@pytest.mark.parametrize("vram", [6, 12, 80])
def test_the_released_sizes_are_planned_as_loom_core_plans_them(shown, stand_in, vram):
    expected = lines_of(stand_in, budget=vram, width=832, height=480, num_frames=81, has_source=True)
    verdict, about, *rest, assumed = shown(vram=float(vram)).split("\n")
    assert about == f"832x480, 81 frames, source, on a GPU with {vram} GB"
    assert ([verdict], rest) == expected
    assert assumed == "Assumed: the released 5B model, Qwen3-VL-8B, the Wan 2.2 VAE, in bf16."


def test_a_small_card_is_told_other_things_than_a_large_one(shown):
    small, large = shown(vram=6.0), shown(vram=80.0)
    assert "the model stays whole on the GPU" in large and "stay on the GPU; the rest comes" not in large
    assert "the model stays whole on the GPU" not in small and "of the model stay on the GPU; the rest comes" in small


def test_loom_tiny_is_counted_as_it_is_loaded(shown, stand_in):
    """A MODEL in float32 takes twice the bytes of bf16, and the parts that are not there are the built-in ones."""
    config = stand_in("loom_core.bundle").find_model().dit_config()
    tables, planning = stand_in("loom_core.planning.sizes"), stand_in("nodes.adapter.planning")
    num_bytes = tables.FORMATS["fp32"].num_bytes(tables.dit_weights(config))
    inner = SimpleNamespace(loom_config=config, get_dtype_inference=lambda: SimpleNamespace(itemsize=4))
    model = SimpleNamespace(model=inner, model_size=lambda: num_bytes)
    parts = planning.parts_of(model, None, None)
    assert parts.sizes.dit == config and parts.sizes.mllm.hidden_size == config.mllm_dim
    assert parts.form.num_bytes(tables.dit_weights(config)) == num_bytes and not parts.form.is_narrow
    text = shown(model=model, width=128, height=128, length=33, vram=8.0)
    assert "the model stays whole on the GPU" in text
    assert text.endswith("Assumed: the built-in encoder, the built-in VAE, in bf16.")


def test_narrow_weights_show(stand_in):
    tables, planning = stand_in("loom_core.planning.sizes"), stand_in("nodes.adapter.planning")
    config = tables.LOOMVIDEO_5B
    num_bytes = tables.FORMATS["fp8"].num_bytes(tables.dit_weights(config))
    inner = SimpleNamespace(loom_config=config, get_dtype_inference=lambda: SimpleNamespace(itemsize=2))
    parts = planning.parts_of(SimpleNamespace(model=inner, model_size=lambda: num_bytes), None, None)
    assert parts.form.matrix_itemsize == 1 and parts.form.is_narrow


def test_this_computer_is_told_with_what_is_free(shown):
    verdict, about, *_ = shown().split("\n")
    assert verdict.startswith("It fits: prompt takes the most")
    assert about == "832x480, 81 frames, source, on this GPU: 21.5 of 25.8 GB free"


def test_an_encoder_that_the_host_keeps_on_the_processor(shown, stand_in, monkeypatch):
    host = stand_in("nodes.adapter.planning").model_management
    monkeypatch.setattr(host, "text_encoder_device", lambda: "cpu")
    assert re.search(r"prompt: [\d.]+ GB of ordinary memory", shown())
    assert "ordinary memory" not in shown(vram=24.0)  # of a card that is only meant, nothing is known


def test_what_does_not_fit_is_told_with_what_would(shown):
    text = shown(width=1280, height=704, length=121, references=4, vram=4.0)
    verdict, way, *_ = text.split("\n")
    assert verdict == "It does not fit: no room for denoise."
    assert re.fullmatch(r"To fix: use \d+ frames; or use \d+x\d+; or a GPU with \d\.\d GB free\.", way)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"length": 98}, "98 frames.*use 97 or 101"),
        ({"width": 833}, "size 833x480.*to fix"),
        ({"references": 101}, "101 references.*0 to 100"),
        ({"vram": -1.0}, "vram -1.*0 for this computer"),
        ({"vram": float("nan")}, "vram nan"),
        ({"model": SimpleNamespace(model=object())}, "a MODEL of another kind.*LoomVideo Model Loader"),
        ({"encoder": SimpleNamespace()}, "no text encoder.*Encoder Loader"),
        ({"vae": SimpleNamespace()}, "without a VAE.*VAE Loader"),
    ],
)
def test_bad_input_is_one_sentence(shown, stand_in, wrong, says):
    with pytest.raises(stand_in("loom_core.errors").LoomError, match=says):
        shown(**wrong)


def test_it_is_told_anew_at_each_run(stand_in):
    made = stand_in("nodes.memory_plan").LoomVideoMemoryPlan.fingerprint_inputs()
    assert made != made  # the host compares it with that of the last run
