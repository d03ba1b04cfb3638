"""AdamW, or Muon for the matrices, over named weights, in float32 whatever the model computes in.

Muon (ours; the official run has AdamW alone) makes of a matrix's averaged gradient about the nearest one whose singular
values are all 1, so that a step is as large in directions that seldom come up. Its updates are scaled to the size of
AdamW's, and one rate serves both. It keeps one moment instead of two, and computes: for the 5B about 0.4 PFLOP a step.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the scale is that of Liu et al.,
"Muon is Scalable for LLM Training", arXiv 2502.16982. Both as torch has them.

A model in bfloat16 keeps a float32 copy of its weights here: at a learning rate of 2e-5 most updates are smaller than
the steps of bfloat16 and would be lost. Gradients of several packs are summed in float32 too, each as soon as the
backward pass has it, so that there is never a second set of them.

Of a model that is spread over several ranks each has its own rows here, as plain tensors; only the norm of the gradient
is taken over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..config.training import OptimiserKind, OptimiserSettings
from ..distributed.sharding import is_sharded, local_part
from ..errors import ConfigError, WeightsError

_MASTER, _COUNT = "master", "step"
_ADAMW_MOMENTS, _MUON_MOMENTS = ("exp_avg", "exp_avg_sq"), ("momentum_buffer",)
_MUON_MOMENTUM = 0.95
_MATRIX_DIMS = (2, 5)
_KEPT_FROM_MUON = "time_embedding."


def is_matrix(name: str, weight: Tensor) -> bool:
    """Whether Muon updates a weight; AdamW has the others: biases, norms, modulation tables and the time embedding.

    Matrices are the weights of all other linear layers, a LoRA's factors too, and the convolutions of the patch
    embeddings, [out, in, frames, height, width], as [out, all that an output sees].

    Args:
        name: Of the parameter in the model.
        weight: The parameter, or a tensor of its shape.
    """
    return weight.dim() in _MATRIX_DIMS and not name.startswith(_KEPT_FROM_MUON)


def moments_like(weights: Mapping[str, Tensor], kind: OptimiserKind) -> list[Tensor]:
    """The weights, each as often as a moment of its shape is kept of it.

    Args:
        weights: By name.
        kind: Of the optimiser.
    """
    return [
        weight
        for name, weight in weights.items()
        for _ in (_MUON_MOMENTS if kind == "muon" and is_matrix(name, weight) else _ADAMW_MOMENTS)
    ]


def check_possible(settings: OptimiserSettings) -> None:
    """Refuse an optimiser that this torch does not have.

    Raises:
        ConfigError: It has none.
    """
    if settings.kind == "muon" and not hasattr(torch.optim, "Muon"):
        raise ConfigError(
            f"optimiser.kind muon with torch {torch.__version__}, which has no Muon",
            expected="torch 2.9 or newer",
            fix="update torch, or train with optimiser.kind=adamw",
        )


class Optimiser:
    """Updates the trained parameters of a model; its state goes by their names.

    Args:
        model: Its parameters that require a gradient are trained.
        settings: See `OptimiserSettings`.
        sum_over_ranks: Adds a number up over those that the model is spread over.

    Raises:
        ConfigError: The kind of optimiser is not there, or cannot have a part of a weight.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: OptimiserSettings,
        *,
        sum_over_ranks: Callable[[Tensor], Tensor] = lambda value: value,
    ) -> None:
        check_possible(settings)
        self._parameters = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._masters = {name: _master(weight, settings.device) for name, weight in self._parameters.items()}
        self._clip, self._sum = settings.clip, sum_over_ranks
        self.is_sharded = any(map(is_sharded, self._parameters.values()))
        """Whether these are parts of weights."""
        if self.is_sharded:
            settings.check_shared()
        is_fused = any(parameter.is_cuda for parameter in self._parameters.values())
        self._updates = _updates(self._masters, settings, fused=is_fused)
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
        for update in self._updates:
            update.step(lr)
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
        for update in self._updates:
            tensors |= update.state()
        copies = {name: master for name, master in self._masters.items() if self._is_narrow(name)}
        return tensors | {f"{_MASTER}.{name}": master.detach() for name, master in copies.items()}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave, with a model that has the weights of then.

        Args:
            tensors: By kind and weight; copied.

        Raises:
            WeightsError: They are of another model, precision or kind of optimiser.
        """
        self._check(tensors)
        for name, master in self._masters.items():
            if self._has_copy(name):
                own = local_part(self._parameters[name])
                master.copy_(tensors[f"{_MASTER}.{name}"] if self._is_narrow(name) else own)
        for update in self._updates:
            update.load_state(tensors)

    def _has_copy(self, name: str) -> bool:
        """Whether what is updated is not the model's own weight."""
        return self._masters[name] is not self._parameters[name]

    def _is_narrow(self, name: str) -> bool:
        """Whether the model's own weight says less than its copy."""
        return self._parameters[name].dtype != torch.float32

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        allowed = {name: shape for update in self._updates for name, shape in update.shapes().items()}
        needed = {f"{_MASTER}.{name}": master.shape for name, master in self._masters.items() if self._is_narrow(name)}
        allowed |= needed
        wrong = [name for name, tensor in tensors.items() if allowed.get(name) != tensor.shape]
        wrong += sorted(needed.keys() - tensors.keys())
        if wrong:
            raise WeightsError(
                f"the state of another optimiser ({len(wrong)} tensors do not fit, the first is {wrong[0]})",
                expected="that of this model, kind of optimiser and precision",
                fix="resume with the config that the run was started with",
            )


