"""What a file is, told without loading it: model, configuration, number formats, and what it lacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from ..config.model import DiTConfig
from ..errors import WeightsError
from ..models.dit import LoomDiT
from .checkpoint import Checkpoint
from .checks import KeyReport
from .detect import detect_config, sizes_of
from .hashing import CONTENT_KEY, content_sha256
from .identify import ModelKind
from .loading import key_report
from .packing import forms_of, with_packings

GOOD_FOR = MappingProxyType(
    {
        ModelKind.LOOMVIDEO: "all seven tasks: give it as the model",
        ModelKind.LOOMVIDEO_STAGE_1: "generation from text and references; it has no source embedding, so no edits",
        ModelKind.WAN_22_5B: "the start of a training; it does not follow LoomVideo's conditions",
        ModelKind.WAN_OTHER: "nothing here: LoomVideo is built on Wan 2.2 TI2V-5B alone",
        ModelKind.WAN_22_VAE: "encoding and decoding pixels: give it as the VAE",
        ModelKind.WAN_21_VAE: "nothing here: LoomVideo needs the Wan 2.2 VAE with 48 latent channels",
        ModelKind.OTHER_VAE: "nothing here: LoomVideo needs the Wan 2.2 VAE with 48 latent channels",
        ModelKind.LINEAR_CODEC: "encoding and decoding pixels at the built-in model's quality: give it as the VAE",
        ModelKind.QWEN3_VL: "reading prompts and pictures: give it as the MLLM",
        ModelKind.QWEN2_VL: "nothing here: LoomVideo reads prompts with Qwen3-VL",
        ModelKind.UMT5: "nothing here: LoomVideo reads prompts with Qwen3-VL and never needs UMT5",
        ModelKind.LORA: "being added to a DiT; it cannot be the model",
        ModelKind.EMPTY: "nothing",
        ModelKind.UNKNOWN: "nothing known here",
    }
)
"""What a file can be used for."""

_CHECKED_KINDS = (ModelKind.LOOMVIDEO, ModelKind.LOOMVIDEO_STAGE_1, ModelKind.WAN_22_5B)


_UNITS = ("bytes", "kB", "MB", "GB")


def format_bytes(count: int) -> str:
    """A number of bytes in words, in powers of 1000: "10.18 GB"."""
    amount = float(count)
    for unit in _UNITS[:-1]:
        if amount < 1000:  # noqa: PLR2004
            return f"{amount:.4g} {unit}"
        amount /= 1000
    return f"{amount:.2f} {_UNITS[-1]}"


@dataclass(frozen=True)
class DtypeShare:
    """How much of a file has one number format."""

    tensors: int
    num_bytes: int


@dataclass(frozen=True)
class Inspection:
    """What is known of a file.

    Args:
        checkpoint: The file.
        dtypes: Number format -> its share.
        config: Of a DiT whose configuration can be told.
        keys: How a DiT's weights differ from those of its model; None where it was not compared.
        problem: Why it cannot be used as it is; "" if nothing is wrong.
        content_ok: Whether the data has the hash that the metadata states; None if not compared.
        quantised: Form of quantisation (see `models.quantised`) -> layers that are in it.
    """

    checkpoint: Checkpoint
    dtypes: Mapping[str, DtypeShare]
    config: DiTConfig | None
    keys: KeyReport | None
    problem: str
    content_ok: bool | None
    quantised: Mapping[str, int]

    @property
    def is_whole(self) -> bool:
        """Whether no weight is missing, superfluous, of wrong shape or changed since it was written."""
        compared = self.keys is not None or self.checkpoint.kind not in _CHECKED_KINDS
        return compared and (self.keys is None or self.keys.fits) and self.content_ok is not False

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        checkpoint, keys = self.checkpoint, self.keys
        return {
            "path": str(checkpoint.path),
            "files": [str(file) for file in checkpoint.files],
            "layout": checkpoint.layout,
            "model": checkpoint.kind.name.lower(),
            "model_in_words": checkpoint.kind.value,
            "good_for": GOOD_FOR[checkpoint.kind],
            "num_tensors": len(checkpoint),
            "num_parameters": checkpoint.num_parameters,
            "num_bytes": checkpoint.num_bytes,
            "dtypes": {name: asdict(share) for name, share in self.dtypes.items()},
            "quantised": dict(self.quantised),
            "naming": {"style": checkpoint.naming.style, "prefix": checkpoint.naming.prefix},
            "config": asdict(self.config) if self.config else None,
            "missing": list(keys.missing) if keys else None,
            "unexpected": list(keys.unexpected) if keys else None,
            "misshaped": list(keys.misshaped) if keys else None,
            "dead": list(checkpoint.naming.dropped),
            "other_components": list(checkpoint.naming.foreign),
            "content_ok": self.content_ok,
            "problem": self.problem,
            "metadata": dict(checkpoint.metadata),
        }


def inspect_checkpoint(
    checkpoint: Checkpoint, *, config_hint: Mapping[str, Any] | None = None, verify: bool = False
) -> Inspection:
    """Describe a checkpoint.

    Args:
        checkpoint: Of anything.
        config_hint: See `detect_config`.
        verify: Read all data and compare it with the hash in the metadata.

    Raises:
        WeightsError: `verify` is asked of a file that states no hash.
    """
    config, keys, problem = None, None, ""
    quantised: dict[str, int] = {}
    weights = checkpoint
    try:
        quantised = forms_of(checkpoint)
        weights = with_packings(checkpoint)
    except WeightsError as error:
        problem = str(error)
    if checkpoint.kind in _CHECKED_KINDS:
        try:
            config = detect_config(weights, config_hint)
        except WeightsError as error:
            problem = "; ".join(filter(None, (problem, str(error))))
        keys = _compare(weights, config)
    if keys is not None and not keys.fits:
        problem = "; ".join(filter(None, (problem, str(keys))))
    content_ok = _verify(checkpoint) if verify else None
    if content_ok is False:
        problem = "; ".join(filter(None, (problem, "the data is not what the metadata's hash says")))
    return Inspection(checkpoint, _dtype_shares(checkpoint), config, keys, problem, content_ok, quantised)


def _compare(checkpoint: Checkpoint, config: DiTConfig | None) -> KeyReport | None:
    if config is None:
        try:
            sizes = sizes_of(checkpoint.native())
        except WeightsError:
            return None
        # The heads' width changes no shape, so one wide head stands for a width that cannot be told.
        config = DiTConfig(**sizes, num_heads=1, head_dim=sizes["hidden_size"])
    return key_report(checkpoint, LoomDiT(config, device="meta"))


def _verify(checkpoint: Checkpoint) -> bool:
    if CONTENT_KEY not in checkpoint.metadata:
        raise WeightsError(
            f"no content hash in the metadata of {checkpoint.path}",
            expected="a file that loom_core.cli.convert wrote",
            fix="leave --verify out, or convert the file",
        )
    return content_sha256(checkpoint) == checkpoint.metadata[CONTENT_KEY]


def _dtype_shares(checkpoint: Checkpoint) -> dict[str, DtypeShare]:
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, info in checkpoint.infos.items():
        packing = checkpoint.packings.get(name)
        total = totals[packing.form if packing is not None else str(info.dtype).removeprefix("torch.")]
        total[0] += 1
        total[1] += info.num_bytes
    by_size = sorted(totals.items(), key=lambda item: -item[1][1])
    return {name: DtypeShare(tensors, num_bytes) for name, (tensors, num_bytes) in by_size}
