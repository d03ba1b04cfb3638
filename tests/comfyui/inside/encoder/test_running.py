"""While it reads: cancelling, running out of memory, progress, and how often the vision tower runs."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def bar(part, monkeypatch):
    """What the progress bar is told."""
    seen = []
    monkeypatch.setattr(
        part("nodes.adapter.progress").NodeProgress, "step", lambda _self, done, total: seen.append((done, total))
    )
    return seen


@pytest.fixture
def part_of(golden_clip):
    """A part of the CLIP's Qwen3-VL by its name."""
    return lambda name: golden_clip.cond_stage_model.get_submodule(f"qwen3vl_loom.transformer.{name}")


def no_hooks_left(clip):
    return not any(module._forward_pre_hooks for module in clip.cond_stage_model.modules())


@pytest.mark.parametrize("where", ["model.layers.2", "visual.blocks.1", "model.layers.0.mlp.up_proj"])
def test_a_cancel_inside_the_mllm(golden_clip, read, edit_of, cache, part_of, where):
    from comfy import model_management

    calls = []

    def cancel(*_):
        calls.append(1)
        model_management.interrupt_current_processing()

    handle = part_of(where).register_forward_pre_hook(cancel)
    with pytest.raises(model_management.InterruptProcessingException):
        read(golden_clip, edit_of(), cache=cache)
    assert len(calls) == 1  # it stops at the very next operation
    handle.remove()
    assert no_hooks_left(golden_clip)
    assert cache.num_bytes == 0
    assert len(read(golden_clip, edit_of(), cache=cache).states) == 3


def test_a_cancel_between_two_prompts_keeps_the_first(golden_clip, read, edit_of, cache, part_of, passes):
    from comfy import model_management

    handle = part_of("model.norm").register_forward_hook(lambda *_: model_management.interrupt_current_processing())
    with pytest.raises(model_management.InterruptProcessingException):
        read(golden_clip, edit_of(), cache=cache)
    handle.remove()
    assert no_hooks_left(golden_clip)
    lengths = passes(golden_clip)
    found = read(golden_clip, edit_of(), cache=cache)
    assert len(lengths) == 2
    expected = read(golden_clip, edit_of())
    assert all(torch.equal(found.states[branch], states) for branch, states in expected.states.items())


def test_the_bar_moves_layer_by_layer_over_all_prompts(golden_clip, read, edit_of, bar):
    read(golden_clip, edit_of())
    done = [done for done, _ in bar]
    assert done == sorted(done)
    assert set(bar) == {(count, 15) for count in range(16)}


def test_the_browser_is_told_of_loading_and_of_each_prompt(part, golden_clip, read, edit_of, monkeypatch):
    told = []
    monkeypatch.setattr(part("nodes.adapter.progress").NodeProgress, "report", lambda _self, state: told.append(state))
    read(golden_clip, edit_of())
    assert [(state.phase.value, state.step, state.steps) for state in told] == [
        ("load", None, None),
        *(("encode", done, 15) for done in (0, 5, 10)),
    ]


def test_the_vision_tower_runs_once_a_picture(golden_clip, read, edit_of, part_of):
    runs = []
    part_of("visual").register_forward_hook(lambda *_: runs.append(1))
    read(golden_clip, edit_of())
    assert len(runs) == 2 + 2  # two references, and a clip of two temporal patches; for two prompts
    read(golden_clip, edit_of())
    assert len(runs) == 8  # nothing of the first visit is kept


def test_features_are_let_go_of(part, golden_clip, edit_of):
    adapter, session = part("nodes.adapter.encoder.encoding"), part("nodes.adapter.encoder.session")
    qwen = part("nodes.adapter.encoder.qwen").find_qwen(golden_clip)
    reader = adapter.reader_of(qwen, max_frames=4)
    with session.QwenSession(golden_clip, qwen, special=reader.tokenizer.special) as visit:
        visit.states(
            adapter.tokenised(reader, edit_of())[next(iter(part("loom_core.types").Branch))], tick=lambda: None
        )
        visit.states(reader.full(edit_of().task, "x", references=edit_of().references), tick=lambda: None)
        assert visit._features._known
    assert not visit._features._known


