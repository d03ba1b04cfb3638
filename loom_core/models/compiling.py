"""torch.compile for the blocks, which are nearly all of a forward pass.

All blocks share one graph: they differ in weights alone, which are inputs of it. Lengths are symbols in it, so that
neither another noise level nor another length of prompt or clip compiles anew; a batch with padding, or one with
references after one without, does. With references the last block, which leaves them out, has a graph of its own.
"""

from __future__ import annotations

from .dit import LoomDiT


def compile_blocks(model: LoomDiT, *, backend: str = "inductor") -> None:
    """Have every block compiled when it is first called.

    Args:
        model: Names and values of its weights stay.
        backend: Of torch.compile. "inductor" makes kernels, and needs a C++ compiler for a CPU, Triton for a GPU.
    """
    for block in model.blocks:
        block.compile(backend=backend, fullgraph=True, dynamic=True)
