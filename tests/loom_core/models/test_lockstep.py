"""Branches together give what they give apart."""

import torch

from loom_core.models.lockstep import LockstepDiT
from loom_core.protocols import JointDenoiser
from loom_core.types import Condition, Reference


@torch.no_grad()
def test_the_very_same_velocities(small_model, small_config):
    generator = torch.Generator().manual_seed(1)

    def noise(*size):
        return torch.randn(size, generator=generator)

    def states(length):
        return tuple(noise(length, small_config.mllm_dim) for _ in range(small_config.num_layers))

    latents, timestep = noise(1, 4, 3, 4, 6), torch.tensor([700.0])
    source = noise(4, 3, 4, 6)
    conditions = [
        Condition(states(4)),
        Condition(states(6), source, (Reference(noise(4, 1, 4, 6)),)),
        Condition(states(9), source),
    ]
    prepared = [small_model.prepare([condition], latents) for condition in conditions]
    apart = [small_model(latents, timestep, branch) for branch in prepared]
    lockstep = LockstepDiT(small_model)
    assert isinstance(lockstep, JointDenoiser)
    assert not isinstance(small_model, JointDenoiser)
    together = lockstep.together(latents, timestep, prepared)
    assert all(torch.equal(one, other) for one, other in zip(together, apart, strict=True))
    assert torch.equal(lockstep(latents, timestep, prepared[1]), apart[1])


@torch.no_grad()
def test_each_block_has_its_turn_once(small_model, small_config):
    """Whatever the number of branches: the turns of blocks are what streamed weights cost."""
    latents = torch.zeros(1, 4, 1, 4, 4)
    states = tuple(torch.ones(2, small_config.mllm_dim) for _ in range(small_config.num_layers))
    prepared = small_model.prepare([Condition(states)], latents)
    order = []
    handles = [
        block.register_forward_pre_hook(lambda *_, number=number: order.append(number))
        for number, block in enumerate(small_model.blocks)
    ]
    LockstepDiT(small_model).together(latents, torch.tensor([1.0]), [prepared] * 3)
    for handle in handles:
        handle.remove()
    assert order == [0, 0, 0, 1, 1, 1, 2, 2, 2]
