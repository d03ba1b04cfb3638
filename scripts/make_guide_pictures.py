"""Make the pictures of docs/prompt-guide.md and the animation of the README with the built-in model.

    python scripts/make_guide_pictures.py [--only NAME ...] [--folder DIR]

About a minute a picture on two cores. Look at each before you commit it: other weights give other answers.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from loom_core.bundle import find_model  # noqa: E402
from loom_core.config.presets import get_preset  # noqa: E402
from loom_core.media.decode import read_clip  # noqa: E402
from loom_core.pipeline import generate  # noqa: E402
from loom_core.request import Request, plan_request  # noqa: E402

DEMO = ROOT / "demo"
FOLDER = ROOT / "docs" / "images"
SIDE, GAP, LINE = 200, 8, 18  # pixels
FPS = 24
STILL, CLIP = DEMO / "shapes.png", DEMO / "shapes.mp4"
STAR, MAROON = DEMO / "star.png", DEMO / "maroon.png"

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Panel:
    """One picture or clip of a row, with the words below it: a file as it is, or what a request makes."""

    label: str
    file: Path | None = None
    request: Request | None = None

    def frames(self) -> Frames:
        """uint8 [frames, height, width, 3]."""
        if self.request is None:
            return read_clip(self.file).frames.numpy()  # type: ignore[arg-type]
        made = generate(plan_request(self.request, get_preset("tiny")), find_model())
        return np.concatenate([chunk.numpy() for chunk in made.frames])


def shown(path: Path, label: str) -> Panel:
    """A file as it is."""
    return Panel(label, file=path)


def asked(prompt: str, *, source: Path | None = None, reference: Path | None = None, seed: int = 0) -> Panel:
    """What the built-in model makes of a prompt."""
    references = () if reference is None else (reference,)
    frames = 1 if source is None else None
    request = Request(prompt=prompt, source=source, references=references, num_frames=frames, seed=seed)
    return Panel(prompt, request=request)


ROWS: dict[str, tuple[Panel, ...]] = {
    "guide/name-it.png": (
        shown(STILL, "the source"),
        asked("Make the square red.", source=STILL),
        asked("Make the blue square red.", source=STILL),
    ),
    "guide/remove.png": (
        shown(STILL, "the source"),
        asked("Remove the square.", source=STILL, seed=1),
        asked("Remove the blue square.", source=STILL, seed=1),
    ),
    "guide/background.png": (
        shown(STILL, "the source"),
        asked("Make the background plain maroon.", source=STILL, seed=1),
        shown(MAROON, "@Image 1"),
        asked("Use the background of @Image 1.", source=STILL, reference=MAROON, seed=1),
    ),
    "guide/shape.png": (
        shown(STAR, "@Image 1"),
        asked("A large purple thing with the shape of @Image 1. The background is plain grey.", reference=STAR, seed=1),
    ),
    "edits.webp": (
        shown(CLIP, "the source"),
        asked("Make the blue square green.", source=CLIP, seed=1),
        asked("Use the background of @Image 1.", source=CLIP, reference=MAROON),
        asked("Make it black and white.", source=CLIP, seed=1),
    ),
}
"""Panels by file."""


def wrapped(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """A text in lines that are no wider than `width` pixels, unless a single word is."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= width or not lines[-1] else [*lines, word]
    return lines


def row(pictures: list[tuple[str, Frames]]) -> list[Image.Image]:
    """Pictures side by side over their words, one image for each frame of the longest.

    Args:
        pictures: Words, and uint8 [frames, height, width, 3] each.
    """
    font = ImageFont.load_default(size=13)
    texts = [wrapped(label, SIDE, font) for label, _ in pictures]
    size = (len(pictures) * (SIDE + GAP) - GAP, SIDE + LINE * max(map(len, texts)) + GAP)
    images = []
    for index in range(max(len(frames) for _, frames in pictures)):
        image = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(image)
        for place, (_, frames) in enumerate(pictures):
            picture = Image.fromarray(frames[min(index, len(frames) - 1)])
            image.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (place * (SIDE + GAP), 0))
            for number, line in enumerate(texts[place]):
                draw.text((place * (SIDE + GAP), SIDE + GAP / 2 + number * LINE), line, fill="black", font=font)
        images.append(image)
    return images


def save(path: Path, images: list[Image.Image]) -> None:
    """Write a still, or where there are several images an endless animation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(images) == 1:
        images[0].save(path, optimize=True)
    else:
        images[0].save(
            path, save_all=True, append_images=images[1:], duration=1000 // FPS, loop=0, quality=60, method=6
        )


def main() -> None:
    """Make all, or some."""
    parser = argparse.ArgumentParser(description="Make the pictures of the prompt guide and the README.")
    parser.add_argument("--only", nargs="*", choices=ROWS, help="the files to make")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    for name in arguments.only or ROWS:
        save(arguments.folder / name, row([(panel.label, panel.frames()) for panel in ROWS[name]]))


if __name__ == "__main__":
    main()
