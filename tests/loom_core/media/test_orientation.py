from __future__ import annotations

import numpy as np
import pytest

from loom_core.media.orientation import orientation_of_matrix

FRAME = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)  # 0 1 2 over 3 4 5


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), [[0, 1, 2], [3, 4, 5]]),
        ((0, 1, -1, 0), [[3, 0], [4, 1], [5, 2]]),  # a quarter turn clockwise: a phone held upright
        ((-1, 0, 0, -1), [[5, 4, 3], [2, 1, 0]]),
        ((0, -1, 1, 0), [[2, 5], [1, 4], [0, 3]]),
        ((-1, 0, 0, 1), [[2, 1, 0], [5, 4, 3]]),  # a front camera's mirror
        ((0, 1, 1, 0), [[0, 3], [1, 4], [2, 5]]),
        ((0.02, 0.99, -0.99, 0.02), [[3, 0], [4, 1], [5, 2]]),
    ],
)
def test_matrix_turns_the_picture(matrix, expected):
    orientation = orientation_of_matrix(*matrix)
    turned = orientation.apply(FRAME)
    assert turned[..., 0].tolist() == expected
    assert orientation.upright_size(3, 2) == (turned.shape[1], turned.shape[0])
