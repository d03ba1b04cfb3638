"""Scores as JSON and as a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .scores import (
    Rate,
    Score,
    as_asked,
    mean_interval,
    mean_of,
    mean_over_tasks,
    per_ask,
    per_edit_kind,
    per_reference_count,
    per_reference_part,
    per_task,
    per_task_and_kind,
)


def to_json(scores: Sequence[Score], *, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All results as plain values; rates are 0 to 1.

    Success means that what was asked is there and nothing else changed; the rates under "asked" leave the rest out of
    account, as those by single ask and by reference do. Rates are over valid samples, those that could be judged.

    Args:
        scores: Of all samples.
        settings: How they came about: suite, seed, weights, steps ...
    """
    tasks, kinds, cells = per_task(scores), per_edit_kind(scores), per_task_and_kind(scores)
    low, high = mean_interval(scores)
    return {
        "mean": _number(mean_over_tasks(scores)),
        "interval_95": [_number(low), _number(high)],
        "per_task": _shares(tasks),
        "per_edit_kind": _shares(kinds),
        "per_task_and_kind": _shares(_joined(cells)),
        "asked": {
            "mean": _number(mean_over_tasks(scores, as_asked)),
            "per_task": _shares(per_task(scores, as_asked)),
            "per_edit_kind": _shares(per_edit_kind(scores, as_asked)),
            "per_task_and_kind": _shares(_joined(per_task_and_kind(scores, as_asked))),
        },
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
            "asked_right": sum(as_asked(score) for score in scores if score.is_valid),
            "spilled": sum(score.verdict.spilled is not None for score in scores),
            "invalid": sum(not score.is_valid for score in scores),
            "changed_parts": sum(bool(score.verdict.changed) for score in scores),
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
            "asked_right": score.verdict.is_asked_right,
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
            "changed": list(score.verdict.changed),
            "spilled": _spilled(score),
            "unchanged_psnr": _number(score.unchanged_psnr),
            "motion_agreement": _number(score.motion_agreement),
        }
        for score in scores
    ]


def _spilled(score: Score) -> dict[str, Any] | None:
    spill = score.verdict.spilled
    if spill is None:
        return None
    return {"where": spill.where, "error": round(spill.error, 2), "limit": round(spill.limit, 2)}


def markdown(scores: Sequence[Score]) -> str:
    """Tables for people: tasks by kinds, references, measures; "right" is strict, "asked" leaves out the rest."""
    low, high = mean_interval(scores)
    valid = sum(score.is_valid for score in scores)
    asked = per_task(scores, as_asked)
    lines = ["| task | right | asked | samples |", "|---|---:|---:|---:|"]
    lines += [_row(task, rate, asked[task]) for task, rate in per_task(scores).items()]
    mean, mean_asked = _percent(mean_over_tasks(scores)), _percent(mean_over_tasks(scores, as_asked))
    lines += [
        f"| **mean over tasks** | **{mean}** ({_percent(low)} to {_percent(high)}) | {mean_asked} | {valid} |",
        "",
    ]
    lines += ["right: what was asked is there, and nothing else changed; asked: it is there.", ""]
    if valid < len(scores):
        lines += [f"{len(scores) - valid} more could not be judged: no frame shows what was asked about.", ""]
    lines += _table("edit", per_edit_kind(scores), "right", per_edit_kind(scores, as_asked))
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


def _table(name: str, rates: Mapping[str, Rate], what: str, asked: Mapping[str, Rate] | None = None) -> list[str]:
    if not rates:
        return []
    columns = [name, what, *([] if asked is None else ["asked"]), "samples"]
    rows = [_row(key, rate, *([] if asked is None else [asked[key]])) for key, rate in rates.items()]
    return ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|", *rows, ""]


def _row(name: str, *rates: Rate) -> str:
    return f"| {name} | {' | '.join(_percent(rate.share) for rate in rates)} | {rates[0].total} |"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.0f} %"


def _shares(rates: Mapping[str, Rate]) -> dict[str, float | None]:
    return {name: _number(rate.share) for name, rate in rates.items()}


def _joined(rates: Mapping[tuple[str, str], Rate]) -> dict[str, Rate]:
    return {"/".join(key): rate for key, rate in rates.items()}


def _totals(rates: Mapping[str, Rate]) -> dict[str, int]:
    return {name: rate.total for name, rate in rates.items()}


def _number(value: float | None) -> float | None:
    """Rounded; None for what JSON has no number for."""
    return None if value is None or not math.isfinite(value) else round(value, 4)
