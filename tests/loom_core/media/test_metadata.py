from __future__ import annotations

import pytest
import torch
from PIL import Image

from loom_core.errors import MediaError
from loom_core.media.encode import write_image, write_video
from loom_core.media.metadata import KEY, pack, read_metadata
from loom_core.media.targets import IMAGE_SUFFIXES, VIDEO_SUFFIXES

REQUEST = {"prompt": 'Ein "roter" Hut; Zeile\nzwei = 红帽子 🧵', "seed": "42", "weights": "a" * 64, "empty": ""}


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_video_round_trip(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_video(path, [torch.zeros(3, 32, 48, 3, dtype=torch.uint8)], fps=24, size=(48, 32), metadata=REQUEST)
    assert read_metadata(path) == REQUEST


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_image_round_trip(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_image(path, torch.zeros(32, 48, 3, dtype=torch.uint8), metadata=REQUEST)
    assert read_metadata(path) == REQUEST


def test_a_long_prompt_survives_in_gif_and_png(tmp_path):
    request = {"prompt": "long " * 20_000}
    write_image(tmp_path / "out.png", torch.zeros(8, 8, 3, dtype=torch.uint8), metadata=request)
    frames = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    write_video(tmp_path / "out.gif", [frames], fps=10, size=(8, 8), metadata=request)
    assert read_metadata(tmp_path / "out.png") == request == read_metadata(tmp_path / "out.gif")


def test_what_does_not_fit_a_jpeg_is_left_out_with_a_warning(tmp_path, caplog):
    write_image(tmp_path / "out.jpg", torch.zeros(8, 8, 3, dtype=torch.uint8), metadata={"prompt": "long " * 20_000})
    assert read_metadata(tmp_path / "out.jpg") == {}
    assert "too long" in caplog.text


def test_files_of_others_have_none(clips, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.gif", comment=b"made by someone else")
    assert read_metadata(tmp_path / "plain.png") == {} == read_metadata(tmp_path / "plain.gif")
    assert read_metadata(clips.constant) == {}


def test_damaged_metadata_is_refused(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_itxt(KEY, pack(REQUEST)[:20])
    Image.new("RGB", (8, 8)).save(tmp_path / "damaged.png", pnginfo=chunks)
    with pytest.raises(MediaError, match=r"damaged metadata under 'loomvideo' in damaged\.png"):
        read_metadata(tmp_path / "damaged.png")
