"""The pictures of the prompt guide and the README are those that the script makes, and show what the pages say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFont


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("make_guide_pictures")


def test_every_picture_is_there_and_none_is_left_over(script):
    folder = script.FOLDER
    assert {f"guide/{path.name}" for path in (folder / "guide").iterdir()} == {
        name for name in script.ROWS if name.startswith("guide/")
    }
    assert all((folder / name).is_file() for name in script.ROWS)


def test_pictures_have_a_panel_for_each_of_the_row(script):
    for name, panels in script.ROWS.items():
        with Image.open(script.FOLDER / name) as picture:
            assert picture.width == len(panels) * (script.SIDE + script.GAP) - script.GAP, name
            assert getattr(picture, "n_frames", 1) == (33 if name.endswith(".webp") else 1), name


def test_the_guide_says_what_was_asked(script, repo_root):
    guide = (repo_root / "docs" / "prompt-guide.md").read_text(encoding="utf-8")
    for name, panels in script.ROWS.items():
        if name.startswith("guide/"):
            assert f"(images/{name})" in guide
            assert [panel.label for panel in panels if panel.request and panel.label not in guide] == [], name


def test_a_row_stands_still_where_a_clip_has_ended(script, tmp_path):
    still = np.full((1, 4, 4, 3), 200, dtype=np.uint8)
    clip = np.stack([np.full((4, 4, 3), level, dtype=np.uint8) for level in (0, 100, 250)])
    images = script.row([("a still", still), ("a clip", clip)])
    assert [image.getpixel((script.SIDE + script.GAP + 50, 50))[0] for image in images] == [0, 100, 250]
    assert {image.getpixel((50, 50))[0] for image in images} == {200}
    script.save(tmp_path / "new" / "row.webp", images)
    with Image.open(tmp_path / "new" / "row.webp") as saved:
        assert saved.n_frames == 3


def test_words_are_broken_between_words(script):
    font = ImageFont.load_default(size=13)
    lines = script.wrapped("A large purple thing with the shape of a star", 100, font)
    assert " ".join(lines) == "A large purple thing with the shape of a star"
    assert len(lines) > 1
    assert all(font.getlength(line) <= 100 for line in lines)
