"""Draw the pictures that the demo and the bundled workflows use, into demo/.

    python scripts/make_demo_media.py [--folder DIR]

- shapes.mp4 and shapes.png: a blue square and a yellow triangle of the procedural world, which loom-tiny knows, as a
  clip and as a still.
- star.png, orange.png and maroon.png: references as the world has them, for a shape, a colour and a background.
- harbour.mp4: a boat crosses a harbour at sunset.

Both clips have the sound of waves and, after a second, of a bell.

All of it is drawn here, so that the repository holds nobody else's pictures.
"""

from __future__ import annotations

import argparse
import io
import math
import wave
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from loom_core.data.world.references import Reference
from loom_core.data.world.render import pictures, silhouette, swatch
from loom_core.data.world.scene import Background, Scene, Thing
from loom_core.data.world.words import COLOURS, TONES
from loom_core.media.encode import write_image, write_video

WIDTH, HEIGHT, FPS, FRAMES = 320, 192, 24, 49
OVERSAMPLING = 3
SEA_LEVEL = 118
SAMPLE_RATE = 44_100
BELL_SECONDS = 1.0
SHAPES_FRAMES = 33


def _vertical_gradient(stops: list[tuple[float, tuple[int, int, int]]], width: int, height: int) -> Image.Image:
    """Picture whose colour runs from top (0) to bottom (1) through the stops."""
    places = [place for place, _ in stops]
    rows = np.linspace(0, 1, height)
    channels = [np.interp(rows, places, [colour[channel] for _, colour in stops]) for channel in range(3)]
    column = np.stack(channels, axis=-1)[:, None]
    return Image.fromarray(np.repeat(column, width, axis=1).astype(np.uint8))


def draw_frame(index: int) -> npt.NDArray[np.uint8]:
    """One picture [HEIGHT, WIDTH, 3] of the harbour."""
    scale, time = OVERSAMPLING, index / FPS
    width, height, sea = WIDTH * scale, HEIGHT * scale, SEA_LEVEL * scale
    picture = _vertical_gradient(
        [(0, (58, 80, 138)), (0.4, (208, 134, 122)), (0.62, (250, 196, 120)), (1, (250, 196, 120))], width, height
    )
    draw = ImageDraw.Draw(picture)
    sun = (232 * scale, 88 * scale)
    for radius, colour in ((26, (252, 210, 140)), (20, (255, 236, 180))):
        draw.ellipse(
            [sun[0] - radius * scale, sun[1] - radius * scale, sun[0] + radius * scale, sun[1] + radius * scale], colour
        )
    hills = [(0, 96), (50, 84), (96, 101), (150, 78), (205, 108), (258, 95), (320, 106)]
    draw.polygon([(0, sea), *[(x * scale, y * scale) for x, y in hills], (width, sea)], (84, 74, 112))
    water = _vertical_gradient([(0, (226, 160, 118)), (0.25, (96, 96, 138)), (1, (28, 48, 86))], width, height - sea)
    picture.paste(water, (0, sea))
    for row in range(26):
        depth = (row + 1) / 26
        y = sea + int((height - sea) * depth**1.4)
        phase = time * (0.8 + 1.6 * depth) + row * 1.7
        for wave_index in range(9):
            x = ((wave_index * 97 + row * 41) % 360 + 14 * math.sin(phase + wave_index)) * scale * WIDTH / 340
            length = (6 + 16 * depth) * scale
            glow = max(0.0, 1 - abs(x - sun[0]) / (60 * scale))
            colour = tuple(int(a + (b - a) * glow) for a, b in zip((92, 112, 150), (255, 214, 150), strict=True))
            draw.line([x, y, x + length, y], colour, max(1, int(scale * (0.5 + depth))))
    _draw_boat(draw, x=(40 + 62 * time) * scale, y=(SEA_LEVEL + 18 + 2.2 * math.sin(3 * time)) * scale, scale=scale)
    for bird in range(3):
        x, y = (60 + 70 * bird + 26 * time) * scale, (34 + 12 * bird + 3 * math.sin(2 * time + bird)) * scale
        lift = (3 + 3 * math.sin(9 * time + 2 * bird)) * scale
        draw.line([x - 6 * scale, y - lift, x, y, x + 6 * scale, y - lift], (48, 46, 66), scale, joint="curve")
    picture = picture.filter(ImageFilter.GaussianBlur(0.4 * scale))
    return np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def _draw_boat(draw: ImageDraw.ImageDraw, *, x: float, y: float, scale: int) -> None:
    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x + dx * scale, y + dy * scale) for dx, dy in points]

    draw.polygon(at((-26, 0), (28, 0), (20, 13), (-19, 13)), (150, 42, 38))
    draw.line(at((-25, 3), (27, 3)), (244, 232, 214), 2 * scale)
    draw.line(at((0, 0), (0, -52)), (70, 50, 42), 2 * scale)
    draw.polygon(at((2, -50), (2, -6), (30, -6)), (248, 244, 232))
    draw.polygon(at((-2, -44), (-2, -6), (-22, -6)), (236, 214, 176))
    draw.polygon(at((0, -52), (12, -49), (0, -46)), (40, 110, 96))


