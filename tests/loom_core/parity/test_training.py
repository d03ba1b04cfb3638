"""The functions around training; packs are in the full set of cases alone, which the command runs."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda about: about["timestep_sampling"]["t"].__setitem__(0, 0.5), "noise levels"),
        (lambda about: about["bucket_tables"]["video"].popitem(), "video buckets"),
        (lambda about: next(iter(about["dynamic_shift"].values()))["shift"].update({"64": 7.5}), "shift"),
    ],
)
def test_a_changed_number_is_noticed(recheck, failed, change, name):
    names = failed(recheck("training/functions", lambda _tensors, about: change(about)))
    assert names
    assert all(found.startswith(name) for found in names)


def test_the_same_numbers_pass(recheck):
    assert recheck("training/functions").ok
