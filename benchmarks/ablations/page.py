"""From results to docs/ablations.md: tables and pictures, written between the marks of each comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from loom_core.atomic import atomic_target, make_folder
from loom_core.errors import ConfigError

from .comparisons import Comparison
from .intervals import Estimate, difference, estimate
from .pictures import draw_comparison
from .running import RESULT_FILE

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "ablations.md"
PICTURES = ROOT / "docs" / "images" / "ablations"
RESULTS = ROOT / "benchmarks" / "results" / "ablations.json"
CONDITIONS = "conditions"
"""Marks the place that tells how the runs were made."""
NOT_RUN = "*Not run yet.*"
LOSSES = ("loss", "low", "mid", "high")
"""Of the first table, as `final` names them."""

Result = Mapping[str, Any]
Results = Mapping[str, Mapping[int, Result]]
"""Variant -> seed -> what its run found."""


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The results of all finished runs below a folder, in order of variant and seed."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(f"*/*/{RESULT_FILE}")]
    return sorted(found, key=lambda result: (result["variant"], result["seed"]))


def by_variant(results: Iterable[Result]) -> Results:
    """Results by variant and seed.

    Raises:
        ConfigError: Runs of a variant had different settings, or two variants different budgets.
    """
    sorted_out: dict[str, dict[int, Result]] = {}
    for result in results:
        sorted_out.setdefault(result["variant"], {})[result["seed"]] = result
    for variant, seeds in sorted_out.items():
        if len({result["fingerprint"] for result in seeds.values()}) > 1:
            raise _unlike(f"runs of {variant} with different settings")
    if len({result["budget"] for seeds in sorted_out.values() for result in seeds.values()}) > 1:
        raise _unlike("runs with different budgets")
    return sorted_out


def _unlike(found: str) -> ConfigError:
    return ConfigError(found, expected="equal compute for all", fix="delete the older runs and make them again")


def final(result: Result, name: str) -> float:
    """A number of a run's end: "loss", a noise third, or "right" or "asked" of the judge."""
    if name in ("right", "asked"):
        return float(result["judged"][name])
    last = result["curve"][-1]
    return float(last["loss"] if name == "loss" else last["by_noise"][name])


def loss_at(result: Result, samples: float) -> float:
    """The held-out loss after so many samples, on the straight line between two measurements."""
    curve = result["curve"]
    for before, after in pairwise(curve):
        if before["samples"] <= samples <= after["samples"] and after["samples"] > before["samples"]:
            share = (samples - before["samples"]) / (after["samples"] - before["samples"])
            return float(before["loss"] + share * (after["loss"] - before["loss"]))
    return float(curve[-1]["loss"])


def _over_seeds(seeds: Mapping[int, Result], value: Callable[[Result], float]) -> Estimate:
    return estimate([value(result) for result in seeds.values()])


def _text(found: Estimate | None, form: str, *, scale: float = 1.0, sign: str = "") -> str:
    if found is None:
        return "-"
    half = "" if found.half is None else f" ± {scale * found.half:{form}}"
    return f"{scale * found.mean:{sign}{form}}{half}"


def _percent(found: Estimate | None, *, sign: str = "") -> str:
    return "-" if found is None else _text(found, ".0f", scale=100, sign=sign) + " %"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def verdict(name: str, base: str, found: Estimate | None, *, what: str, form: Callable[[Estimate], str]) -> str:
    """One sentence: whether a variant differs from the paper's way."""
    if found is None or found.half is None:
        return f"`{name}` and `{base}` have too few seeds in common for an interval."
    if not found.is_apart_from_zero:
        return f"`{name}` and `{base}` are not told apart by {what} ({form(found)})."
    return f"`{name}` has the {'higher' if found.mean > 0 else 'lower'} {what} than `{base}` ({form(found)})."


def _differences(comparison: Comparison, results: Results, name: str) -> dict[str, Estimate | None]:
    """Of each variant but the first, to the first."""
    base = {seed: final(result, name) for seed, result in results.get(comparison.variants[0], {}).items()}
    return {
        variant: difference({seed: final(result, name) for seed, result in results[variant].items()}, base)
        for variant in comparison.variants[1:]
        if variant in results
    }


def _quality(comparison: Comparison, results: Results) -> list[str]:
    head = ("variant", "held-out loss", "low noise", "mid", "high", "difference to the first", "as asked", "right")
    losses = _differences(comparison, results, "loss")
    rows = []
    for variant in comparison.variants:
        if variant not in results:
            continue
        seeds = results[variant]
        cells = [_text(_over_seeds(seeds, partial(final, name=name)), ".4f") for name in LOSSES]
        apart = _text(losses.get(variant), ".4f", sign="+")
        shares = [_percent(_over_seeds(seeds, partial(final, name=name))) for name in ("asked", "right")]
        rows.append((f"`{variant}`", *cells, apart, *shares))
    return _table(head, rows)


def _by_task(comparison: Comparison, results: Results) -> list[str]:
    """Held-out losses of each task, where there are several."""
    present = {variant: results[variant] for variant in comparison.variants if variant in results}
    tasks = sorted(
        {task for seeds in present.values() for one in seeds.values() for task in one["curve"][-1]["by_task"]}
    )

    if len(tasks) == 1:
        return []

    def cells(seeds: Mapping[int, Result]) -> list[str]:
        return [_text(estimate([one["curve"][-1]["by_task"][task] for one in seeds.values()]), ".4f") for task in tasks]

    return _table(["held-out loss of", *tasks], [(f"`{variant}`", *cells(seeds)) for variant, seeds in present.items()])


