"""Cascaded guidance as a GUIDER: up to three branches a step, of which only those that count are run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from comfy import model_management
from comfy.samplers import CFGGuider, calc_cond_batch
from torch import Tensor

from ....loom_core.config.sampling import SamplingConfig
from ....loom_core.errors import LoomError
from ....loom_core.geometry import video_frames
from ....loom_core.sampling.guidance import branch_weights, combine
from ....loom_core.sampling.shortcuts import Reuse
from ....loom_core.types import Branch
from ..conditioning import Conditioning, has_visual
from ..memory import free_and_retry, free_others
from .checks import check_conditioning, check_latents, config_of, describe_size

NAMES: dict[Branch, str] = {Branch.FULL: "positive", Branch.UNCONDITIONAL: "negative", Branch.VISUAL: "visual"}
"""Name of each branch's conditioning. Order matters: the host and its extensions take the first for the positive and
the second for the negative one."""


class Watch(Protocol):
    """Is told what a guider is about to do."""

    def loads(self) -> None:
        """The model goes to its device, again after memory ran out."""

    def evaluates(self, branches: Sequence[Branch]) -> None:
        """A step predicts with these branches; none where all is extrapolated."""


class CascadedGuider(CFGGuider):
    """v = v_u + s_v (v_visual - v_u) + s_t (v_full - v_visual), on the denoised predictions.

    Whatever the host does to a plain CFG guider holds for this one: conditionings may be combined and limited to a part
    of the run, branches are batched where memory allows and split over GPUs, hooks and context windows work.

    Args:
        model: The host's model patcher of a LoomVideo model.
        positive: Of the full prompt.
        negative: Of the negative prompt, without source and references.
        visual: Of the vision spans alone; None guides by the text alone.
        settings: Its guidance_scale is s_t, its visual_guidance_scale s_v; its shortcuts say what may be left out.

    Raises:
        WeightsError: The model is of another kind.
        ConfigError: A conditioning was made for another model.
    """

    def __init__(
        self,
        model: Any,
        *,
        positive: Conditioning,
        negative: Conditioning,
        visual: Conditioning | None = None,
        settings: SamplingConfig,
    ) -> None:
        config = config_of(model)
        given = {"positive": positive, "negative": negative}
        if visual is not None and has_visual(positive):
            given["visual"] = visual
        for name, conditioning in given.items():
            check_conditioning(conditioning, config=config, name=name)
        super().__init__(model)
        self.notice = _notice(positive, visual)
        """What the user should know about the branches; empty if all is as usual."""
        self.guidance_scale = settings.guidance_scale
        self.visual_guidance_scale = settings.visual_guidance_scale
        self.weights = branch_weights(
            settings.guidance_scale, settings.visual_guidance_scale, has_visual="visual" in given
        )
        self.watch: Watch | None = None
        self._config = config
        self._shortcuts = settings.shortcuts
        self._one_by_one = False
        self._reuse: Reuse | None = None
        self._sigmas: Sequence[float] = ()
        self.inner_set_conds(given)
        self.set_cfg(settings.guidance_scale)

    def describe(self) -> str:
        """The scales and the branches that run, in one line."""
        scales = f"guidance {self.guidance_scale:g}"
        if "visual" in self.original_conds:
            scales += f", visual guidance {self.visual_guidance_scale:g}"
        return f"{scales}: {describe_branches(self.weights)}"

    def sample(
        self, noise: Tensor, latent_image: Tensor, sampler: Any, sigmas: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Denoise; see the host's `CFGGuider.sample`.

        Raises:
            ConfigError: The latents do not fit the model or the source.
            ResourceError: Memory ran out, also with the branches one after another.
            LoomError: The result is not finite.
        """
        conditions = [values for conditioning in self.original_conds.values() for values in conditioning]
        check_latents(latent_image, config=self._config, conditions=conditions)
        logging.info("LoomVideo: %s", self.describe())
        if self.notice:
            logging.warning("LoomVideo: %s", self.notice)
        self._one_by_one = False
        self._sigmas = sigmas[:-1].tolist()

        def attempt() -> Tensor:
            self._reuse = None
            if self.watch is not None:
                self.watch.loads()
            try:
                # a copy of the sigmas: the host's own uni_pc writes into those it is given
                return super(CascadedGuider, self).sample(noise, latent_image, sampler, sigmas.clone(), *args, **kwargs)
            finally:
                # the host lets go of these only when all goes well, and it keeps guiders for the next run
                for name in ("inner_model", "conds", "loaded_models"):
                    self.__dict__.pop(name, None)
                self._reuse = None

        result = free_and_retry(
            attempt,
            what=f"denoising {describe_size(latent_image)}",
            expected=lambda: what_fits(self.model_patcher, latent_image),
        )
        check_finite(result)
        return result

    def predict_noise(
        self, x: Tensor, timestep: Tensor, model_options: dict[str, Any] | None = None, seed: int | None = None
    ) -> Tensor:
        """The guided prediction of the clean latents, [B, C, F, H, W]; see the host's `CFGGuider.predict_noise`."""
        del seed  # as in the host's own guider, nothing is drawn here
        options = {} if model_options is None else model_options
        branches = self._branches()
        run_all = bool(options.get("disable_cfg1_optimization", False))
        conds = [self.conds[NAMES[branch]] if run_all or branch in self.weights else None for branch in branches]
        predictions = self._predict_or_reuse(branches, conds, x, timestep, options)
        scale = self.guidance_scale if len(self.weights) > 1 else 1.0
        common = {"input": x, "sigma": timestep, "model": self.inner_model, "model_options": options}
        common["cond_scale"] = scale
        for function in options.get("sampler_pre_cfg_function", []):
            changed = list(function({"conds": conds, "conds_out": predictions, "timestep": timestep, **common}))
            predictions = changed + predictions[len(changed) :]

        by_branch = dict(zip(branches, predictions, strict=True))
        denoised = self._combine(by_branch, conds, {"timestep": timestep, **common})
        away = _guided_away_from(self.weights) if conds[1] is None else Branch.UNCONDITIONAL
        ends = {"cond_denoised": by_branch[Branch.FULL], "uncond_denoised": by_branch[away]}
        for function in options.get("sampler_post_cfg_function", []):
            denoised = function({"denoised": denoised, "cond": conds[0], "uncond": conds[1], **ends, **common})
        return denoised

    def _branches(self) -> list[Branch]:
        """Every branch that has a conditioning, in the host's order."""
        return [branch for branch, name in NAMES.items() if name in self.conds]

    def _combine(self, predictions: Mapping[Branch, Tensor], conds: list[Any], args: dict[str, Any]) -> Tensor:
        """The guided prediction, by an extension's own formula where the model has one.

        Such a formula (`sampler_cfg_function`) knows two ends. It takes the place of the text guidance, from the
        visual branch to the full one; the visual guidance, from the unconditional branch to the visual one, is added.
        """
        function = args["model_options"].get("sampler_cfg_function")
        if function is None:
            return combine(predictions, self.weights)
        x, full = args["input"], predictions[Branch.FULL]
        away_branch = _guided_away_from(self.weights)
        away = predictions[away_branch]
        ends = {"cond": x - full, "uncond": x - away, "cond_denoised": full, "uncond_denoised": away}
        result = x - function({**args, **ends, "input_cond": conds[0], "input_uncond": conds[1]})
        if away_branch is Branch.VISUAL and Branch.UNCONDITIONAL in self.weights:
            result = result + self.weights[Branch.UNCONDITIONAL] * (predictions[Branch.UNCONDITIONAL] - away)
        return result

    def _predict_or_reuse(
        self, branches: list[Branch], conds: list[Any], x: Tensor, timestep: Tensor, options: dict[str, Any]
    ) -> list[Tensor]:
        """As `_predict`; what the shortcuts leave out is not run, and stands in as if it had been."""
        level = float(timestep[0])
        if self._shortcuts.is_exact or level == 0:  # a velocity is the way to go over sigma, which is none at 0
            self._tell([branch for branch, cond in zip(branches, conds, strict=True) if cond is not None])
            return self._predict(conds, x, timestep, options)
        wanted = {
            branch: self.weights.get(branch, 0.0)
            for branch, cond in zip(branches, conds, strict=True)
            if cond is not None
        }
        if self._reuse is None:
            self._reuse = Reuse(self._shortcuts, wanted, self._sigmas)
        due = self._reuse.due(x, level)
        self._tell(due)
        predictions = [torch.zeros_like(x)] * len(conds)
        if due:
            run = [cond if branch in due else None for branch, cond in zip(branches, conds, strict=True)]
            predictions = self._predict(run, x, timestep, options)
        sigma = timestep.reshape(-1, 1, 1, 1, 1)
        computed = {one: (x - made) / sigma for one, made in zip(branches, predictions, strict=True) if one in due}
        velocities = self._reuse.complete(level, computed)
        return [
            x - sigma * velocities[branch] if branch in velocities and branch not in due else made
            for branch, made in zip(branches, predictions, strict=True)
        ]

    def _tell(self, branches: Sequence[Branch]) -> None:
        if self.watch is not None:
            self.watch.evaluates(branches)

    def _predict(self, conds: list[Any], x: Tensor, timestep: Tensor, options: dict[str, Any]) -> list[Tensor]:
        """Denoised prediction of each branch; zeros for one whose conditioning is None, which is not run."""

        def alone(index: int) -> Tensor:
            only = [cond if place == index else None for place, cond in enumerate(conds)]
            return calc_cond_batch(self.inner_model, only, x, timestep, options)[index]

        function: Callable[[dict[str, Any]], list[Tensor]] | None = options.get("sampler_calc_cond_batch_function")

        def by_extension() -> list[Tensor]:
            assert function is not None
            # an extension's function takes a pair; it knows nothing of a third branch
            args = {"conds": conds[:2], "input": x, "sigma": timestep, "model": self.inner_model}
            return [*function({**args, "model_options": options}), *(alone(index) for index in range(2, len(conds)))]

        def together() -> list[Tensor]:
            return calc_cond_batch(self.inner_model, conds, x, timestep, options)

        def one_by_one() -> list[Tensor]:
            self._one_by_one = True  # for the rest of the run, or every step would run out of memory first
            return [torch.zeros_like(x) if cond is None else alone(index) for index, cond in enumerate(conds)]

        first, second = (together, one_by_one) if function is None else (by_extension, by_extension)
        return free_and_retry(
            second if self._one_by_one else first,
            then=second,
            what=f"denoising {describe_size(x)}, the branches one after another",
            free=lambda: free_others([self.model_patcher, *self.loaded_models]),
            expected=lambda: what_fits(self.model_patcher, x),
        )


