"""Scores as JSON and as a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .scores import (
    Rate,
    Score,
    bootstrap_interval,
    mean_of,
    mean_over_tasks,
    per_ask,
    per_edit_kind,
    per_reference_count,
    per_reference_part,
    per_task,
    per_task_and_kind,
)


def to_json(scores: Sequence[Score], *, settings: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """All results as plain values; rates are 0 to 1.

    Args:
        scores: Of all samples.
        settings: How they came about: suite, seed, weights, steps ...
        seed: Of the bootstrap.
    """
    tasks, kinds, cells = per_task(scores), per_edit_kind(scores), per_task_and_kind(scores)
    low, high = bootstrap_interval(scores, seed=seed)
    return {
        "mean": _number(mean_over_tasks(scores)),
        "interval_95": [_number(low), _number(high)],
        "per_task": _shares(tasks),
        "per_edit_kind": _shares(kinds),
        "per_task_and_kind": _shares({f"{task}/{kind}": rate for (task, kind), rate in cells.items()}),
        "per_ask": _shares(per_ask(scores)),
        "references": {
            "by_count": _shares({str(count): rate for count, rate in per_reference_count(scores).items()}),
            "by_part": _shares(per_reference_part(scores)),
        },
        "unchanged_psnr": _number(mean_of(scores, lambda score: score.unchanged_psnr)),
        "motion_agreement": _number(mean_of(scores, lambda score: score.motion_agreement)),
        "flicker": _number(mean_of(scores, lambda score: score.flicker)),
        "sharpness": _number(mean_of(scores, lambda score: score.sharpness)),
        "counts": {
            "samples": len(scores),
            "right": sum(score.verdict.is_right for score in scores if score.is_valid),
            "invalid": sum(not score.is_valid for score in scores),
            "lost_things": sum(bool(score.verdict.lost) for score in scores),
            "per_task": _totals(tasks),
            "per_edit_kind": _totals(kinds),
            "per_reference_count": {str(count): rate.total for count, rate in per_reference_count(scores).items()},
            "per_reference_part": _totals(per_reference_part(scores)),
        },
        "settings": dict(settings),
    }


def samples_json(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Every sample's result, one mapping each, for a closer look."""
    return [
        {
            "key": score.key,
            "instruction": score.request.instruction,
            "right": score.verdict.is_right,
            "asks": [
                {
                    "attribute": verdict.ask.attribute,
                    "reference": verdict.ask.reference,
                    "right": verdict.is_right,
                    "seen": verdict.seen,
                    "error": round(verdict.error, 2),
                    "margin": round(verdict.margin, 2),
                }
                for verdict in score.verdict.asks
            ],
            "lost": list(score.verdict.lost),
            "unchanged_psnr": _number(score.unchanged_psnr),
            "motion_agreement": _number(score.motion_agreement),
        }
        for score in scores
    ]


def markdown(scores: Sequence[Score]) -> str:
    """Tables for people: tasks by kinds, references, measures."""
    low, high = bootstrap_interval(scores)
    lines = ["| task | right | samples |", "|---|---:|---:|"]
    lines += [_row(task, rate) for task, rate in per_task(scores).items()]
    mean = _percent(mean_over_tasks(scores))
    lines += [f"| **mean over tasks** | **{mean}** ({_percent(low)} to {_percent(high)}) | {len(scores)} |", ""]
    lines += _table("edit", per_edit_kind(scores), "right")
    lines += _table("what was asked", per_ask(scores), "seen")
    by_count = {f"of {count}": rate for count, rate in per_reference_count(scores).items()}
    lines += _table("references", by_count | per_reference_part(scores), "obeyed")
    return "\n".join([*lines, measures_table(scores)])


def measures_table(scores: Sequence[Score]) -> str:
    """The measures beside right and wrong, as a table."""
    measures = (
        ("unchanged region", mean_of(scores, lambda score: score.unchanged_psnr), "{:.1f} dB"),
        ("motion agreement", mean_of(scores, lambda score: score.motion_agreement), "{:.2f}"),
        ("flicker", mean_of(scores, lambda score: score.flicker), "{:.2f} of 255 levels"),
        ("sharpness", mean_of(scores, lambda score: score.sharpness), "{:.2f} of the truth's"),
    )
    lines = ["| measure | mean |", "|---|---:|"]
    lines += [f"| {name} | {form.format(value)} |" for name, value, form in measures if value is not None]
    return "\n".join(lines)


def _table(name: str, rates: Mapping[str, Rate], what: str) -> list[str]:
    if not rates:
        return []
    return [f"| {name} | {what} | samples |", "|---|---:|---:|", *(_row(key, rate) for key, rate in rates.items()), ""]


def _row(name: str, rate: Rate) -> str:
    return f"| {name} | {_percent(rate.share)} | {rate.total} |"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.0f} %"


def _shares(rates: Mapping[str, Rate]) -> dict[str, float | None]:
    return {name: _number(rate.share) for name, rate in rates.items()}


def _totals(rates: Mapping[str, Rate]) -> dict[str, int]:
    return {name: rate.total for name, rate in rates.items()}


def _number(value: float | None) -> float | None:
    """Rounded; None for what JSON has no number for."""
    return None if value is None or not math.isfinite(value) else round(value, 4)