def _cost(comparison: Comparison, results: Results) -> list[str]:
    present = {variant: results[variant] for variant in comparison.variants if variant in results}
    trained = [result for seeds in present.values() for result in seeds.values() if result["steps"]]
    least = min((result["samples"] for result in trained), default=0)
    columns: dict[str, tuple[Callable[[Result], float], str]] = {
        "TFLOP": (lambda one: one["flops"] / 1e12, ".2f"),
        "steps": (lambda one: one["steps"], ".0f"),
        "samples": (lambda one: one["samples"], ".0f"),
        "tokens a pass": (lambda one: one["tokens"] / one["passes"], ".1f"),
        "processor s": (lambda one: one["processor_seconds"], ".0f"),
        "processor s a step": (lambda one: one["processor_seconds"] / one["steps"], ".3f"),
    }
    if comparison.headline == "loss":  # in RL, samples are answers
        columns[f"loss after {least} samples"] = (lambda one: loss_at(one, least), ".4f")
    rows = []
    for variant, seeds in present.items():
        is_trained = all(result["steps"] for result in seeds.values())
        cells = [_text(_over_seeds(seeds, value), form) if is_trained else "-" for value, form in columns.values()]
        rows.append((f"`{variant}`", str(len(seeds)), *cells))
    return _table(["variant", "seeds", *columns], rows)


def section(comparison: Comparison, results: Results, *, picture: str) -> str:
    """What stands between the marks of a comparison.

    Args:
        comparison: Which.
        results: Of all variants.
        picture: Path of its picture, as the page links it.
    """
    missing = [variant for variant in comparison.variants if variant not in results]
    if len(missing) == len(comparison.variants):
        return NOT_RUN
    tables = [table(comparison, results) for table in (_quality, _by_task, _cost)]
    lines = [f"![{comparison.title}]({picture})", "", *(line for table in tables for line in table)]
    if missing:
        lines += [f"*Not run yet: {', '.join(f'`{variant}`' for variant in missing)}.*", ""]
    base = comparison.variants[0]
    by_loss = _differences(comparison, results, "loss")
    by_judge = _differences(comparison, results, "right" if comparison.headline == "right" else "asked")
    what = "share of right answers" if comparison.headline == "right" else "share of answers as asked"
    for variant, found in by_loss.items():
        lines.append(
            "- " + verdict(variant, base, found, what="held-out loss", form=lambda one: _text(one, ".4f", sign="+"))
        )
        judged = by_judge[variant]
        lines.append("- " + verdict(variant, base, judged, what=what, form=lambda one: _percent(one, sign="+")))
    return "\n".join(lines).rstrip()


def conditions(results: Sequence[Result]) -> str:
    """What stands between the marks of the conditions: how many runs, made with what."""
    if not results:
        return NOT_RUN
    made_with = sorted({_made_with(result["software"], result["environment"]) for result in results})
    return f"{len(results)} runs, made with {'; '.join(made_with)}."


def _made_with(software: str, known: Mapping[str, Any]) -> str:
    threads = "1 thread" if known["threads"] == 1 else f"{known['threads']} threads"
    return f"{software}, torch {known['torch']}, {known['system']}, {known['processor']}, {threads}"


def filled(page: str, sections: Mapping[str, str]) -> str:
    """A page with what stands between its marks replaced.

    Args:
        page: Its text.
        sections: Key of a comparison -> what belongs there.

    Raises:
        ConfigError: The page lacks the marks of one.
    """
    for key, text in sections.items():
        start, end = marks(key)
        pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
        parts = pattern.split(page)
        if len(parts) != 2:  # before and after
            raise ConfigError(f"a page without {start} and {end}", expected="both, once", fix="put them back")
        page = f"{parts[0]}{start}\n\n{text}\n\n{end}{parts[1]}"
    return page


def marks(key: str) -> tuple[str, str]:
    """Between which a comparison's results stand."""
    return f"<!-- results: {key} -->", f"<!-- end: {key} -->"


def write_page(folder: Path, *, results: Path, page: Path, pictures: Path, comparisons: Sequence[Comparison]) -> None:
    """Gather the results of all runs, draw them and put them on the page.

    Args:
        folder: Of the runs.
        results: File that gathers them.
        page: Filled; where it is not there, from the text of the docs' page.
        pictures: Folder of the pictures, beside or below the page.
        comparisons: All of the page.

    Raises:
        ConfigError: There are no results, or some that cannot be compared; or the page lacks a mark.
    """
    found = read_results(folder)
    sorted_out = by_variant(found)
    if not found:
        raise ConfigError(f"no finished run in {folder}", expected="at least one", fix="make some, without --report")
    make_folder(pictures, what="the folder of pictures", fix="give another --work")
    with atomic_target(results) as temporary:
        temporary.write_text(gathered(found), encoding="utf-8")
    sections = {CONDITIONS: conditions(found)}
    for comparison in comparisons:
        picture = pictures / f"{comparison.key}.png"
        if any(variant in sorted_out for variant in comparison.variants):
            draw_comparison(comparison, sorted_out, picture)
        link = picture.relative_to(page.parent).as_posix()
        sections[comparison.key] = section(comparison, sorted_out, picture=link)
    text = (page if page.is_file() else PAGE).read_text(encoding="utf-8")
    with atomic_target(page) as temporary:
        temporary.write_text(filled(text, sections), encoding="utf-8")


def gathered(found: Sequence[Result]) -> str:
    """All results as JSON, a run on each line."""
    return "[\n" + ",\n".join(json.dumps(result) for result in found) + "\n]\n"
