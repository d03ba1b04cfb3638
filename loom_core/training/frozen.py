"""The parts that are not trained: the MLLM that reads prompts and the codec that makes latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..bundle import BUILT_IN
from ..config.training import TrainingConfig
from ..errors import ConfigError
from ..mllm.encoder import QwenEncoder
from ..mllm.loading import open_qwen
from ..mllm.reader import PromptReader
from ..mllm.sizes import qwen_sizes
from ..protocols import VideoCodec
from ..vae.loading import check_codec, load_codec
from ..weights.hashing import samples_sha256
from ..weights.presence import require_present
from ..weights.reading import open_checkpoint


@dataclass(frozen=True)
class FrozenFiles:
    """Where they lie.

    Args:
        mllm: Folder or file of Qwen3-VL.
        codec: File or folder of the VAE.
    """

    mllm: Path
    codec: Path

    @classmethod
    def of(cls, config: TrainingConfig) -> FrozenFiles:
        """Those of a config, the built-in model's where it names none."""
        return cls(config.mllm or BUILT_IN / "mllm", config.codec or BUILT_IN / "codec.safetensors")

    def check(self, config: TrainingConfig) -> None:
        """Look at the headers, before anything large is read.

        Raises:
            WeightsError: A part is missing, damaged or another model.
            ConfigError: The MLLM does not fit the config's DiT.
            MissingExtraError: The codec needs a package that is not installed.
        """
        require_present(self.mllm, self.codec)
        check_codec(self.codec)
        found = qwen_sizes(open_qwen(self.mllm)[0])
        wanted = config.model.dit_config()
        if found.hidden_size != wanted.mllm_dim or found.num_layers < wanted.num_layers:
            raise ConfigError(
                f"{self.mllm}, an MLLM of {found.num_layers} layers and width {found.hidden_size}",
                expected=f"at least {wanted.num_layers} layers, one a block of the DiT, of width {wanted.mllm_dim}",
                fix="name the MLLM that belongs to this DiT under `mllm:`, or correct model.sizes",
            )

    def codec_identity(self, dtype: torch.dtype) -> str:
        """Tells the codec from others, for the cache of latents."""
        return f"{samples_sha256(open_checkpoint(self.codec))} {dtype}"

    def mllm_identity(self, config: TrainingConfig) -> str:
        """Tells the MLLM and how it computes from others, for the cache of its states."""
        sizes = config.model.dit_config()
        how = f"{sizes.num_layers} {sizes.rope_precision} {mllm_dtype(config)}"
        return f"{samples_sha256(open_qwen(self.mllm)[0])} {how}"

    def load_codec(self, *, device: torch.device) -> VideoCodec:
        """The codec, in bfloat16 on a GPU."""
        return load_codec(self.codec, dtype=codec_dtype(device), device=device)

    def load_reader(self) -> PromptReader:
        """What writes prompts for the MLLM, without its weights."""
        return PromptReader.load(self.mllm)

    def load_mllm(self, config: TrainingConfig, *, device: torch.device) -> QwenEncoder:
        """The MLLM, in bfloat16 unless the run computes in float32, rotary tables as the DiT's."""
        wanted = config.model.dit_config()
        return QwenEncoder.load(
            self.mllm,
            num_blocks=wanted.num_layers,
            dtype=mllm_dtype(config),
            device=device,
            rope_precision=wanted.rope_precision,
        )


def mllm_dtype(config: TrainingConfig) -> torch.dtype:
    """What the MLLM computes in."""
    return torch.float32 if config.precision == "fp32" else torch.bfloat16


def codec_dtype(device: torch.device) -> torch.dtype:
    """What the codec computes in."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16
