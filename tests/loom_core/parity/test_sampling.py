"""Whole runs, step by step, and the schedules alone."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("name", ["latents", "pred_full", "pred_visual", "pred_uncond", "pred_guided", "sigmas"])
def test_a_changed_number_is_noticed(recheck, failed, name):
    def change(tensors, _about):
        tensors[name].view(-1)[-1] += 1e-2

    assert failed(recheck("cfg_sampling/edit_image", change)) == [name]


def test_another_guidance_scale_shows_from_the_first_step(recheck, failed):
    def change(_tensors, about):
        about["guidance_scale"] += 0.5

    assert {"pred_guided", "latents"} <= set(failed(recheck("cfg_sampling/edit_image", change)))


def test_schedules_are_those_of_the_recorded_shift(recheck, failed):
    assert recheck("cfg_sampling/schedules").ok

    def change(_tensors, about):
        about["scheduler_config"]["flow_shift"] = 3.0

    assert failed(recheck("cfg_sampling/schedules", change))