class Failing:
    """Runs out of memory in the first passes through a module."""

    def __init__(self, module, times, error):
        self.left, self.error, self.calls = times, error, 0
        self.handle = module.register_forward_pre_hook(self)

    def __call__(self, *_):
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate")]
)
def test_out_of_memory_once(golden_clip, read, edit_of, part_of, passes, monkeypatch, error):
    from comfy import model_management

    freed, reserved = [], []
    load = model_management.load_models_gpu
    monkeypatch.setattr(model_management, "unload_all_models", lambda: freed.append(1))
    monkeypatch.setattr(
        model_management, "load_models_gpu", lambda *args, **kwargs: reserved.append(kwargs) or load(*args, **kwargs)
    )
    expected = read(golden_clip, edit_of())
    del reserved[:]
    lengths = passes(golden_clip)
    calls = []
    norm = part_of("model.layers.3")
    norm.register_forward_pre_hook(lambda *_: calls.append(1))

    def fail_in_the_second_prompt(*_):
        if len(calls) == 2 and not freed:
            raise error

    norm.register_forward_pre_hook(fail_in_the_second_prompt)
    found = read(golden_clip, edit_of())
    assert freed == [1]
    assert len(lengths) == 3  # the first prompt was not read again
    needed = [kwargs["memory_required"] for kwargs in reserved]
    assert needed[2] == pytest.approx(3 * needed[1], abs=3)
    for branch, states in expected.states.items():
        assert torch.equal(states, found.states[branch])


def test_out_of_memory_for_good(part, golden_clip, read, edit_of, part_of, cache):
    failing = Failing(part_of("model.layers.1"), 100, torch.cuda.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(part("loom_core.errors").ResourceError) as raised:
        read(golden_clip, edit_of(), cache=cache)
    assert "no memory left while reading" in str(raised.value)
    assert "mllm_frames" in str(raised.value)
    assert failing.calls == 2
    failing.handle.remove()
    assert no_hooks_left(golden_clip)
    assert len(read(golden_clip, edit_of(), cache=cache).states) == 3


def test_states_that_are_no_numbers(part, golden_clip, read, request_of, cache):
    weights = dict(golden_clip.cond_stage_model.named_parameters())
    name = next(name for name in weights if name.endswith("layers.2.mlp.up_proj.weight"))
    weights[name].fill_(torch.nan)
    with pytest.raises(part("loom_core.errors").WeightsError, match="not finite"):
        read(golden_clip, request_of(), cache=cache)
    assert cache.num_bytes == 0


def test_memory_is_asked_for_by_length_and_size(part, golden_clip, edit_of, request_of, types, pictures):
    adapter, session = part("nodes.adapter.encoder.encoding"), part("nodes.adapter.encoder.session")
    qwen = part("nodes.adapter.encoder.qwen").find_qwen(golden_clip)
    reader = adapter.reader_of(qwen, max_frames=4)
    full = part("loom_core.types").Branch.FULL

    def needed(request):
        return session.memory_needed(qwen, adapter.tokenised(reader, request)[full])

    short, long, seen = needed(request_of()), needed(request_of(prompt="a cat " * 200)), needed(edit_of())
    assert 0 < short < seen
    assert short < long < 1 << 30


def test_layers_that_are_passed_over_are_told(part, golden_clip, read, request_of, part_of, monkeypatch):
    layers = part_of("model").layers
    monkeypatch.setattr(type(layers[1]), "__call__", type(layers[1]).forward)
    with pytest.raises(part("loom_core.errors").WeightsError, match=r"states of 1 of the 5 layers"):
        read(golden_clip, request_of())
    assert no_hooks_left(golden_clip)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_tower_runs_in_the_precision_that_the_host_runs_it_in(part, golden_clip, part_of, dtype):
    """Newer hosts give it pixels in the precision of the weights."""
    visual, runs = part_of("visual"), []
    handle = visual.patch_embed.register_forward_hook(lambda *_: runs.append(1))

    def original(embed, device):
        return visual(embed["data"].to(dtype), torch.tensor([[1, 2, 2]])), None

    assert part("nodes.adapter.encoder.vision").vision_dtype(visual, original, torch.device("cpu")) is dtype
    assert runs == []
    handle.remove()
    assert not visual._forward_pre_hooks


def test_pictures_of_the_host_go_the_hosts_way(part, golden_clip):
    """While our patch is in place, an embedding that is not ours is handed on."""
    transformer = golden_clip.cond_stage_model.qwen3vl_loom.transformer
    features = part("nodes.adapter.encoder.vision").VisionFeatures(transformer, transformer.preprocess_embed)
    embed = {"type": "image", "data": torch.rand(1, 64, 64, 3)}
    found, extra = features.preprocess_embed(embed, device=torch.device("cpu"))
    expected, _ = transformer.preprocess_embed(embed, device=torch.device("cpu"))
    assert torch.equal(found, expected)
    assert set(extra) == {"grid", "deepstack"}
