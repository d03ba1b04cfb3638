"""AdamW over named weights, in float32 whatever the model computes in.

A model in bfloat16 keeps a float32 copy of its weights here: at a learning rate of 2e-5 most updates are smaller than
the steps of bfloat16 and would be lost. Gradients of several packs are summed in float32 too, each as soon as the
backward pass has it, so that there is never a second set of them.

Of a model that is spread over several ranks each has its own rows here, as plain tensors; only the norm of the gradient
is taken over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from ..config.training import OptimiserSettings
from ..distributed.sharding import is_sharded, local_part
from ..errors import WeightsError

_MOMENTS = ("exp_avg", "exp_avg_sq")
_MASTER, _COUNT = "master", "step"


class Optimiser:
    """AdamW over the trained parameters of a model; its state goes by their names.

    Args:
        model: Its parameters that require a gradient are trained.
        settings: See `OptimiserSettings`.
        sum_over_ranks: Adds a number up over those that the model is spread over.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: OptimiserSettings,
        *,
        sum_over_ranks: Callable[[Tensor], Tensor] = lambda value: value,
    ) -> None:
        self._parameters = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._masters = {name: _master(weight, settings.device) for name, weight in self._parameters.items()}
        self._clip, self._sum = settings.clip, sum_over_ranks
        self.is_sharded = any(map(is_sharded, self._parameters.values()))
        """Whether these are parts of weights."""
        # torch's way with lists would hold another copy of all weights for a moment; fused is as fast
        self._is_fused = any(parameter.is_cuda for parameter in self._parameters.values())
        self._adamw = torch.optim.AdamW(
            list(self._masters.values()),
            lr=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            foreach=False,
            fused=self._is_fused,
        )
        for name, parameter in self._parameters.items():
            if self._has_copy(name):
                parameter.register_post_accumulate_grad_hook(partial(_take_gradient, self._masters[name]))

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The trained weights of the model itself, by name."""
        return self._parameters

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The trained weights by name, in float32."""
        return {name: weight.detach() for name, weight in self._masters.items()}

    def clip_gradients(self) -> float:
        """Scale the gradients down to the largest allowed norm; returns the norm before that, which may be infinite."""
        masters = list(self._masters.values())
        if not self.is_sharded:
            return float(torch.nn.utils.clip_grad_norm_(masters, self._clip))
        squares = [master.grad.norm().double().square() for master in masters if master.grad is not None]
        norm = float(self._sum(torch.stack(squares).sum()).sqrt())
        if norm > self._clip:
            for master in masters:
                if master.grad is not None:
                    master.grad.mul_(self._clip / norm)
        return norm

    @torch.no_grad()
    def step(self, *, lr: float) -> None:
        """Update the weights with the gradients of the backward passes since the last update, and forget those.

        Args:
            lr: Learning rate of this step.
        """
        for group in self._adamw.param_groups:
            group["lr"] = lr
        self._adamw.step()
        self.discard_gradients()
        for name, parameter in self._parameters.items():
            if self._has_copy(name):
                local_part(parameter).copy_(self._masters[name].to(parameter.dtype))

    def discard_gradients(self) -> None:
        """Forget the gradients."""
        for weight in (*self._masters.values(), *self._parameters.values()):
            weight.grad = None

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by kind and weight: moments, counts, float32 copies."""
        tensors: dict[str, Tensor] = {}
        for name, master in self._masters.items():
            entries = self._adamw.state.get(master, {})
            tensors |= {f"{kind}.{name}": entries[kind] for kind in (*_MOMENTS, _COUNT) if kind in entries}
            if self._is_narrow(name):
                tensors[f"{_MASTER}.{name}"] = master.detach()
        return tensors

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave, with a model that has the weights of then.

        Args:
            tensors: By kind and weight; copied.

        Raises:
            WeightsError: They are of another model or precision.
        """
        self._check(tensors)
        for name, master in self._masters.items():
            if self._has_copy(name):
                own = local_part(self._parameters[name])
                master.copy_(tensors[f"{_MASTER}.{name}"] if self._is_narrow(name) else own)
            if f"{_COUNT}.{name}" in tensors:
                moments = {kind: tensors[f"{kind}.{name}"].to(master.device, copy=True) for kind in _MOMENTS}
                count = tensors[f"{_COUNT}.{name}"].to(master.device if self._is_fused else "cpu", copy=True)
                self._adamw.state[master] = {_COUNT: count, **moments}

    def _has_copy(self, name: str) -> bool:
        """Whether what is updated is not the model's own weight."""
        return self._masters[name] is not self._parameters[name]

    def _is_narrow(self, name: str) -> bool:
        """Whether the model's own weight says less than its copy."""
        return self._parameters[name].dtype != torch.float32

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        allowed = {f"{kind}.{name}": master.shape for name, master in self._masters.items() for kind in _MOMENTS}
        allowed |= {f"{_COUNT}.{name}": torch.Size() for name in self._masters}
        needed = {f"{_MASTER}.{name}": master.shape for name, master in self._masters.items() if self._is_narrow(name)}
        allowed |= needed
        wrong = [name for name, tensor in tensors.items() if allowed.get(name) != tensor.shape]
        wrong += sorted(needed.keys() - tensors.keys())
        if wrong:
            raise WeightsError(
                f"the state of another optimiser ({len(wrong)} tensors do not fit, the first is {wrong[0]})",
                expected="that of this model in this precision",
                fix="resume with the config that the run was started with",
            )


def _master(parameter: nn.Parameter, place: str) -> nn.Parameter:
    """What is updated: the parameter itself, or a copy where it is narrower than float32 or has to lie elsewhere."""
    device = torch.device("cpu") if place == "cpu" else parameter.device
    if is_sharded(parameter):
        return nn.Parameter(local_part(parameter).to(device).float())
    if parameter.dtype == torch.float32 and parameter.device.type == device.type:
        return parameter
    return nn.Parameter(parameter.detach().to(device).float())


def _take_gradient(master: nn.Parameter, parameter: Tensor) -> None:
    """Add a gradient that a backward pass has just made to those of the copy."""
    assert parameter.grad is not None
    gradient = local_part(parameter.grad).to(master.device).float()
    parameter.grad = None
    if master.grad is None:
        master.grad = gradient
    else:
        master.grad.add_(gradient)
