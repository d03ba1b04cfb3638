"""`python -m loom_core.cli.plan`: how much memory a run takes, phase by phase, and how it fits a card.

Nothing is loaded: sizes alone decide.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import ConfigError
from ..planning.cards import markdown_table, recipe_data, recipe_rows, recipes, text_table
from ..planning.choice import GIGA, choose
from ..planning.plan import OFFLOADS, Setting
from ..planning.run import TEXT_TOKENS, RunSizes
from ..planning.sizes import FORMATS, MLLMSizes, ModelSizes, weight_format
from ..planning.table import plan_data, plan_lines
from .arguments import Parser, parse_size
from .exits import run

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(?:GB|G)?", re.IGNORECASE)
_ITEMSIZES = {"bf16": 2, "fp16": 2, "fp32": 4}


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="python -m loom_core.cli.plan",
        description="How much memory a run takes, phase by phase, and how it fits a card. Nothing is loaded. "
        "The sizes are the released model's unless --model, --mllm and --vae name others.",
    )
    parser.add_argument("--vram", metavar="GB", help="memory that may be used, 12GB (default: as much as it takes)")
    parser.add_argument("--size", default="832x480", metavar="WxH", help="of the result in pixels (default: 832x480)")
    parser.add_argument("--frames", type=int, default=81, metavar="N", help="4k + 1; 1 is an image (default: 81)")
    parser.add_argument("--references", type=int, default=0, metavar="N", help="reference images (default: 0)")
    parser.add_argument("--no-source", action="store_true", help="nothing is edited: text, perhaps references, alone")
    parser.add_argument(
        "--text-tokens", type=int, default=TEXT_TOKENS, metavar="N", help=f"of the instruction (default: {TEXT_TOKENS})"
    )
    parser.add_argument(
        "--weights", "--dtype", default="bf16", metavar="NAME", help=f"{', '.join(FORMATS)} (default: bf16)"
    )
    parser.add_argument("--vae-dtype", metavar="NAME", help="of the VAE (default: bf16 on a GPU, fp32 on a CPU)")
    parser.add_argument(
        "--offload",
        default="auto",
        metavar="NAME",
        help="weights that come to the GPU only for their turn: none, blocks (all), auto (default: as memory asks for)",
    )
    parser.add_argument("--cpu", action="store_true", help="there is no GPU: all is in one memory")
    parser.add_argument("--model", type=Path, metavar="PATH", help="DiT weights, or a folder, whose sizes are taken")
    parser.add_argument(
        "--mllm",
        type=Path,
        metavar="PATH",
        help="folder or config.json of a Qwen3-VL of other sizes (default: beside the model)",
    )
    parser.add_argument("--vae", type=Path, metavar="PATH", help="VAE of other sizes (default: beside the model)")
    parser.add_argument("--cards", action="store_true", help="recipes for cards of 24, 16, 12, 8 and 6 GB instead")
    parser.add_argument("--json", action="store_true", help="print JSON, sizes in bytes")
    parser.add_argument("--markdown", action="store_true", help="print the table of --cards for a page")
    return parser


def parse_vram(text: str) -> int:
    """Bytes of "12GB", "12" or "7.5G"; a GB is 10^9 bytes.

    Raises:
        ConfigError: It is no amount.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or not float(match.group(1)):
        raise ConfigError(f"memory {text!r}", expected="a number of GB above 0", fix="say 12GB, for example")
    return round(float(match.group(1)) * GIGA)


def to_setting(arguments: argparse.Namespace) -> Setting:
    """What the arguments ask to plan for."""
    width, height = parse_size(arguments.size)
    if arguments.offload not in OFFLOADS:
        raise ConfigError(f"offload {arguments.offload!r}", expected=", ".join(OFFLOADS), fix="leave it out")
    if arguments.vae_dtype is not None and arguments.vae_dtype not in _ITEMSIZES:
        raise ConfigError(f"dtype {arguments.vae_dtype!r}", expected=", ".join(_ITEMSIZES), fix="leave it out")
    setting = Setting(
        run=RunSizes(
            width=width,
            height=height,
            num_frames=arguments.frames,
            has_source=not arguments.no_source,
            num_references=arguments.references,
            text_tokens=arguments.text_tokens,
        ),
        model=_model_sizes(arguments),
        form=weight_format(arguments.weights),
        on_gpu=not arguments.cpu,
        codec_itemsize=None if arguments.vae_dtype is None else _ITEMSIZES[arguments.vae_dtype],
        offload=arguments.offload,
    )
    if setting.offload == "blocks" and not setting.can_stream:
        raise ConfigError(
            "--offload blocks with --cpu", expected="a GPU", fix="leave --offload out: a CPU has but one memory"
        )
    return setting


def _model_sizes(arguments: argparse.Namespace) -> ModelSizes:
    sizes = ModelSizes()
    if arguments.model is not None:
        from ..weights.detect import detect_config
        from ..weights.reading import open_checkpoint

        sizes = replace(sizes, dit=detect_config(open_checkpoint(arguments.model)))
    mllm = arguments.mllm or _mllm_beside(arguments.model)
    if mllm is not None:
        from ..mllm.loading import read_config

        path = mllm / "config.json" if mllm.is_dir() else mllm
        sizes = replace(sizes, mllm=MLLMSizes.from_config(read_config(path, needed=True)))
    codec = arguments.vae or _codec_beside(arguments.model)
    if codec is not None:
        from ..vae.loading import codec_sizes

        sizes = replace(sizes, vae=codec_sizes(codec))
    return sizes


def _mllm_beside(model: Path | None) -> Path | None:
    """The MLLM that `cli.generate` would take with a model, if its sizes are there; None otherwise."""
    if model is None:
        return None
    from ..bundle import MLLM_NAMES

    folder = model if model.is_dir() else model.parent
    return next((folder / name for name in MLLM_NAMES if (folder / name / "config.json").is_file()), None)


def _codec_beside(model: Path | None) -> Path | None:
    """The VAE that `cli.generate` would take with a model; None where there is none."""
    if model is None:
        return None
    from ..bundle import CODEC_NAMES

    folder = model if model.is_dir() else model.parent
    return next((folder / name for name in CODEC_NAMES if (folder / name).exists()), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    setting = to_setting(arguments)
    if arguments.cards:
        if arguments.vram is not None:
            raise ConfigError("--vram with --cards", expected="one of them", fix="leave --vram out: cards have theirs")
        found = recipes(setting)
        if arguments.json:
            print(json.dumps(recipe_data(found), indent=1))
        else:
            print("\n".join((markdown_table if arguments.markdown else text_table)(recipe_rows(found))))
        return 0
    if arguments.markdown:
        raise ConfigError("--markdown without --cards", expected="both", fix="add --cards, or leave it out")
    plan = choose(setting, None if arguments.vram is None else parse_vram(arguments.vram))
    print(json.dumps(plan_data(plan), indent=1) if arguments.json else "\n".join(plan_lines(plan)))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
