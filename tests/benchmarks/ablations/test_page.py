import json

import pytest

from benchmarks.ablations.comparisons import BUDGET, COMPARISONS, Comparison
from benchmarks.ablations.page import (
    CONDITIONS,
    NOT_RUN,
    PAGE,
    RESULTS,
    by_variant,
    conditions,
    filled,
    gathered,
    loss_at,
    marks,
    read_results,
    section,
    write_page,
)
from benchmarks.ablations.running import CONFIGS, Size
from loom_core.config.training import read_training_config
from loom_core.errors import ConfigError
from loom_core.training.validation import NUM_LEVELS

PAIR = Comparison(key="pair", title="One against another", variants=("one", "other"))


@pytest.fixture
def pair(make_result):
    """Three seeds of each; the other's loss is higher by 0.1, give or take a hundredth."""
    ones = [make_result("one", seed, loss=0.3 + 0.1 * seed) for seed in range(3)]
    slips = (-0.01, 0.0, 0.01)
    others = [
        make_result("other", seed, loss=0.4 + 0.1 * seed + slips[seed], samples=80, tokens=2560) for seed in range(3)
    ]
    return [*ones, *others]


def test_tables_and_sentences(pair):
    text = section(PAIR, by_variant(pair), picture="images/pair.png")
    assert "![One against another](images/pair.png)" in text
    rows = [line.split(" |")[0] for line in text.splitlines() if line.startswith("| `")]
    assert rows == ["| `one`", "| `other`"] * 3
    assert "| held-out loss of | edit-image | text-to-image |" in text
    assert "| `one` | 0.4100 ± 0.2484 | 0.3900 ± 0.2484 |" in text
    assert (
        "| `other` | 0.5000 ± 0.2733 | 0.6000 ± 0.2733 | 0.5000 ± 0.2733 | 0.4000 ± 0.2733 | +0.1000 ± 0.0248 |" in text
    )
    assert "| `one` | 0.4000 ± 0.2484 |" in text
    assert "35 ± 0 % | 25 ± 0 % |" in text
    assert "loss after 80 samples" in text
    assert (
        "| `other` | 3 | 2.00 ± 0.00 | 10 ± 0 | 80 ± 0 | 16.0 ± 0.0 | 50 ± 0 | 5.000 ± 0.000 | 0.5000 ± 0.2733 |"
        in text
    )
    assert (
        "| `one` | 3 | 2.00 ± 0.00 | 10 ± 0 | 120 ± 0 | 8.0 ± 0.0 | 50 ± 0 | 5.000 ± 0.000 | 0.6667 ± 0.4141 |" in text
    )
    assert "`other` has the higher held-out loss than `one` (+0.1000 ± 0.0248)." in text
    assert "not told apart by share of answers as asked (+0 ± 0 %)" in text


def test_what_is_missing_is_said(pair):
    assert section(PAIR, {}, picture="p") == NOT_RUN
    text = section(PAIR, by_variant(pair[:1]), picture="p")
    assert "*Not run yet: `other`.*" in text and "±" not in text
    text = section(PAIR, by_variant([pair[0], pair[3]]), picture="p")
    assert "too few seeds" in text


def test_a_variant_without_training_has_no_cost(make_result):
    bare = make_result("other", 0, loss=0.5) | {"steps": 0, "samples": 0, "passes": 0, "tokens": 0, "flops": 0}
    text = section(PAIR, by_variant([make_result("one", 0, loss=0.4), bare]), picture="p")
    assert "| `other` | 1 | - | - | - | - | - | - | - |" in text


def test_right_answers_are_what_rl_is_about(pair):
    comparison = Comparison(key="pair", title="", variants=("one", "other"), headline="right")
    text = section(comparison, by_variant(pair), picture="p")
    assert "share of right answers" in text and "loss after" not in text


def test_losses_of_a_single_task_are_not_told_twice(pair):
    for result in pair:
        result["curve"][-1]["by_task"] = {"edit-image": 0.4}
    assert "held-out loss of" not in section(PAIR, by_variant(pair), picture="p")


def test_unlike_runs_are_refused(make_result):
    one = make_result("one", 0, loss=0.4)
    with pytest.raises(ConfigError, match="different settings"):
        by_variant([one, make_result("one", 1, loss=0.4, fingerprint="g")])
    with pytest.raises(ConfigError, match="different budgets"):
        by_variant([one, make_result("other", 0, loss=0.4, budget=1.0)])


def test_loss_between_two_measurements(make_result):
    result = make_result("one", 0, loss=1.0)  # 3, 2, 1 after 0, 60, 120 samples
    assert [loss_at(result, samples) for samples in (0, 30, 60, 120)] == [3.0, 2.5, 2.0, 1.0]


def test_only_what_stands_between_marks_is_replaced():
    start, end = marks("pair")
    page = filled(f"before\n{start}\nold\n{end}\nafter", {"pair": "new \\1"})
    assert page == f"before\n{start}\n\nnew \\1\n\n{end}\nafter"
    assert filled(page, {"pair": "new \\1"}) == page
    with pytest.raises(ConfigError, match="a page without"):
        filled("nothing", {"pair": "new"})


def test_the_page_has_a_place_for_every_comparison_and_names_every_variant():
    text = PAGE.read_text(encoding="utf-8")
    for comparison in COMPARISONS:
        start, end = marks(comparison.key)
        assert text.count(start) == text.count(end) == 1
        before = text.partition(start)[0]
        assert all(f"`{variant}`" in before for variant in comparison.variants)


def test_the_page_says_how_much_is_done():
    text = PAGE.read_text(encoding="utf-8")
    measured = read_training_config(CONFIGS / "edits.yaml").validation
    assert f"{BUDGET / 1e12:.0f} TFLOP of the DiT" in text
    assert f"{measured.samples} held-out samples, each at {measured.levels_per_sample} of {NUM_LEVELS}" in text
    assert f"{Size().judged_samples} held-out requests" in text


def test_writing_gathers_draws_and_fills(pair, tmp_path):
    for result in pair:
        folder = tmp_path / "runs" / result["variant"] / f"seed-{result['seed']}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result))
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    start, end = marks("pair")
    page.write_text("\n".join([*marks("conditions"), start, end]))
    write_page(tmp_path / "runs", results=results, page=page, pictures=tmp_path / "images", comparisons=[PAIR])
    assert json.loads(results.read_text()) == pair == read_results(tmp_path / "runs")
    assert len(gathered(pair).splitlines()) == len(pair) + 2
    assert "+0.1000 ± 0.0248" in page.read_text() and "(images/pair.png)" in page.read_text()
    assert "6 runs, made with LoomVideo 0, torch 2, any, any, 1 thread." in page.read_text()
    assert (tmp_path / "images" / "pair.png").is_file()


def test_without_a_run_nothing_is_written(tmp_path):
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    with pytest.raises(ConfigError, match="no finished run"):
        write_page(tmp_path / "runs", results=results, page=page, pictures=tmp_path / "images", comparisons=[PAIR])
    assert list(tmp_path.iterdir()) == []


def test_the_page_shows_what_the_results_file_holds():
    """Where there is none, nothing was run, and the page says so."""
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    expected = {CONDITIONS: conditions(found)}
    for one in COMPARISONS:
        expected[one.key] = section(one, by_variant(found), picture=f"images/ablations/{one.key}.png")
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text, expected) == text
