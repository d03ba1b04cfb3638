import re
from dataclasses import replace

import pytest

from loom_core.planning.cards import (
    CARDS,
    USUAL,
    longest,
    markdown_table,
    recipe_data,
    recipe_rows,
    recipes,
    text_table,
)
from loom_core.planning.choice import GIGA
from loom_core.planning.plan import Setting
from loom_core.planning.sizes import FORMATS, ModelSizes

SETTING = Setting(run=USUAL, model=ModelSizes(), form=FORMATS["bf16"])


@pytest.fixture(scope="module")
def found():
    return recipes(SETTING)


def test_every_card_has_a_recipe_that_fits_it(found):
    assert {one.card for one in found} == set(CARDS)
    for one in found:
        for plan in (one.usual, one.large):
            assert plan is None or plan.needed <= one.card * GIGA


def test_the_largest_card_does_without_any_measure(found):
    first = found[0]
    assert (first.card, first.form.name, first.usual.setting.run) == (24, "bf16", USUAL)
    assert not first.usual.measures.mllm_on_cpu and first.usual.measures.decode_tile is None


def test_the_longest_that_fits_is_the_longest():
    setting = replace(SETTING, form=FORMATS["fp8"], offload="none")
    plan = longest(setting, 6 * GIGA)
    assert 5 <= plan.setting.run.num_frames < USUAL.num_frames
    more = replace(setting, run=replace(USUAL, num_frames=plan.setting.run.num_frames + 4))
    assert longest(more, 6 * GIGA).setting.run.num_frames == plan.setting.run.num_frames
    assert longest(setting, GIGA) is None


def test_tables_have_a_row_a_recipe(found):
    rows = recipe_rows(found)
    assert len(text_table(rows)) == len(found) + 1
    assert len(markdown_table(rows)) == len(found) + 2
    assert [row["card"] for row in recipe_data(found)] == [one.card for one in found]


def test_the_page_shows_what_the_command_prints(found, repo_root):
    page = (repo_root / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "\n".join(markdown_table(recipe_rows(found))) in page
    assert re.search(r"cli\.plan --cards", page)


def test_small_cards_run_the_released_weights_streamed(found):
    by_card = {one.card: one for one in found if one.form.name == "bf16"}
    assert set(by_card) == set(CARDS)
    assert by_card[6].usual.measures.streamed_blocks > by_card[8].usual.measures.streamed_blocks > 0
    assert any("blocks streamed" in cell for row in recipe_rows(found) for cell in row)


def test_small_cards_run_quantised_weights_with_fewer_blocks_streamed(found):
    wide, narrow = ({one.card: one for one in found if one.form.name == name} for name in ("bf16", "fp8"))
    for card in (8, 6):
        assert narrow[card].usual.setting.run == USUAL
        assert narrow[card].usual.measures.streamed_blocks < wide[card].usual.measures.streamed_blocks
        assert not narrow[card].usual.measures.mllm_on_cpu
    assert narrow[6].usual.measures.streamed_blocks
