"""LoRA files: `python -m loom_core.cli.lora merge|extract|inspect`; one is trained by `loom_core.cli.train`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from ..lora.extract import ExtractionReport, extract_lora
from ..lora.inspection import LoraInspection, inspect_lora
from ..lora.lora_file import LoraFile
from ..lora.merge import MergeReport, merge_lora
from ..weights.checks import shortened
from ..weights.dtypes import CHOICES, dtype_from_choice
from ..weights.inspection import format_bytes
from .arguments import Parser
from .compute import choose_device
from .display import counter
from .exits import DONE, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments without the program's name.
    """
    arguments = _parser().parse_args(argv)
    return int(arguments.command(arguments))


def _merge(arguments: argparse.Namespace) -> int:
    if arguments.strength == 0:
        raise ConfigError("strength 0", expected="another number, at which the LoRA does something", fix="1 is usual")
    report = merge_lora(
        arguments.base,
        arguments.lora,
        arguments.target,
        strength=arguments.strength,
        dtype=dtype_from_choice(arguments.dtype),
        ema=arguments.ema,
        overwrite=arguments.overwrite,
        progress=counter("merging", gigabytes=True),
    )
    print(describe_merge(report))
    return DONE


def _extract(arguments: argparse.Namespace) -> int:
    dtype = dtype_from_choice(arguments.dtype)
    assert dtype is not None
    report = extract_lora(
        arguments.before,
        arguments.after,
        arguments.target,
        rank=arguments.rank,
        dtype=dtype,
        device=choose_device(arguments.device),
        ema=arguments.ema,
        overwrite=arguments.overwrite,
        progress=counter("extracting"),
    )
    print(describe_extraction(report))
    return DONE


def _inspect(arguments: argparse.Namespace) -> int:
    inspection = inspect_lora(arguments.lora, model=arguments.model)
    print(json.dumps(inspection.to_dict(), indent=1) if arguments.json else describe(inspection))
    return DONE


def describe_merge(report: MergeReport) -> str:
    """A merge in a few lines."""
    written = report.written
    lines = [
        f"wrote      {written.target}",
        f"from       {written.source}",
        f"lora       {report.lora.path}, {len(report.lora.changes)} weights changed at strength {report.strength:g}",
        f"tensors    {written.num_tensors}, {format_bytes(written.num_bytes)}",
        f"sha256     {written.content_sha256} (of the tensors' content)",
        *_left_out(report.lora),
    ]
    return "\n".join(lines)


def describe_extraction(report: ExtractionReport) -> str:
    """An extraction in a few lines."""
    lines = [
        f"wrote      {report.target}, {format_bytes(report.num_bytes)}",
        f"layers     {report.low_rank} at low rank, with {report.kept:.2%} of their squared difference",
        f"whole      {report.whole} other weights",
        f"unchanged  {report.unchanged}",
    ]
    return "\n".join(lines)


def describe(inspection: LoraInspection) -> str:
    """An inspection in a few lines."""
    lora = inspection.lora
    lines = [
        f"file       {lora.path}",
        f"for        {inspection.model}",
        f"size       {format_bytes(lora.checkpoint.num_bytes)} in {len(lora.checkpoint)} tensors",
        f"changes    {', '.join(f'{count} {kind}' for kind, count in inspection.kinds.items())}",
        f"scale      {', '.join(f'{scale:g} ({count})' for scale, count in inspection.scales.items()) or 'none'}",
        f"of         {', '.join(f'{place} {count}' for place, count in inspection.places.items())}",
        f"names      as {inspection.style}",
        *_left_out(lora),
        *(f"metadata   {name} = {value}" for name, value in sorted(lora.checkpoint.metadata.items())),
    ]
    return "\n".join(lines)


def _left_out(lora: LoraFile) -> list[str]:
    lines = []
    if lora.dead:
        lines.append(f"left out   {len(lora.dead)} tensors of Wan's text embedder, which LoomVideo does without")
    if lora.left_out:
        lines.append(f"left out   {len(lora.left_out)} tensors that are not for this model: {shortened(lora.left_out)}")
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m loom_core.cli.lora", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="merge|extract|inspect", parser_class=Parser)

    merge = commands.add_parser("merge", help="write a model with a LoRA in its weights")
    merge.set_defaults(command=_merge)
    merge.add_argument("base", type=Path, metavar="BASE", help="checkpoint of the DiT, file or folder")
    merge.add_argument("lora", type=Path, metavar="LORA", help="LoRA file of any naming, or the folder of a run")
    merge.add_argument("--strength", type=float, default=1.0, metavar="X", help="factor of the changes (default: 1)")
    merge.add_argument("--dtype", choices=tuple(CHOICES), default="keep", help="number format (default: keep)")

    extract = commands.add_parser("extract", help="write the difference of two models as a LoRA")
    extract.set_defaults(command=_extract)
    extract.add_argument("before", type=Path, metavar="BASE", help="the model that the LoRA will be put on")
    extract.add_argument("after", type=Path, metavar="TUNED", help="the same model, trained on")
    extract.add_argument("--rank", type=int, default=32, metavar="N", help="of each layer's change (default: 32)")
    extract.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), default="bf16", help="default: bf16")
    extract.add_argument("--device", metavar="NAME", help="cpu, cuda, mps (default: the fastest present)")

    for command in (merge, extract):
        command.add_argument("target", type=Path, metavar="OUT", help="safetensors file to write")
        command.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
        command.add_argument(
            "--no-ema", dest="ema", action="store_false", help="of checkpoint folders, take the live weights"
        )

    inspect = commands.add_parser("inspect", help="say what a LoRA file is")
    inspect.set_defaults(command=_inspect)
    inspect.add_argument("lora", type=Path, metavar="LORA", help="LoRA file, or the folder of a run")
    inspect.add_argument("--model", type=Path, metavar="FILE", help="a DiT that it should fit")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
