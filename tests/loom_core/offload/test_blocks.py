"""Blocks that come for their turn: what is where, how much is alive, and that nothing stays behind."""

import copy
import gc
import logging
import threading
import weakref
from itertools import chain, pairwise

import pytest
import torch
from torch import nn

from benchmarks.live_memory import LiveMemory, peak_live_bytes
from loom_core.config.model import DiTConfig
from loom_core.config.training import LoraSettings
from loom_core.geometry import LatentShape
from loom_core.lora.adapters import Adapters
from loom_core.models.dit import LoomDiT
from loom_core.models.lockstep import LockstepDiT
from loom_core.offload import blocks as module
from loom_core.offload.blocks import StreamedBlocks, slot_bytes, spread_evenly, streamed, tensors_of
from loom_core.types import Condition, Reference
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.loading import load_dit
from loom_core.weights.quantise import SCHEMES
from loom_core.weights.saving import entries_of, save_safetensors

CPU = torch.device("cpu")
CONFIG = DiTConfig(
    hidden_size=96, num_heads=4, head_dim=24, num_layers=5, ffn_dim=128, in_channels=4, out_channels=4,
    time_embed_dim=32, mllm_dim=20,
)  # fmt: skip
SHAPE = LatentShape(2, 4, 4)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    generator = torch.Generator().manual_seed(3)
    model = LoomDiT(CONFIG).requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(std=0.1, generator=generator)
    path = tmp_path_factory.mktemp("dit") / "dit.safetensors"
    metadata = {"format": "loomvideo-dit", "config": CONFIG.to_json()}
    save_safetensors(path, entries_of(model.state_dict()), metadata=metadata)
    return path


@pytest.fixture(params=SCHEMES)
def quantised_file(request, weights_file, tmp_path):
    pytest.importorskip("gguf", reason="two of the forms are GGUF's")
    convert_checkpoint(weights_file, tmp_path / "quantised", scheme=SCHEMES[request.param])
    return tmp_path / "quantised"


@pytest.fixture
def model(weights_file):
    """Its weights are views of the mapped file."""
    return load_dit(weights_file)


def conditions():
    """Three branches of unlike lengths, one with a reference."""
    generator = torch.Generator().manual_seed(5)

    def noise(*size):
        return torch.randn(size, generator=generator)

    def states(length):
        return tuple(noise(length, CONFIG.mllm_dim) for _ in range(CONFIG.num_layers))

    source = noise(4, SHAPE.frames, SHAPE.height, SHAPE.width)
    return [
        Condition(states(3)),
        Condition(states(7), source),
        Condition(states(9), source, (Reference(noise(4, 1, 4, 4)),)),
    ]


@torch.no_grad()
def velocities(model, *, keys_values=True, steps=2):
    """Of all branches, at two noise levels: as the pipeline calls the model."""
    target = torch.zeros(1, 4, SHAPE.frames, SHAPE.height, SHAPE.width)
    prepared = [model.prepare([condition], target, keys_values=keys_values) for condition in conditions()]
    latents = torch.randn(target.shape, generator=torch.Generator().manual_seed(8))
    denoiser = LockstepDiT(model)
    return [
        velocity
        for step in range(steps)
        for velocity in denoiser.together(latents, torch.tensor([900.0 - 300 * step]), prepared)
    ]


def all_equal(found, expected):
    assert len(found) == len(expected)
    return all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("keys_values", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_very_same_numbers(model, weights_file, count, keys_values):
    expected = velocities(load_dit(weights_file), keys_values=keys_values)
    with streamed(model, "blocks", device=CPU, count=count):
        assert all_equal(velocities(model, keys_values=keys_values), expected)
    assert all_equal(velocities(model, keys_values=keys_values), expected)  # and afterwards as before


def test_with_a_lora(model):
    generator = torch.Generator().manual_seed(2)
    adapters = Adapters(model, LoraSettings(rank=2, whole=("blocks.*.modulation",)), generator=generator)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2, generator=generator)
    expected = velocities(model)
    with adapters.disabled():
        assert not all_equal(velocities(model), expected)
    with streamed(model, "blocks", device=CPU, count=5):
        assert all_equal(velocities(model), expected)


def test_weights_are_there_for_their_turn_alone(model):
    homes = [[tensor.data_ptr() for tensor in tensors_of(block)] for block in model.blocks]

    def away():
        rows = zip(blocks._modules.values(), homes, strict=True)
        return [number for number, (block, home) in enumerate(rows) if pointers(block) != home]

    def pointers(block):
        return [tensor.data_ptr() for tensor in tensors_of(block)]

    with streamed(model, "blocks", device=CPU, count=5) as blocks:
        assert model.blocks is blocks
        for number, _ in enumerate(blocks):
            assert away() == [number]
        assert away() == []