class _Update:
    """One of torch's optimisers over some of the weights, its state by their names.

    Args:
        masters: The weights.
        seen: What of each torch sees, in the same memory: itself, or a matrix.
        inner: Over what torch sees.
        kinds: What it keeps of each: moments of its shape, and a count of steps.
    """

    def __init__(
        self,
        masters: Mapping[str, nn.Parameter],
        seen: Mapping[str, nn.Parameter],
        inner: torch.optim.Optimizer,
        kinds: Sequence[str],
    ) -> None:
        self._masters, self._seen, self._inner, self._kinds = masters, seen, inner, kinds

    def step(self, lr: float) -> None:
        """Update the weights that have a gradient."""
        for group in self._inner.param_groups:
            group["lr"] = lr
        views = [(self._masters[name], seen) for name, seen in self._seen.items() if seen is not self._masters[name]]
        for master, seen in views:
            seen.grad = None if master.grad is None else master.grad.reshape(seen.shape)
        self._inner.step()
        for _, seen in views:
            seen.grad = None

    def shapes(self) -> dict[str, torch.Size]:
        """Of all that there may be in a state."""
        return {
            f"{kind}.{name}": torch.Size() if kind == _COUNT else master.shape
            for name, master in self._masters.items()
            for kind in self._kinds
        }

    def state(self) -> dict[str, Tensor]:
        """Of the weights that were updated yet."""
        shapes, kept = self.shapes(), self._inner.state
        return {
            f"{kind}.{name}": kept[seen][kind].reshape(shapes[f"{kind}.{name}"])
            for name, seen in self._seen.items()
            for kind in self._kinds
            if kind in kept.get(seen, {})
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave, which is copied; other tensors are passed over."""
        for name, seen in self._seen.items():
            if not any(f"{kind}.{name}" in tensors for kind in self._kinds):
                continue
            own = {kind: tensors[f"{kind}.{name}"] for kind in self._kinds}
            self._inner.state[seen] = {kind: _placed(tensor, seen) for kind, tensor in own.items()}


def _placed(tensor: Tensor, seen: Tensor) -> Tensor:
    """A copy of a moment as the weight lies that it is of; or of a count, which only a GPU wants beside its weight."""
    if tensor.dim():
        return tensor.to(seen.device, copy=True).view(seen.shape)
    return tensor.to(seen.device if seen.is_cuda else "cpu", copy=True)


def _updates(masters: Mapping[str, nn.Parameter], settings: OptimiserSettings, *, fused: bool) -> list[_Update]:
    """What updates some weights; between them each weight has one."""
    of_muon = {name: weight for name, weight in masters.items() if settings.kind == "muon" and is_matrix(name, weight)}
    of_adamw = {name: weight for name, weight in masters.items() if name not in of_muon}
    updates = [_adamw(of_adamw, settings, fused=fused)] if of_adamw else []
    return [*updates, _muon(of_muon, settings)] if of_muon else updates


def _adamw(masters: Mapping[str, nn.Parameter], settings: OptimiserSettings, *, fused: bool) -> _Update:
    # torch's way with lists would hold another copy of all weights for a moment; fused is as fast
    inner = torch.optim.AdamW(
        list(masters.values()),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        foreach=False,
        fused=fused,
    )
    return _Update(masters, masters, inner, (*_ADAMW_MOMENTS, _COUNT))


def _muon(masters: Mapping[str, nn.Parameter], settings: OptimiserSettings) -> _Update:
    seen = {
        name: master if master.dim() == _MATRIX_DIMS[0] else nn.Parameter(master.detach().view(len(master), -1))
        for name, master in masters.items()
    }
    inner = torch.optim.Muon(
        list(seen.values()),
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        momentum=_MUON_MOMENTUM,
        nesterov=True,
        adjust_lr_fn="match_rms_adamw",
    )
    return _Update(masters, seen, inner, _MUON_MOMENTS)


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
