"""Every recorded tensor of the VAE is compared."""

from __future__ import annotations

import pytest

pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")


@pytest.mark.parametrize(
    "name", ["posterior_mean", "posterior_logvar", "latents_sampled", "latents_mode", "denormalised", "decoded"]
)
def test_a_changed_number_is_noticed(recheck, failed, name):
    def change(tensors, _about):
        tensors[name].view(-1)[7] += 1e-3

    report = recheck("vae/T1", change)
    assert name in failed(report)


def test_the_same_numbers_pass(recheck, failed):
    report = recheck("vae/T1")
    assert failed(report) == []
    assert len(report.checks) == 7