def test_alive_are_two_blocks_however_many_there_are(model, weights_file):
    """Counted tensor by tensor: the slots are all that is made beside what a run makes anyway."""
    plain = load_dit(weights_file)
    without = peak_live_bytes(lambda: velocities(plain))

    def with_streaming():
        with streamed(model, "blocks", device=CPU, count=5):
            velocities(model)

    two = 2 * slot_bytes(tensors_of(plain.blocks[0]))
    assert peak_live_bytes(with_streaming) == without + two
    assert two < sum(tensor.nbytes for tensor in tensors_of(plain.blocks)) / 2


def test_quantised_blocks_travel_as_they_are_stored(quantised_file, weights_file):
    """The very same numbers; what is moved are quantised ones, which the blocks widen once they are there."""
    plain, model = load_dit(quantised_file), load_dit(quantised_file)
    expected = velocities(plain, keys_values=False)
    assert not all_equal(velocities(load_dit(weights_file), keys_values=False), expected)
    block, wide = (load_dit(path).blocks[0] for path in (quantised_file, weights_file))
    size = sum(tensor.nbytes for tensor in tensors_of(block))
    with streamed(model, "blocks", device=CPU, count=5) as blocks:
        assert all_equal(velocities(model, keys_values=False), expected)
        assert blocks.bytes_moved == (2 * 5 + 1) * size
    assert size < 0.35 * sum(tensor.nbytes for tensor in tensors_of(wide))
    assert all_equal(velocities(model, keys_values=False), expected)


def test_of_quantised_blocks_two_are_alive(quantised_file, weights_file):
    """As they are stored; what a run makes beside them, one wide matrix among it, stays what it was."""
    plain = load_dit(quantised_file)
    without = peak_live_bytes(lambda: velocities(plain))

    def with_streaming(path):
        def run():
            with streamed(model, "blocks", device=CPU, count=5):
                velocities(model)

        model = load_dit(path)
        return peak_live_bytes(run)

    two = 2 * slot_bytes(tensors_of(plain.blocks[0]))
    assert with_streaming(quantised_file) == without + two
    assert two < sum(tensor.nbytes for tensor in tensors_of(plain.blocks)) / 2
    assert two < slot_bytes(tensors_of(load_dit(weights_file).blocks[0]))


def test_nothing_is_alive_afterwards(model):
    with torch.no_grad(), LiveMemory() as memory:
        with streamed(model, "blocks", device=CPU, count=5) as blocks:
            velocities(model)
            slots = [weakref.ref(slot) for slot in blocks._slots]
        del blocks
        gc.collect()
        assert [slot() for slot in slots] == [None, None]
        assert memory.live == 0


def test_a_step_moves_each_block_once(model):
    block = sum(tensor.nbytes for tensor in tensors_of(model.blocks[0]))
    with streamed(model, "blocks", device=CPU, count=5) as blocks:
        velocities(model, keys_values=False, steps=0)
        assert blocks.bytes_moved == 0  # contexts are made of no block's weights
        velocities(model, keys_values=False, steps=1)
        assert blocks.bytes_moved == (5 + 1) * block  # the first one has come for the next step
        velocities(model, keys_values=False, steps=3)
        assert blocks.bytes_moved == (4 * 5 + 1) * block


def test_only_streamed_blocks_move(model):
    block = sum(tensor.nbytes for tensor in tensors_of(model.blocks[0]))
    with streamed(model, "blocks", device=CPU, count=3) as blocks:
        velocities(model, keys_values=False, steps=2)
        assert blocks.bytes_moved == (2 * 3 + 1) * block


def test_branches_apart_move_three_times_as_much(model):
    target = torch.zeros(1, 4, SHAPE.frames, SHAPE.height, SHAPE.width)
    with torch.no_grad(), streamed(model, "blocks", device=CPU, count=5) as blocks:
        prepared = [model.prepare([condition], target, keys_values=False) for condition in conditions()]
        LockstepDiT(model).together(target, torch.tensor([500.0]), prepared)
        together = blocks.bytes_moved
        for branch in prepared:
            model(target, torch.tensor([500.0]), branch)
        assert blocks.bytes_moved - together == 3 * together * 5 // 6


class StopError(Exception):
    """What ends a pass early."""


def test_an_error_in_a_pass_leaves_nothing_behind(model, weights_file):
    expected = velocities(load_dit(weights_file))
    homes = [tensor.data_ptr() for tensor in tensors_of(model)]
    row, threads = model.blocks, threading.active_count()

    def fail(*_):
        raise StopError

    with pytest.raises(StopError), streamed(model, "blocks", device=CPU, count=5) as blocks:
        handle = blocks[2].register_forward_pre_hook(fail)
        try:
            velocities(model)
        finally:
            handle.remove()
    assert model.blocks is row
    assert [tensor.data_ptr() for tensor in tensors_of(model)] == homes
    assert blocks._slots == [] and threading.active_count() == threads
    assert all_equal(velocities(model), expected)