def describe_branches(weights: Mapping[Branch, float]) -> str:
    """The branches that run, for a user."""
    return " + ".join(branch.value for branch in NAMES if branch in weights)


def _guided_away_from(weights: Mapping[Branch, float]) -> Branch:
    """The branch that text guidance leads away from: the visual one where it runs."""
    return Branch.VISUAL if Branch.VISUAL in weights else Branch.UNCONDITIONAL


def _notice(positive: Conditioning, visual: Conditioning | None) -> str:
    """What a user should know about the branches that the connected conditionings lead to."""
    if visual is not None and has_visual(visual) and not has_visual(positive):
        return "the visual conditioning is ignored, since the positive one has neither a source nor references"
    if visual is None and has_visual(positive):
        return (
            "no visual conditioning is connected: guidance by the text alone, where the official run has a third branch"
        )
    return ""


def what_fits(model: Any, latents: Tensor) -> str:
    """How many frames would fit into the memory that is free, by the host's estimate; empty where it is of no help.

    Args:
        model: The host's model patcher.
        latents: [B, C, F, H, W] that did not fit.
    """
    free = model_management.get_free_memory(model.load_device)
    batch, channels, frames, height, width = latents.shape

    def fits(count: int) -> bool:
        return model.model.memory_required([batch, channels, count, height, width]) <= free

    most = next((count for count in range(frames, 0, -1) if fits(count)), 0)
    return f"at most about {video_frames(most)} frames at this size" if 0 < most < frames else ""


def check_finite(latents: Tensor) -> None:
    """Refuse a result that is not a number.

    Raises:
        LoomError: It has numbers that are not finite.
    """
    if not bool(torch.isfinite(latents).all()):
        raise LoomError(
            "latents that are not finite after denoising",
            expected="finite numbers",
            fix="load the model with another weight_dtype (fp16 overflows; bf16 and fp32 do not), lower the guidance, "
            "or check the weights with `python -m loom_core.cli.inspect`",
        )
