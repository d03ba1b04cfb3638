"""The formulas of the DiT against live tensors of small models on the CPU, and of the released size on meta."""

import pytest
import torch

from benchmarks.live_memory import peak_live_bytes
from benchmarks.workloads import full_size_edits, random_condition
from loom_core.config.model import LOOMVIDEO_5B
from loom_core.models.attention import KeysValues
from loom_core.models.block import NUM_ROWS
from loom_core.models.projector import EXPANSION
from loom_core.planning.denoise import ForwardSizes, cache_bytes, condition_bytes, forward_bytes
from loom_core.planning.run import RunSizes
from loom_core.planning.sizes import MODULATION_ROWS, PROJECTOR_EXPANSION

BF16 = torch.bfloat16
WIDE = {"hidden_size": 192, "num_heads": 8, "ffn_dim": 256}
DEEP = {"num_layers": 6}
THIN = {"ffn_dim": 96, "num_layers": 2, "has_source": False}


@pytest.mark.parametrize(
    ("sizes", "given"),
    [
        ({"num_frames": 9}, {}),
        ({"num_frames": 1}, {}),
        ({"num_frames": 17, "width": 160}, {"dtype": BF16}),
        ({"num_frames": 9, "has_source": True}, {}),
        ({"num_frames": 9, "has_source": True}, {"dtype": BF16}),
        ({"num_frames": 9, "has_source": True}, {"keeps_keys_values": False}),
        ({"num_frames": 1, "has_source": True, "width": 256, "height": 256}, {}),
        ({"num_frames": 1, "has_source": True, "width": 256, "height": 256}, {"keeps_keys_values": False}),
        ({"num_frames": 1, "has_source": True, "num_references": 2, "width": 128, "height": 128}, {"dtype": BF16}),
        ({"num_frames": 5, "num_references": 3, "width": 128, "height": 160}, {}),
        ({"num_frames": 5, "num_references": 3, "width": 128, "height": 160}, {"dtype": BF16}),
        ({"num_frames": 13, "has_source": True, "num_references": 4}, {}),
        ({"num_frames": 13, "has_source": True, "num_references": 4}, {"dtype": BF16, "keeps_keys_values": False}),
        ({"num_frames": 33, "has_source": True, "width": 192, "height": 128}, WIDE),
        ({"num_frames": 33, "has_source": True, "width": 192, "height": 128}, {**WIDE, "dtype": BF16}),
        ({"num_frames": 9, "num_references": 1}, THIN),
        ({"num_frames": 25, "width": 128, "height": 128}, {**THIN, "dtype": BF16}),
        ({"num_frames": 9, "has_source": True}, {**DEEP, "streamed_blocks": 6}),
        ({"num_frames": 9, "has_source": True}, {**DEEP, "streamed_blocks": 4, "dtype": BF16}),
        ({"num_frames": 5, "width": 64}, {**DEEP, "streamed_blocks": 6}),
        ({"num_frames": 1, "has_source": True, "num_references": 2, "width": 128}, {**DEEP, "streamed_blocks": 6}),
        ({"num_frames": 13, "has_source": True}, {**DEEP, "streamed_blocks": 6, "keeps_keys_values": False}),
        ({"num_frames": 33, "num_references": 1, "width": 192}, {"streamed_blocks": 3, "dtype": BF16}),
    ],
)
def test_within_a_tenth_of_what_is_alive(denoise_peaks, sizes, given):
    run = RunSizes(**{"width": 96, "height": 64, **sizes})
    measured, predicted = denoise_peaks(run, **given)
    assert predicted == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("scheme", ["fp8", "int8", "gguf-q8_0", "gguf-q4_0"])
@pytest.mark.parametrize("streamed_blocks", [0, 4, 6])
@pytest.mark.parametrize("dtype", [torch.float32, BF16])
def test_quantised_weights_within_a_tenth(denoise_peaks, scheme, streamed_blocks, dtype):
    """Slots hold them as they are stored; a matrix is wide where it is used, one at a time."""
    pytest.importorskip("gguf", reason="two of the forms are GGUF's")
    run = RunSizes(width=96, height=64, num_frames=9, has_source=True)
    given = {**DEEP, "dtype": dtype, "scheme": scheme, "streamed_blocks": streamed_blocks}
    measured, predicted = denoise_peaks(run, **given)
    assert predicted == pytest.approx(measured, rel=0.1)


def bytes_of(prepared):
    contexts = [pair if isinstance(pair, KeysValues) else [pair] for pair in prepared.contexts]
    tensors = [tensor for context in contexts for tensor in context]
    tensors += [prepared.source, prepared.rope.cos, prepared.rope.sin, prepared.rope.rotation]
    if prepared.references is not None:
        tensors += [prepared.references.tokens, prepared.references.rope.cos, prepared.references.rope.sin]
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("keeps_keys_values", [True, False])
@pytest.mark.parametrize("key", ["edit_480p81", "edit_480p81_4ref", "edit_720p121", "edit_image1024"])
def test_the_released_size_on_meta(released_dit, key, keeps_keys_values):
    """A forward pass of each branch, and what is prepared for it."""
    for branch, workload in full_size_edits()[key].items():
        shape = workload.target
        latents = torch.empty(1, 48, shape.frames, shape.height, shape.width, device="meta", dtype=BF16)
        condition = random_condition(workload, device="meta", dtype=BF16)
        with torch.no_grad():
            prepared = released_dit.prepare([condition], latents, keys_values=keeps_keys_values)
        timestep = torch.full((1,), 500.0, device="meta")
        counted = peak_live_bytes(lambda: released_dit(latents, timestep, prepared))  # noqa: B023 - called at once
        sizes = ForwardSizes(
            config=LOOMVIDEO_5B,
            target=shape.tokens,
            references=workload.reference_tokens,
            context=workload.context_tokens,
            itemsize=2,
            on_gpu=True,
            keeps_keys_values=keeps_keys_values,
        )
        assert forward_bytes(sizes)[1] == pytest.approx(counted, rel=0.01), branch
        held = cache_bytes(LOOMVIDEO_5B, sizes.context, itemsize=2, keeps_keys_values=keeps_keys_values)
        held += condition_bytes(LOOMVIDEO_5B, target=sizes.target, references=sizes.references, itemsize=2)
        assert held == bytes_of(prepared), branch


@pytest.mark.parametrize("dtype", [torch.float32, BF16])
@pytest.mark.parametrize(
    "sizes", [{"num_frames": 9, "has_source": True}, {"num_frames": 5, "has_source": True, "num_references": 2}]
)
def test_all_branches_in_one_pass(packed_peaks, sizes, dtype):
    """Padded to the longest context and to the references that the unconditional branch lacks."""
    measured, predicted = packed_peaks(RunSizes(width=160, height=128, **sizes), dtype=dtype)
    assert predicted == pytest.approx(measured, rel=0.1)


def test_numbers_of_the_model_are_the_model_s_own():
    assert (MODULATION_ROWS, PROJECTOR_EXPANSION) == (NUM_ROWS, EXPANSION)
