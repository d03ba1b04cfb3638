"""What a run on a GPU does to fit into the memory that is free there, as planned before anything is loaded.

The VAE's tiles are not chosen here but when it is about to work, from what is free then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ResourceError
from ..planning.choice import Fitted, choose
from ..planning.plan import DENOISE, PROMPT, Setting
from ..planning.run import RunSizes
from ..planning.sizes import FORMATS, MLLMSizes, ModelSizes, WeightFormat
from .compute import ComputeWords

if TYPE_CHECKING:
    import torch

    from ..bundle import ModelFiles
    from ..compute import Compute
    from ..config.model import DiTConfig
    from ..request import Plan


def run_sizes(plan: Plan) -> RunSizes:
    """The sizes of a planned run, with the branches of guidance that it has."""
    from ..pipeline import weights_of

    request = plan.request
    sizes = RunSizes(
        width=plan.width,
        height=plan.height,
        num_frames=plan.num_frames,
        has_source=request.source is not None,
        num_references=len(request.references),
        mllm_frames=request.mllm_frames,
    )
    running = weights_of(plan)
    contexts = {branch: length for branch, length in sizes.branches.items() if branch in running}
    return replace(sizes, contexts=contexts)


def setting_of(compute: Compute, words: ComputeWords, plan: Plan, files: ModelFiles, *, config: DiTConfig) -> Setting:
    """What is planned for: the run and the model at their sizes, as they will be computed.

    Args:
        compute: Where, and in which precision; compiled or quantised ones stay where they are.
        words: What the user said.
        plan: What is done.
        files: Of the model.
        config: Of the DiT.
    """
    from ..mllm.loading import read_config
    from ..vae.loading import codec_sizes

    folder = files.mllm if files.mllm.is_dir() else files.mllm.parent
    values = read_config(files.mllm_config or folder / "config.json", needed=False)
    return Setting(
        run=run_sizes(plan),
        model=ModelSizes(dit=config, mllm=MLLMSizes.from_config(values), vae=codec_sizes(files.codec)),
        form=_stored_form(files.dit, compute.dtype, ema=files.ema)
        if compute.quantises is None
        else replace(_computed_form(compute.dtype), name=compute.quantises, matrix_itemsize=1),
        mllm_form=_stored_form(files.mllm, compute.dtype),
        on_gpu=compute.device.type != "cpu",
        codec_itemsize=compute.codec_dtype.itemsize,
        offload="none" if compute.compiles or compute.quantises else words.offload or "auto",
    )


def fit_to_gpu(
    compute: Compute,
    words: ComputeWords,
    plan: Plan,
    files: ModelFiles,
    *,
    config: DiTConfig,
    say: Callable[[str], None],
) -> Compute:
    """A way to compute that fits what is free on a CUDA device, as far as the user left the choice open.

    Args:
        compute: As chosen without regard to memory.
        words: What the user said.
        plan: What is done.
        files: Of the model.
        config: Of the DiT.
        say: Told what was changed and what it costs, or that the run will hardly fit; it is tried all the same, since
            the plan is an estimate.
    """
    if compute.device.type != "cuda" or files.is_built_in:
        return compute

    import torch

    setting = setting_of(compute, words, plan, files, config=config)
    free, _ = torch.cuda.mem_get_info(compute.device)
    try:
        chosen = choose(setting, free)
    except ResourceError as error:
        say(f"note: this may run out of memory: {error}")
        return compute
    reasons = {entry.phase.name: entry for entry in chosen.fitted}
    measures = chosen.measures
    if words.mllm_device is None and (measures.mllm_on_cpu or measures.streams_mllm):
        _say_why(reasons[PROMPT], say)
        mllm_device = torch.device("cpu") if measures.mllm_on_cpu else None
        compute = replace(compute, mllm_device=mllm_device, streams_mllm=measures.streams_mllm)
    keeps = compute.keeps_keys_values if words.cache is not None else measures.keeps_keys_values
    if measures.streamed_blocks or keeps != compute.keeps_keys_values:
        _say_why(reasons[DENOISE], say)
        compute = replace(compute, keeps_keys_values=keeps, streamed_blocks=measures.streamed_blocks)
    return compute


def _computed_form(dtype: torch.dtype) -> WeightFormat:
    return FORMATS[{"torch.float32": "fp32", "torch.float16": "fp16"}.get(str(dtype), "bf16")]


def _stored_form(path: Path, dtype: torch.dtype, *, ema: bool = True) -> WeightFormat:
    """The format of a file's weights in memory: that in which they are computed, or smaller where it is quantised."""
    from ..weights.packing import with_packings
    from ..weights.reading import open_checkpoint

    computed = _computed_form(dtype)
    checkpoint = with_packings(open_checkpoint(path, ema=ema))
    packed = [checkpoint.infos[name] for name in checkpoint.packings]
    if not packed:
        return computed
    share = sum(info.num_bytes for info in packed) / sum(info.num_elements for info in packed)
    forms = {packing.form for packing in checkpoint.packings.values()}
    return replace(computed, name="/".join(sorted(forms)), matrix_itemsize=share)


def _say_why(fitted: Fitted, say: Callable[[str], None]) -> None:
    say(f"note: to fit the GPU's free memory, {fitted.reason}")
