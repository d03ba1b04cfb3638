"""The three files of a model: the DiT, the MLLM that reads prompts for it, and the codec it makes latents for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .config.model import LOOMVIDEO_5B, DiTConfig
from .errors import ConfigError
from .models.dit import LoomDiT
from .vae.loading import check_codec
from .weights.checkpoint import Checkpoint
from .weights.checks import require_dit, require_keys
from .weights.detect import detect_config
from .weights.layouts import find_weights
from .weights.loading import key_report
from .weights.packing import with_packings
from .weights.presence import require_present
from .weights.reading import open_checkpoint

BUILT_IN = Path(__file__).parent / "assets" / "loom_tiny"
"""The built-in tiny model."""

MLLM_NAMES = ("mllm", "qwen", "Qwen3-VL-8B-Instruct", "text_encoder")
CODEC_NAMES = ("codec.safetensors", "vae", "wan2.2_vae.safetensors", "Wan2.2-TI2V-5B-Diffusers/vae")


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies.

    Args:
        dit: File or folder of the DiT's weights.
        mllm: Hugging Face folder or safetensors file of Qwen3-VL.
        codec: File or folder of the codec.
        mllm_tokenizer: Folder or file of its tokenizer; None when it lies beside the MLLM.
        mllm_config: Its `config.json`; None when it lies beside the MLLM.
        ema: Take averaged weights where the DiT's folder has them.
    """

    dit: Path
    mllm: Path
    codec: Path
    mllm_tokenizer: Path | None = None
    mllm_config: Path | None = None
    ema: bool = True

    @property
    def is_built_in(self) -> bool:
        """Whether this is the built-in tiny model."""
        return self.dit.is_relative_to(BUILT_IN)

    def dit_config(self) -> DiTConfig:
        """Sizes of the DiT, from the file's header alone.

        Raises:
            WeightsError: It is missing, damaged or another model.
        """
        return detect_config(self._open_dit())

    def _open_dit(self) -> Checkpoint:
        checkpoint = with_packings(open_checkpoint(self.dit, ema=self.ema))
        require_dit(checkpoint, allow_plain_wan=False, allow_quantised=True)
        return checkpoint

    def check(self) -> DiTConfig:
        """Look at the headers of DiT and codec, so that a wrong file is told before anything large is loaded.

        Returns:
            Sizes of the DiT.

        Raises:
            WeightsError: A file is missing, damaged, another model, or lacks weights; each is named.
            MissingExtraError: The codec needs a package that is not installed.
        """
        checkpoint = self._open_dit()
        config = detect_config(checkpoint)
        require_keys(key_report(checkpoint, LoomDiT(config, device="meta")), checkpoint.path)
        check_codec(self.codec)
        return config


def _beside(folder: Path, names: tuple[str, ...], *, what: str, flag: str) -> Path:
    """The first of `names` that exists in a folder."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise ConfigError(
        f"no {what} beside the model, in {folder}",
        expected=f"one of {', '.join(names)}",
        fix=f"name it with {flag}",
    )


def find_model(
    model: Path | None = None,
    *,
    mllm: Path | None = None,
    codec: Path | None = None,
    mllm_tokenizer: Path | None = None,
    mllm_config: Path | None = None,
    ema: bool = True,
) -> ModelFiles:
    """Find the parts of a model; the built-in one where none is named.

    Args:
        model: File of a DiT, or a folder with its parts; None is the built-in model.
        mllm: Qwen3-VL; None looks beside the model.
        codec: The VAE; None looks beside the model.
        mllm_tokenizer: See `ModelFiles`.
        mllm_config: See `ModelFiles`.
        ema: See `ModelFiles`.

    Raises:
        WeightsError: A named file does not exist.
        ConfigError: A part was not named and does not lie beside the model.
    """
    model = BUILT_IN if model is None else model
    require_present(model, mllm, codec, mllm_tokenizer, mllm_config)
    folder = model.parent
    if model.is_dir():
        folder = model
        find_weights(model, ema=ema)  # refuses a folder without a DiT before another part is missed
    return ModelFiles(
        dit=model,
        mllm=mllm or _beside(folder, MLLM_NAMES, what="Qwen3-VL", flag="--mllm"),
        codec=codec or _beside(folder, CODEC_NAMES, what="VAE", flag="--vae"),
        mllm_tokenizer=mllm_tokenizer,
        mllm_config=mllm_config,
        ema=ema,
    )


def default_preset_name(config: DiTConfig) -> str:
    """Preset that suits a model: "official" for the released size, "tiny" for anything smaller."""
    return "official" if config.hidden_size >= LOOMVIDEO_5B.hidden_size else "tiny"