def make_sound(num_frames: int) -> bytes:
    """WAV of waves and, after a second, a bell, as long as a clip of so many frames."""
    chance = np.random.default_rng(0)
    seconds = np.arange(int(SAMPLE_RATE * num_frames / FPS)) / SAMPLE_RATE
    noise = np.convolve(chance.standard_normal(len(seconds)), np.ones(60) / 60, mode="same")
    sound = 0.5 * noise * (0.6 + 0.4 * np.sin(2 * np.pi * 0.5 * seconds))
    ringing = np.clip(seconds - BELL_SECONDS, 0, None)
    for ratio, loudness in ((1, 0.25), (2.4, 0.12), (3.9, 0.06)):
        sound += loudness * np.sin(2 * np.pi * 523 * ratio * ringing) * np.exp(-4 * ratio**0.5 * ringing)
    samples = (np.clip(sound, -1, 1) * 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def shapes_scene() -> Scene:
    """What shapes.mp4 and shapes.png show; both things are wholly in the picture all the time."""
    square = Thing("square", "blue", COLOURS["blue"], place="bottom", motion="moves right")
    triangle = Thing("triangle", "yellow", COLOURS["yellow"], size="small", place="top right", motion="spins")
    return Scene((square, triangle), Background("grey", TONES["grey"]))


def write_clip(path: Path, frames: Tensor) -> None:
    """Write frames uint8 [F, height, width, 3] with their sound."""
    with TemporaryDirectory() as scratch:
        sound = Path(scratch) / "sound.wav"
        sound.write_bytes(make_sound(len(frames)))
        write_video(path, [frames], fps=FPS, size=(frames.shape[2], frames.shape[1]), audio_from=sound)


def draw_all(folder: Path) -> None:
    """Write all of them into a folder."""
    write_clip(folder / "harbour.mp4", torch.from_numpy(np.stack([draw_frame(index) for index in range(FRAMES)])))
    write_clip(folder / "shapes.mp4", pictures(shapes_scene(), num_frames=SHAPES_FRAMES))
    write_image(folder / "shapes.png", pictures(shapes_scene(), num_frames=1))
    write_image(folder / "star.png", silhouette("star"))
    write_image(folder / "orange.png", swatch(COLOURS["orange"]))
    striped = Reference("background", background=Background("maroon", TONES["maroon"], "striped"))
    write_image(folder / "maroon.png", striped.picture())


def main() -> None:
    """Draw them where they are bundled, or elsewhere."""
    parser = argparse.ArgumentParser(description="Draw the bundled clips and pictures.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent.parent / "demo")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    draw_all(folder)


if __name__ == "__main__":
    main()
