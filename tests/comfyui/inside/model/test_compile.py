"""The host's TorchCompileModel."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.slow
def test_compiled_it_is_the_same(model, noise, velocities, conditioning, make_condition, monkeypatch):
    """Twice in a row, with another prompt length and another source: compiled again where it must be, never wrong."""
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    torch._dynamo.reset()
    compiled = TorchCompileModel.execute(model, "inductor").args[0]
    from comfy.patcher_extension import merge_nested_dicts

    wrappers = merge_nested_dicts({}, compiled.wrappers)
    for length, references in ((5, [(1, 2, 4)]), (7, [])):
        made = conditioning(make_condition(length, source=(3, 4, 6), references=references, seed=length))
        (velocity,) = velocities(compiled, noise, made, wrappers=wrappers)
        torch.testing.assert_close(velocity, velocities(model, noise, made)[0], atol=1e-4, rtol=1e-4)
