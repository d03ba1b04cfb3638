"""Convert any checkpoint of the DiT to one file, plain or quantised: `python -m loom_core.cli.convert IN OUT`.

The same for Qwen3-VL, the MLLM: of a file a file, of a folder a folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.model import DiTConfig
from ..weights.convert import ConversionReport, convert_checkpoint
from ..weights.detect import read_config_file
from ..weights.dtypes import CHOICES, dtype_from_choice
from ..weights.identify import ModelKind
from ..weights.inspection import format_bytes
from ..weights.quantise import SCHEMES, scheme_of
from ..weights.reading import open_checkpoint
from .arguments import Parser
from .display import counter
from .exits import run

if TYPE_CHECKING:
    from ..mllm.convert import QwenReport


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments without the program's name.
    """
    arguments = _parser().parse_args(argv)
    scheme = None if arguments.to is None else scheme_of(arguments.to)
    dtype, progress = dtype_from_choice(arguments.dtype), counter("converting", gigabytes=True)
    if open_checkpoint(arguments.source, ema=arguments.ema).kind is ModelKind.QWEN3_VL:
        from ..mllm.convert import convert_qwen

        written = convert_qwen(
            arguments.source,
            arguments.target,
            dtype=dtype,
            scheme=scheme,
            overwrite=arguments.overwrite,
            config=arguments.config,
            progress=progress,
        )
        print(describe(written))
        return 0
    report = convert_checkpoint(
        arguments.source,
        arguments.target,
        dtype=dtype,
        scheme=scheme,
        ema=arguments.ema,
        overwrite=arguments.overwrite,
        config=read_config_file(arguments.config) if arguments.config else None,
        progress=progress,
    )
    print(describe(report))
    return 0


def describe(report: ConversionReport | QwenReport) -> str:
    """A conversion in a few lines."""
    model = ModelKind.QWEN3_VL.value
    dropped = "weights of the head that writes words, which nothing reads"
    foreign: tuple[str, ...] = ()
    if isinstance(report, ConversionReport):
        model, foreign = f"{report.kind.value}, {_size_in_words(report.config)}", report.foreign
        dropped = "weights of the text embedder, which no block reads"
    lines = [
        f"wrote      {report.target}",
        f"from       {report.source}",
        f"model      {model}",
        f"tensors    {report.num_tensors}, {format_bytes(report.num_bytes)}",
        f"sha256     {report.content_sha256} (of the tensors' content)",
    ]
    if report.dropped:
        lines.append(f"left out   {len(report.dropped)} {dropped}")
    if foreign:
        lines.append(f"left out   {len(foreign)} tensors of other components than the DiT")
    return "\n".join(lines)


def _size_in_words(config: DiTConfig) -> str:
    return f"{config.num_layers} blocks, {config.hidden_size} wide, {config.num_heads} heads"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m loom_core.cli.convert", description=__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="checkpoint file or folder, pickled or safetensors")
    parser.add_argument("target", type=Path, metavar="OUT", help="file to write; a folder where IN is an MLLM's")
    parser.add_argument("--dtype", choices=tuple(CHOICES), default="keep", help="number format (default: keep)")
    parser.add_argument(
        "--to", metavar="NAME", help=f"quantise the blocks' matrices: {', '.join(SCHEMES)}; --dtype is for the rest"
    )
    parser.add_argument(
        "--no-ema", dest="ema", action="store_false", help="of a checkpoint folder, take the live weights"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="config.json of the model, where IN does not say")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
