"""The whole run: its four phases, one after another, and what each takes on its device."""

from __future__ import annotations

from dataclasses import dataclass

from ..geometry import LatentShape, latent_shape
from ..vae.memory import peak_bytes
from .denoise import Denoising
from .moments import Moment, Phase
from .prompt import Reading
from .run import RunSizes
from .sizes import FORMATS, ModelSizes, WeightFormat, Weights, dit_weights
from .streaming import bytes_saved, mllm_bytes_saved

PROMPT, ENCODE, DENOISE, DECODE = "prompt", "encode", "denoise", "decode"
OFFLOADS = ("auto", "none", "blocks")
"""As far as memory asks for it, never, or all blocks of the DiT and all layers of the MLLM."""
_FLOAT, _RGB = 4, 3
_CODEC_FORMATS = {2: FORMATS["bf16"], 4: FORMATS["fp32"]}


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What a run does to need less memory; the defaults need the most and cost nothing.

    Args:
        mllm_on_cpu: The MLLM reads the prompt on the processor.
        keeps_keys_values: Keep keys and values of the contexts; False keeps projected contexts, half as large.
        encode_tile: Side of the tiles in which source and references are encoded, in latents; None for whole frames.
        decode_tile: The same for decoding.
        streamed_blocks: Blocks of the DiT whose weights come to the device only for their turn; 0 for none. Branches of
            guidance then run in lockstep.
        streams_mllm: The MLLM's layers come to the device one after another.
    """

    mllm_on_cpu: bool = False
    keeps_keys_values: bool = True
    encode_tile: int | None = None
    decode_tile: int | None = None
    streamed_blocks: int = 0
    streams_mllm: bool = False


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is planned for.

    Args:
        run: Sizes of the run.
        model: Sizes of the model.
        form: Number format of the DiT, and of the MLLM unless `mllm_form` says another.
        on_gpu: Whether there is a GPU; else all is in one memory.
        codec_itemsize: Bytes of a number as the VAE computes; None for 2 on a GPU, 4 on a CPU.
        offload: Which weights may be streamed: a word of `OFFLOADS`.
        mllm_form: Number format of the MLLM; None for `form`.
    """

    run: RunSizes
    model: ModelSizes
    form: WeightFormat
    on_gpu: bool = True
    codec_itemsize: int | None = None
    offload: str = "auto"
    mllm_form: WeightFormat | None = None

    @property
    def can_stream(self) -> bool:
        """Whether weights can be streamed, quantised ones too; in ComfyUI the host moves them, so `offload` is none."""
        return self.on_gpu and self.offload != "none"

    @property
    def reading_form(self) -> WeightFormat:
        """Number format of the MLLM."""
        return self.mllm_form or self.form

    @property
    def codec_item(self) -> int:
        """Bytes of a number as the VAE computes."""
        return self.codec_itemsize or (2 if self.on_gpu else _FLOAT)

    @property
    def codec_weights(self) -> int:
        """Bytes of the VAE's weights."""
        return _CODEC_FORMATS[self.codec_item].num_bytes(Weights(0, self.model.vae.num_weights))

    @property
    def frames(self) -> int:
        """Bytes of source and references as decoded, uint8; they wait in the CPU's memory."""
        frames = self.run.num_frames * self.run.has_source + self.run.num_references
        return frames * _RGB * self.run.width * self.run.height

    @property
    def latents(self) -> int:
        """Bytes of the latents of source and references, float32."""
        still = _numbers(latent_shape(1, self.run.height, self.run.width), self.model.dit.in_channels)
        clip = _numbers(self.run.target, self.model.dit.in_channels)
        return _FLOAT * (clip * self.run.has_source + still * self.run.num_references)

    def pixels(self, num_frames: int) -> int:
        """Bytes of frames that are encoded, float32; of a GPU's memory they take no more than a few frames."""
        return 0 if self.on_gpu else num_frames * _RGB * self.run.width * self.run.height * _FLOAT


def _numbers(shape: LatentShape, channels: int) -> int:
    return channels * shape.frames * shape.height * shape.width


