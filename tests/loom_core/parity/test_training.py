"""Packs through the loss with its gradients, and the functions around training."""

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


@pytest.mark.parametrize("name", ["functions", "packed2_scalar_t", "packed3"])
def test_the_same_numbers_pass(recheck, name):
    report = recheck(f"training/{name}")
    assert report.ok, report.line()
    assert report.checks


@pytest.mark.parametrize("kind", ["grad.", "grad_norm.", "gen_loss"])
def test_another_loss_or_gradient_is_noticed(recheck, failed, kind):
    def change(tensors, _about):
        name = next(name for name in tensors if name.startswith(kind))
        tensors[name] *= 1.01

    (name,) = failed(recheck("training/packed2_scalar_t", change))
    assert name.startswith(kind)
