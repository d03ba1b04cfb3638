"""Runs every case found in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import ConfigError
from .cases import Case, find_cases
from .codec import check_codec
from .dit import check_bf16, check_forward
from .mllm import check_deepstack, check_prompts
from .report import CaseReport
from .rope import check_tables
from .sampling import check_run
from .training import check_training
from .weights import check_weights

KINDS: dict[str, Callable[[Case, CaseReport], None]] = {
    "dit_forward": check_forward,
    "bf16_cpu": check_bf16,
    "ref_rope": check_tables,
    "deepstack": check_deepstack,
    "visual_only_prompt": check_prompts,
    "cfg_sampling": check_run,
    "vae": check_codec,
    "training": check_training,
    "weights": check_weights,
}
"""Folder of a case -> the function that recomputes it."""


def run_case(case: Case) -> CaseReport:
    """Recompute one case; an exception is a failure with its text, so that the other cases still run."""
    report = CaseReport(case.name)
    try:
        KINDS[case.kind](case, report)
    except Exception as error:
        report.failed(f"{type(error).__name__}: {error}")
    return report


def run_folder(root: Path, *, only: str = "") -> Iterator[CaseReport]:
    """Recompute every case of a folder.

    Args:
        root: Folder with a subfolder for each kind.
        only: Run the cases whose "kind/name" contains this.

    Raises:
        ConfigError: The folder has no case.
    """
    cases = [case for kind in KINDS for case in find_cases(root, kind) if only in case.name]
    if not cases:
        raise ConfigError(
            f"no reference case in {root}" + (f" whose name contains {only!r}" if only else ""),
            expected=f"subfolders {', '.join(KINDS)} with .json and .safetensors files",
            fix="name the folder that holds them, as tests/golden",
        )
    for case in cases:
        yield run_case(case)
