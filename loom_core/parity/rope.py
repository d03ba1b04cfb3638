"""Rotary tables of targets and references, exact and rounded."""

from __future__ import annotations

import re

from ..geometry import LatentShape
from ..models.rope import axis_dims, rope_table
from .cases import Case
from .dit import table_error
from .report import CaseReport

_SIZE = re.compile(r"T,H,W=\((\d+), (\d+), (\d+)\)")
_NAME = re.compile(r"hd(?P<head_dim>\d+)\.(?P<bf16>bf16_)?(?P<kind>target|ref(?P<index>-?\d+))_cos")


def check_tables(case: Case, report: CaseReport) -> None:
    """A `ref_rope` case; the size of each table stands in the description of its exact form."""
    for head_dim, dims in case.about["axis_dims"].items():
        report.equal(f"axes of {head_dim}", axis_dims(int(head_dim)), (dims["t_dim"], dims["h_dim"], dims["w_dim"]))
    for name in case.tensors:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        described = case.about["tensors"][name.replace("bf16_", "")]["meaning"]
        frames, height, width = map(int, _SIZE.findall(described)[0])
        table = rope_table(
            LatentShape(frames, height, width),
            int(match["head_dim"]),
            temporal_index=None if match["index"] is None else int(match["index"]),
            rounded=match["bf16"] is not None,
        )
        table_error(table, case.tensors, name.removesuffix("_cos"), report)
