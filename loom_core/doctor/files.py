"""Checks of a model's three files, from their headers: what each is, whether it is whole, whether they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..config.model import DiTConfig
from ..errors import LoomError, WeightsError
from ..mllm.loading import QUANTISATION_MARKS, open_qwen
from ..mllm.sizes import QwenSizes, qwen_sizes
from ..mllm.tokens import load_tokenizer
from ..phrases import phrase
from ..planning.sizes import FORMATS, MLLMSizes, WeightFormat
from ..vae.loading import check_codec
from ..vae.wan_loading import open_wan_vae, wan_vae_report
from ..weights.checkpoint import Checkpoint
from ..weights.checks import KeyReport, require_dit, require_keys
from ..weights.identify import ModelKind
from ..weights.inspection import DtypeShare, Inspection, format_bytes, inspect_checkpoint
from ..weights.packing import with_packings
from ..weights.reading import open_checkpoint
from .finding import Finding

MODEL, ENCODER, VAE = "model", "encoder", "vae"
_NAMES = {"float8_e4m3fn": "fp8", "float8_e5m2": "fp8", "int8": "int8", "float32": "fp32", "float16": "fp16"}
_FOR_COMFYUI = "load it with LoomVideo Model Loader in ComfyUI, or give the file that it was made from"


@dataclass(frozen=True)
class DiTLook:
    """A DiT as its header shows it.

    Args:
        findings: What is to be said of it.
        config: Its sizes; None where they cannot be told.
        form: Number format of most of it.
    """

    findings: tuple[Finding, ...]
    config: DiTConfig | None = None
    form: WeightFormat = FORMATS["bf16"]


@dataclass(frozen=True)
class EncoderLook:
    """An MLLM as its header shows it.

    Args:
        findings: What is to be said of it.
        sizes: What a DiT has to agree with; None where it cannot be told.
        planned: Its sizes as far as memory goes; None where they cannot be told.
    """

    findings: tuple[Finding, ...]
    sizes: QwenSizes | None = None
    planned: MLLMSizes | None = None


def look_at_dit(path: Path, *, ema: bool = True, takes_quantised: bool = False, is_edit: bool = False) -> DiTLook:
    """Look at what is given as the DiT.

    Args:
        path: File or folder.
        ema: Take averaged weights where a folder has them.
        takes_quantised: Whether a host runs quantised layers of any form, as ComfyUI; else only known forms pass.
        is_edit: Whether a source is to be edited.
    """
    try:
        checkpoint = open_checkpoint(path, ema=ema)
        require_dit(checkpoint, allow_plain_wan=False, allow_quantised=True)
        inspection = inspect_checkpoint(checkpoint)
        layers = quantised_layers(checkpoint)
        if not takes_quantised:
            _require_known_forms(checkpoint)
        if inspection.keys is not None:
            require_keys(_without(inspection.keys, layers), path)
        if inspection.config is None:
            found = phrase("{path}, whose sizes cannot be told ({problem})", path=path, problem=inspection.problem)
            raise WeightsError(found, fix="give its config.json")
    except LoomError as error:
        return DiTLook((Finding.of_error(MODEL, error),))
    findings = [_present(MODEL, checkpoint, is_quantised=bool(layers))]
    if is_edit and checkpoint.kind is ModelKind.LOOMVIDEO_STAGE_1:
        unfit = WeightsError(
            phrase("{path}, {kind}, for an edit", path=path, kind=checkpoint.kind.value),
            expected="weights of stage 2 or later, which know sources",
            fix="give those, or leave the source out",
        )
        findings.append(Finding.of_error(MODEL, unfit))
    return DiTLook(tuple(findings), inspection.config, format_of(inspection))


def look_at_encoder(
    path: Path, *, config: Path | None = None, tokenizer: Path | None = None, takes_quantised: bool = False
) -> EncoderLook:
    """Look at what is given as the MLLM.

    Args:
        path: Hugging Face folder or file.
        config: Its config.json; None for that beside it.
        tokenizer: Folder or file; None for that beside it. ComfyUI has its own and is asked for none.
        takes_quantised: As in `look_at_dit`.
    """
    try:
        checkpoint, values = open_qwen(path, config=config)
        sizes = qwen_sizes(checkpoint)
        is_quantised = bool(quantised_layers(checkpoint))
        if not takes_quantised:
            _require_known_forms(checkpoint)
            load_tokenizer(tokenizer or (path if path.is_dir() else path.parent))
        planned = MLLMSizes.from_config(values)
    except LoomError as error:
        return EncoderLook((Finding.of_error(ENCODER, error),))
    if planned.num_layers != sizes.num_layers or planned.hidden_size != sizes.hidden_size:
        unfit = WeightsError(
            phrase(
                "{path} with {layers} layers of width {width}",
                path=path,
                layers=sizes.num_layers,
                width=sizes.hidden_size,
            ),
            expected=phrase(
                "{layers} layers of width {width}, as its config.json says",
                layers=planned.num_layers,
                width=planned.hidden_size,
            ),
            fix="put the config.json of this very model beside it",
        )
        return EncoderLook((Finding.of_error(ENCODER, unfit),), sizes)
    return EncoderLook((_present(ENCODER, checkpoint, is_quantised=is_quantised),), sizes, planned)


def look_at_vae(path: Path, *, by_diffusers: bool = True) -> list[Finding]:
    """Look at what is given as the VAE.

    Args:
        path: File or folder.
        by_diffusers: Whether it is run by diffusers, as on the command line; then every weight is looked for.
    """
    try:
        if not path.is_dir() and open_checkpoint(path).kind is ModelKind.LINEAR_CODEC:
            return [_present(VAE, open_checkpoint(path))]
        if by_diffusers:
            check_codec(path)
            require_keys(wan_vae_report(path), path, fix="download it again; it should be the whole Wan 2.2 VAE")
        checkpoint, _ = open_wan_vae(path)
    except LoomError as error:
        return [Finding.of_error(VAE, error)]
    return [_present(VAE, checkpoint)]


def check_pair(dit: DiTConfig | None, encoder: QwenSizes | None) -> list[Finding]:
    """Whether a DiT reads the states of an MLLM.

    Args:
        dit: Its sizes; None if they are not known, which is fine.
        encoder: Its sizes; the same.
    """
    if dit is None or encoder is None:
        return []
    if dit.mllm_dim == encoder.hidden_size and dit.num_layers <= encoder.num_layers:
        return []
    error = WeightsError(
        phrase(
            "an encoder of {layers} layers of width {width} with a model of {blocks} blocks that reads width {read}",
            layers=encoder.num_layers,
            width=encoder.hidden_size,
            blocks=dit.num_layers,
            read=dit.mllm_dim,
        ),
        expected="the encoder that the model was trained with",
        fix="choose Qwen3-VL-8B for the released weights, the built-in encoder for the built-in model",
    )
    return [Finding.of_error(ENCODER, error)]


def _require_known_forms(checkpoint: Checkpoint) -> None:
    """Refuse quantised layers that the command line cannot read."""
    if unknown := quantised_layers(with_packings(checkpoint)):
        raise WeightsError(
            phrase(
                "{path}, with {count} quantised layers of a form unknown here",
                path=checkpoint.path,
                count=len(unknown),
            ),
            expected="bf16, fp16 or fp32, or a file of cli.convert --to",
            fix=_FOR_COMFYUI,
        )


def quantised_layers(checkpoint: Checkpoint) -> set[str]:
    """Layers of a file, under its own names, whose weights are not plain numbers."""
    marked = {
        name.removesuffix(mark).rstrip(".") for name in checkpoint for mark in QUANTISATION_MARKS if name.endswith(mark)
    }
    return marked - {""}


def format_of(inspection: Inspection) -> WeightFormat:
    """The number format in which most of a file is."""
    shares: Mapping[str, DtypeShare] = inspection.dtypes
    main = max(shares, key=lambda name: shares[name].num_bytes, default="bfloat16")
    return FORMATS[_NAMES.get(main, "bf16")]


def _without(report: KeyReport, layers: set[str]) -> KeyReport:
    """The report without what belongs to quantised layers, which is the host's business."""
    return replace(
        report,
        unexpected=tuple(name for name in report.unexpected if not name.endswith(QUANTISATION_MARKS)),
        misshaped=tuple(
            entry for entry in report.misshaped if entry.partition(" (")[0].rpartition(".")[0] not in layers
        ),
    )


def _present(check: str, checkpoint: Checkpoint, *, is_quantised: bool = False) -> Finding:
    shares = checkpoint.dtypes.most_common(1)
    words = "quantised" if is_quantised else str(shares[0][0]).removeprefix("torch.") if shares else "empty"
    found = phrase(
        "{path}, {kind}, {size}, {form}",
        path=checkpoint.path.name,
        kind=checkpoint.kind.value,
        size=format_bytes(checkpoint.num_bytes),
        form=words,
    )
    return Finding.note(check, found, expected="a whole file of this kind")
