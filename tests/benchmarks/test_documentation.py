"""The page shows what the results files hold; `python -m benchmarks.page` brings it up to date."""

import re

from benchmarks.ablations.page import filled
from benchmarks.page import PAGE, PICTURES, RESULTS, ROW, pictures, sections, with_numbers
from benchmarks.targets import read_results

UP_TO_DATE = "python -m benchmarks.page"


def test_every_row_has_its_results():
    shown = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(shown) > 20
    assert {key for _, key in shown} - set(read_results(RESULTS)) == set()


def test_numbers_of_the_page_are_those_of_the_results():
    page, results = PAGE.read_text(encoding="utf-8"), read_results(RESULTS)
    assert with_numbers(page, results) == page, UP_TO_DATE
    assert filled(page, sections(results)) == page, UP_TO_DATE


def test_plots_of_the_page_are_those_of_the_results():
    drawn = pictures(read_results(RESULTS))
    linked = re.findall(r"images/performance/(\w+\.svg)", PAGE.read_text(encoding="utf-8"))
    assert sorted(linked) == sorted(drawn)
    for name, text in drawn.items():
        assert (PICTURES / name).read_text(encoding="utf-8") == text, UP_TO_DATE
