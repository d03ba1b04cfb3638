"""The memory that a run is planned to take, against what is free."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import ResourceError
from ..phrases import joined, phrase
from ..planning.choice import GIGA, choose, most_frames
from ..planning.plan import Setting
from .finding import Finding, Level

_MEMINFO = Path("/proc/meminfo")


def free_memory() -> int | None:
    """Bytes of ordinary memory that can be used without swapping; None where the system does not say."""
    if _MEMINFO.is_file():
        available = re.search(r"MemAvailable:\s*(\d+) kB", _MEMINFO.read_text(encoding="ascii"))
        if available:
            return int(available.group(1)) * 1024
    if "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def check_memory(setting: Setting, free: int, *, where: str) -> list[Finding]:
    """Whether a run fits, and what it does to fit.

    The plan is an estimate, and hosts can keep weights elsewhere, so what does not fit is a warning.

    Args:
        setting: Sizes of run and model.
        free: Bytes that the run may use.
        where: Whose memory that is, for people ("GPU").
    """
    try:
        plan = choose(setting, free)
    except ResourceError as error:
        shorter = most_frames(setting, free)
        settings = {} if shorter is None else {"num_frames": shorter}
        finding = Finding.of_error("memory", error, level=Level.WARNING, settings=settings)
        return [finding]
    reasons = [phrase("{phase}: {reason}", phase=entry.phase.name, reason=entry.reason) for entry in plan.fitted]
    return [
        Finding.note(
            "memory",
            phrase(
                "{needed} GB predicted for {run} ({reasons})",
                needed=f"{plan.needed / GIGA:.1f}",
                run=setting.run.describe(),
                reasons=joined(reasons, "{this}; {that}"),
            ),
            expected=phrase(
                "at most the {free} GB that are free on the {device}", free=f"{free / GIGA:.1f}", device=where
            ),
        )
    ]
