"""What a plan of memory needs to know of the host: sizes and number formats of loaded parts, and the device."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from comfy import model_management

from ...loom_core.bundle import find_model
from ...loom_core.config.model import LOOMVIDEO_5B
from ...loom_core.doctor.files import check_pair
from ...loom_core.errors import ConfigError, WeightsError
from ...loom_core.mllm.loading import read_config
from ...loom_core.mllm.sizes import QwenSizes
from ...loom_core.planning.choice import GIGA
from ...loom_core.planning.hosted import Device
from ...loom_core.planning.plan import Setting
from ...loom_core.planning.run import RunSizes
from ...loom_core.planning.sizes import FORMATS, MLLMSizes, ModelSizes, WeightFormat, dit_weights
from ...loom_core.vae.loading import codec_sizes
from ...loom_core.vae.memory import VaeSizes
from .encoder.qwen import find_qwen
from .media.vae import check_vae
from .memory import available_memory
from .sampling.checks import config_of

USUAL = FORMATS["bf16"]
"""Of parts that are not there."""
_RELEASED = {"model": "the released 5B model", "encoder": "Qwen3-VL-8B", "vae": "the Wan 2.2 VAE"}
_BUILT_IN = {"model": "the built-in model", "encoder": "the built-in encoder", "vae": "the built-in VAE"}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Model, encoder and VAE, as far as memory goes.

    Args:
        sizes: Of all three.
        form: Number format of the model.
        encoder_form: Of the encoder.
        vae_itemsize: Bytes of a number as the VAE computes; None leaves it to the device.
        assumed: What was not there and is taken to be so, in words.
    """

    sizes: ModelSizes
    form: WeightFormat
    encoder_form: WeightFormat
    vae_itemsize: int | None
    assumed: tuple[str, ...]

    def setting(self, run: RunSizes, *, on_gpu: bool) -> Setting:
        """What is planned for.

        Args:
            run: Sizes of the run.
            on_gpu: Whether there is a GPU.
        """
        return Setting(
            run=run,
            model=self.sizes,
            form=self.form,
            mllm_form=self.encoder_form,
            on_gpu=on_gpu,
            codec_itemsize=self.vae_itemsize,
            offload="none",  # the host's business
        )


def parts_of(model: Any, encoder: Any, vae: Any) -> Parts:
    """Sizes and number formats of what is connected; the rest is the released model's, or the built-in one's beside it.

    Args:
        model: The host's MODEL, or None.
        encoder: Its CLIP, or None.
        vae: Its VAE, or None.

    Raises:
        WeightsError: One is of another kind, or model and encoder are not made for each other.
    """
    config, qwen = None if model is None else config_of(model), None if encoder is None else find_qwen(encoder)
    if vae is not None:
        check_vae(vae)
    if config is not None and qwen is not None:
        for finding in check_pair(config, QwenSizes(qwen.num_layers, qwen.hidden_size)):
            raise WeightsError(finding.found, expected=finding.expected, fix=finding.fix)
    widths = [*([] if config is None else [config.mllm_dim]), *([] if qwen is None else [qwen.hidden_size])]
    is_small = bool(widths) and widths[0] != LOOMVIDEO_5B.mllm_dim
    sizes, form, encoder_form = _built_in_sizes() if is_small else ModelSizes(), USUAL, USUAL
    if config is not None:
        sizes = replace(sizes, dit=config)
        form = WeightFormat.measured(
            "as loaded",
            dit_weights(config),
            num_bytes=int(model.model_size()),
            itemsize=model.model.get_dtype_inference().itemsize,
        )
    if qwen is not None:
        sizes = replace(sizes, mllm=qwen.sizes)
        num_bytes = int(qwen.patcher.model_size())
        encoder_form = WeightFormat.measured(
            "as loaded", sizes.mllm.weights, num_bytes=num_bytes, itemsize=USUAL.itemsize
        )
    if vae is not None:
        sizes = replace(sizes, vae=_vae_sizes(vae))
    names = _BUILT_IN if is_small else _RELEASED
    given = {"model": model, "encoder": encoder, "vae": vae}
    return Parts(
        sizes=sizes,
        form=form,
        encoder_form=encoder_form,
        vae_itemsize=None if vae is None else vae.vae_dtype.itemsize,
        assumed=tuple(names[name] for name, part in given.items() if part is None),
    )


def _built_in_sizes() -> ModelSizes:
    files = find_model()
    mllm = MLLMSizes.from_config(read_config(files.mllm / "config.json", needed=True))
    return ModelSizes(dit=files.dit_config(), mllm=mllm, vae=codec_sizes(files.codec))


def _vae_sizes(vae: Any) -> VaeSizes:
    """Widths of a Wan VAE; of any other, which works on the pixels themselves or is a small approximation, none."""
    widths = [getattr(getattr(vae.first_stage_model, part, None), "dim", 0) for part in ("encoder", "decoder")]
    num_weights = int(vae.model_size()) // vae.vae_dtype.itemsize
    return VaeSizes(encoder_width=widths[0], decoder_width=widths[1], num_weights=num_weights)


def device_of(vram: float, encoder: Any) -> tuple[Device, bool, str]:
    """What a run has, whether it is a GPU's, and what it is, in words.

    Args:
        vram: GB of 10^9 bytes of a GPU that is meant; 0 is this computer as it is.
        encoder: The host's CLIP, or None.

    Raises:
        ConfigError: It is no amount of memory.
    """
    if not 0 <= vram < math.inf:
        raise ConfigError(
            f"vram {vram}", expected="GB of a GPU, or 0 for this computer", fix="use 12 or 0, for example"
        )
    reserve = int(model_management.minimum_inference_memory())
    if vram:
        return Device(budget=round(vram * GIGA), reserve=reserve), True, f"a GPU with {vram:g} GB"
    here = model_management.get_torch_device()
    budget, on_gpu = available_memory()
    reader = model_management.text_encoder_device() if encoder is None else encoder.patcher.load_device
    total = model_management.get_total_memory(here)
    words = (
        f"{'this GPU' if on_gpu else 'this computer, without a GPU'}: {budget / GIGA:.1f} of {total / GIGA:.1f} GB free"
    )
    reads_on_cpu = on_gpu and model_management.is_device_cpu(reader)
    return Device(budget=budget, reserve=reserve, reads_on_cpu=reads_on_cpu), on_gpu, words