def test_a_pass_after_one_that_was_left_early(model, weights_file):
    expected = velocities(load_dit(weights_file))
    with streamed(model, "blocks", device=CPU, count=5) as blocks:
        left = iter(blocks)
        for _ in range(3):
            next(left)
        assert all_equal(velocities(model), expected)
        left.close()
        assert all_equal(velocities(model), expected)


def test_a_failed_copy_is_not_taken_for_a_block(model, weights_file, monkeypatch):
    expected = velocities(load_dit(weights_file))

    def refuse(*_):
        raise StopError

    with streamed(model, "blocks", device=CPU, count=5) as blocks:
        with monkeypatch.context() as patch, pytest.raises(StopError):
            patch.setattr(blocks._transfer, "fetch", refuse)
            velocities(model)
        assert all_equal(velocities(model), expected)


def test_it_is_a_list_of_blocks_like_any_other(model):
    row = model.blocks
    with streamed(model, "blocks", device=CPU, count=5) as blocks:
        assert len(blocks) == 5 and blocks[-1] is row[4]
        assert type(blocks[1:]) is nn.ModuleList and list(blocks[1:]) == list(row[1:])
        assert "LoomBlock" in repr(model) and blocks.bytes_moved == 0
        assert set(model.state_dict()) == set(copy.copy(row).state_dict(prefix="blocks.")) | {
            name for name in model.state_dict() if not name.startswith("blocks.")
        }


class Recorded:
    """A transfer that copies at once and writes down what was asked of it."""

    def __init__(self):
        self.calls = []

    def fetch(self, slot, copies):
        self.calls.append(("fetch", slot))
        for target, source in copies:
            target.copy_(source)

    def wait(self, slot):
        self.calls.append(("wait", slot))

    def done(self, slot):
        self.calls.append(("done", slot))

    def close(self):
        self.calls.append(("close",))


def test_copies_run_beside_the_block_before():
    """While a slot's block computes, the other slot is filled; what is fetched is waited for before it is used."""
    transfer = Recorded()
    row = [nn.Linear(4, 4) for _ in range(3)]
    blocks = StreamedBlocks(row, device=CPU, streamed=range(3), transfer=transfer)
    for _ in range(2):
        for _block in blocks:
            transfer.calls.append(("compute",))
    blocks.close()
    compute = ("compute",)
    turns = [
        [("wait", slot), compute, ("done", slot), ("fetch", 1 - slot)]  # after the work of this slot was handed on
        for slot in (0, 1, 0, 1, 0, 1)
    ]
    assert transfer.calls == [("fetch", 0), *chain(*turns), ("close",)]


@pytest.mark.parametrize(("count", "total"), [(0, 5), (1, 5), (3, 30), (7, 30), (29, 30), (30, 30)])
def test_streamed_blocks_are_spread(count, total):
    numbers = spread_evenly(count, total)
    assert len(numbers) == count
    gaps = {after - before for before, after in pairwise(numbers)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_too_little_memory_to_pin_is_said(monkeypatch, caplog):
    """The weights then stay where they were; no GPU is needed to find out."""
    monkeypatch.setattr(module, "available_memory", lambda: 100)
    row = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    before = [tensor.data_ptr() for tensor in tensors_of(row)]
    with caplog.at_level(logging.WARNING):
        blocks = StreamedBlocks(row, device=CPU, streamed=range(3))
        blocks._pin(module.PinnedMemory(CPU))
    assert [tensor.data_ptr() for tensor in tensors_of(row)] == before
    assert "too little memory to pin" in caplog.text
    blocks.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pin", [True, False])
def test_on_a_gpu(model, weights_file, pin):
    """The same numbers as with all weights there; pinned memory and the device's are given back."""
    device = torch.device("cuda")

    @torch.no_grad()
    def run(on_gpu):
        target = torch.zeros(1, 4, SHAPE.frames, SHAPE.height, SHAPE.width, device=device)
        prepared = [on_gpu.prepare([condition], target) for condition in conditions()]
        return [
            velocity
            for step in range(5)
            for velocity in LockstepDiT(on_gpu).together(target, torch.tensor([900.0 - step], device=device), prepared)
        ]

    expected = run(load_dit(weights_file, device=device))
    before = torch.cuda.memory_allocated()
    with streamed(model, "blocks", device=device, count=5, pin=pin) as blocks:
        assert all(tensor.is_pinned() for tensor in tensors_of(blocks)) == pin
        assert all_equal(run(model), expected)
    assert not any(tensor.is_pinned() for tensor in tensors_of(blocks))
    del blocks
    resident = sum(tensor.nbytes for tensor in tensors_of(model) if tensor.is_cuda)
    assert torch.cuda.memory_allocated() - before <= 2 * resident  # rounding of small tensors