def phase_of(name: str, setting: Setting, measures: Measures) -> Phase:
    """One phase of a run, by its name."""
    return {PROMPT: _prompt, ENCODE: _encode, DENOISE: _denoise, DECODE: _decode}[name](setting, measures)


def phases_of(setting: Setting, measures: Measures) -> tuple[Phase, ...]:
    """The phases of a run, in order; one without a source or references encodes nothing."""
    names = (PROMPT, *((ENCODE,) if setting.run.has_visual else ()), DENOISE, DECODE)
    return tuple(phase_of(name, setting, measures) for name in names)


def _reading(setting: Setting, *, on_gpu: bool) -> Reading:
    return Reading(
        sizes=setting.model.mllm,
        run=setting.run,
        num_blocks=setting.model.dit.num_layers,
        form=setting.reading_form,
        on_gpu=on_gpu,
    )


def _prompt(setting: Setting, measures: Measures) -> Phase:
    on_gpu = setting.on_gpu and not measures.mllm_on_cpu
    form = setting.reading_form
    weights = form.num_bytes(setting.model.mllm.weights)
    if measures.streams_mllm:
        weights -= mllm_bytes_saved(setting.model.mllm, form)
    moments = _reading(setting, on_gpu=on_gpu).moments(weights=weights, held=0 if on_gpu else setting.frames)
    return Phase(PROMPT, tuple(moments), on_cpu=setting.on_gpu and measures.mllm_on_cpu)


def _encode(setting: Setting, measures: Measures) -> Phase:
    """The source, then each reference; a GPU is given four frames of a tile at a time."""
    run, held = setting.run, 0
    if not setting.on_gpu:
        held = setting.frames + _reading(setting, on_gpu=False).all_states()

    def moment(name: str, num_frames: int, latents: int) -> Moment:
        working = peak_bytes(
            run.height,
            run.width,
            tile_latents=measures.encode_tile,
            itemsize=setting.codec_item,
            direction="encode",
            num_frames=num_frames,
            sizes=setting.model.vae,
        )
        return Moment(
            name=name,
            weights=setting.codec_weights,
            held=held,
            latents=latents,
            activations=setting.pixels(num_frames) + working,
        )

    moments = []
    if run.has_source:
        moments.append(moment("encoding the source", run.num_frames, 0))
    if run.num_references:
        moments.append(moment("encoding the last reference", 1, setting.latents))
    return Phase(ENCODE, tuple(moments))


def denoising_of(setting: Setting, measures: Measures) -> Denoising:
    """How the DiT runs."""
    return Denoising(
        config=setting.model.dit,
        run=setting.run,
        form=setting.form,
        on_gpu=setting.on_gpu,
        keeps_keys_values=measures.keeps_keys_values,
        in_lockstep=measures.streamed_blocks > 0,
    )


def _denoise(setting: Setting, measures: Measures) -> Phase:
    held, preparing = 0, setting.latents
    if not setting.on_gpu:  # where the VAE waits, and the states of the MLLM
        held = setting.frames + setting.codec_weights
        preparing += _reading(setting, on_gpu=False).all_states()
    dit = setting.model.dit
    weights = setting.form.num_bytes(dit_weights(dit))
    weights -= bytes_saved(dit, setting.form, streamed=measures.streamed_blocks)
    return Phase(
        DENOISE,
        tuple(denoising_of(setting, measures).moments(weights=weights, held=held, held_while_preparing=preparing)),
    )


def _decode(setting: Setting, measures: Measures) -> Phase:
    run = setting.run
    working = peak_bytes(
        run.height,
        run.width,
        tile_latents=measures.decode_tile,
        itemsize=setting.codec_item,
        num_frames=run.num_frames,
        sizes=setting.model.vae,
    )
    moment = Moment(
        name="decoding",
        weights=setting.codec_weights,
        held=(0 if setting.on_gpu else setting.frames) + _FLOAT * _numbers(run.target, setting.model.dit.in_channels),
        activations=working,
    )
    return Phase(DECODE, (moment,))
