"""`python -m loom_core.cli.make_world`: a data set of moving shapes as files, to try the trainer on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.world.scene import SIDE
from ..errors import ConfigError
from ..geometry import check_frames
from .arguments import Parser, parse_size
from .exits import run

if TYPE_CHECKING:
    from ..data.world.samples import WorldSettings


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="python -m loom_core.cli.make_world",
        description="Write clips and stills of moving coloured shapes with exact captions, edits and references: a "
        "folder with a metadata.jsonl that the trainer reads (kind: manifest). The same command goes on where it was "
        "stopped.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="new, empty, or begun earlier")
    parser.add_argument("--samples", type=int, required=True, metavar="N", help="how many")
    parser.add_argument(
        "--tasks", nargs="+", default=["edit-video"], metavar="NAME", help="drawn evenly (default: edit-video)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all samples (default: 0)")
    parser.add_argument(
        "--split", default="train", metavar="NAME", help="train (default) or held-out: combinations never in training"
    )
    parser.add_argument(
        "--size", default=f"{SIDE}x{SIDE}", metavar="WxH", help=f"multiples of 32 (default: {SIDE}x{SIDE})"
    )
    parser.add_argument("--frames", type=int, default=9, metavar="N", help="of clips, 4k + 1 (default: 9)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the manifest's path")
    return parser


def to_settings(arguments: argparse.Namespace) -> WorldSettings:
    """The world that the arguments stand for."""
    from ..data.world.samples import WorldSettings

    check_frames(arguments.frames)
    return WorldSettings(
        seed=arguments.seed,
        split=arguments.split,
        size=parse_size(arguments.size, example=f"{SIDE}x{SIDE}"),
        frames=(arguments.frames,),
        tasks=dict.fromkeys(arguments.tasks, 1.0),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    if arguments.samples < 1:
        raise ConfigError(f"--samples {arguments.samples}", expected="at least 1", fix="1000 is enough to try things")
    settings = to_settings(arguments)

    from tqdm import tqdm

    from ..data.world.writing import MANIFEST, write_world

    with tqdm(total=arguments.samples, unit="sample", file=sys.stderr, disable=arguments.quiet) as bar:
        made = write_world(
            arguments.output, settings, count=arguments.samples, progress=lambda done: bar.update(done - bar.n) and None
        )
    if not arguments.quiet:
        print(f"{made} samples made, {arguments.samples - made} were there", file=sys.stderr)
    print(arguments.output / MANIFEST)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
