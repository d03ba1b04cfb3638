"""Masks of unequal lengths."""

from __future__ import annotations

import torch

from loom_core.models.padding import length_mask


def test_equal_lengths_need_no_mask():
    assert length_mask([3, 3], torch.zeros(1)) is None


def test_mask_marks_tokens():
    mask = length_mask([1, 3, 0], torch.zeros(1))
    assert mask.tolist() == [[True, False, False], [True, True, True], [False, False, False]]
