"""Say what a weights file is: `python -m loom_core.cli.inspect FILE`.

Ends with 0 if the file is whole, with 3 if it cannot be read, lacks weights or was changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..errors import WeightsError
from ..weights.checks import shortened
from ..weights.detect import read_config_file
from ..weights.inspection import GOOD_FOR, Inspection, format_bytes, inspect_checkpoint
from ..weights.reading import open_checkpoint
from .arguments import Parser
from .exits import DONE, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments without the program's name.
    """
    arguments = _parser().parse_args(argv)
    inspection = inspect_checkpoint(
        open_checkpoint(arguments.file, ema=arguments.ema),
        config_hint=read_config_file(arguments.config) if arguments.config else None,
        verify=arguments.verify,
    )
    print(json.dumps(inspection.to_dict(), indent=1) if arguments.json else describe(inspection))
    return DONE if inspection.is_whole else WeightsError.exit_code


def describe(inspection: Inspection) -> str:
    """An inspection in lines of "what: value"."""
    checkpoint = inspection.checkpoint
    naming = checkpoint.naming
    rows = [
        ("file", ", ".join(str(file) for file in checkpoint.files)),
        ("layout", checkpoint.layout),
        ("model", checkpoint.kind.value),
        ("good for", GOOD_FOR[checkpoint.kind]),
        (
            "size",
            f"{format_bytes(checkpoint.num_bytes)}, {checkpoint.num_parameters:,} numbers in {len(checkpoint)} tensors",
        ),
        *(
            ("dtype", f"{name}: {share.tensors} tensors, {format_bytes(share.num_bytes)}")
            for name, share in inspection.dtypes.items()
        ),
    ]
    if inspection.quantised:
        forms = ", ".join(f"{number} layers in {form}" for form, number in inspection.quantised.items())
        rows.append(("quantised", forms))
    if inspection.keys is not None:
        style = "diffusers (official)" if naming.style == "diffusers" else "Wan-native"
        rows.append(("names", style + (f", prefix {naming.prefix!r}" if naming.prefix else "")))
    if inspection.config is not None:
        rows += [("config", f"{name} = {value}") for name, value in asdict(inspection.config).items()]
    if naming.dropped:
        rows.append(("dead", f"{len(naming.dropped)} weights of the text embedder, which no block reads"))
    if naming.foreign:
        rows.append(("others", f"{len(naming.foreign)} tensors of other components"))
    if inspection.keys is not None:
        keys = inspection.keys
        rows += [
            (what, f"{len(names)}: {shortened(names)}" if names else "none")
            for what, names in (
                ("missing", keys.missing),
                ("unexpected", keys.unexpected),
                ("misshaped", keys.misshaped),
            )
        ]
    if inspection.content_ok is not None:
        rows.append(("content", "as its hash says" if inspection.content_ok else "CHANGED since it was written"))
    rows += [("metadata", f"{name} = {value}") for name, value in sorted(checkpoint.metadata.items())]
    if inspection.problem:
        rows.append(("problem", inspection.problem))
    return "\n".join(f"{what:<11}{value}" for what, value in rows)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m loom_core.cli.inspect", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="weights file or folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-ema", dest="ema", action="store_false", help="of a folder, look at the live weights")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="config.json of the DiT, where the file does not say"
    )
    parser.add_argument("--verify", action="store_true", help="compare the data with the hash in the metadata")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
