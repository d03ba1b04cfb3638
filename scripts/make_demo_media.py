"""Draw the pictures that the demo and the bundled workflows use, into demo/.

    python scripts/make_demo_media.py [--folder DIR]

- shapes.mp4, shapes.png and star.png: a blue square and a yellow triangle of the procedural world, which loom-tiny
  knows, as a clip and as a still; and a star in white, for a shape to refer to.
- harbour.mp4: a boat crosses a harbour at sunset, two seconds with the sound of waves and a bell.
- copper.png and lighthouse.png: a plate of brushed copper, and a lighthouse.

All of it is drawn here, so that the repository holds nobody else's pictures.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
import wave
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFilter

from loom_core.data.world.render import render, silhouette
from loom_core.data.world.scene import Background, Scene, Thing
from loom_core.data.world.words import COLOURS, TONES
from loom_core.media.encode import write_image, write_video

WIDTH, HEIGHT, FPS, FRAMES = 320, 192, 24, 49
OVERSAMPLING = 3
SEA_LEVEL = 118
SAMPLE_RATE = 44_100
BELL_SECONDS = 1.0
RIVET_RADIUS = 7


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


def make_sound() -> bytes:
    """WAV of waves and, after a second, a bell."""
    chance = np.random.default_rng(0)
    seconds = np.arange(int(SAMPLE_RATE * FRAMES / FPS)) / SAMPLE_RATE
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


def make_copper() -> npt.NDArray[np.uint8]:
    """A plate of brushed copper, 192 x 192."""
    chance = np.random.default_rng(1)
    brushed = np.convolve(chance.standard_normal(192 * 192), np.ones(24) / 24, mode="same").reshape(192, 192)
    rows, columns = np.mgrid[0:192, 0:192] / 191
    light = 0.85 + 0.35 * np.exp(-(((rows + columns - 0.9) / 0.35) ** 2)) + 0.5 * brushed
    plate = light[..., None] * np.array([196, 108, 62])
    for y, x in ((16, 16), (16, 175), (175, 16), (175, 175)):
        plate[np.hypot(rows * 191 - y, columns * 191 - x) < RIVET_RADIUS] *= 0.5
    return np.clip(plate, 0, 255).astype(np.uint8)


def make_lighthouse() -> npt.NDArray[np.uint8]:
    """A lighthouse with red bands on a rock, 192 x 192."""
    scale, side = OVERSAMPLING, 192
    picture = _vertical_gradient(
        [(0, (120, 176, 222)), (0.7, (214, 232, 240)), (1, (214, 232, 240))], *2 * (side * scale,)
    )
    draw = ImageDraw.Draw(picture)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * scale, y * scale) for x, y in points]

    draw.rectangle(at((0, 150), (192, 192)), (52, 108, 140))
    draw.polygon(at((34, 192), (58, 150), (92, 138), (134, 148), (168, 192)), (104, 92, 84))
    edges = [(80 + 10 * (1 - y / 100), 112 - 10 * (1 - y / 100)) for y in range(0, 101, 20)]
    for band, ((left, right), (next_left, next_right)) in enumerate(itertools.pairwise(edges)):
        top, colour = 44 + 20 * band, (202, 48, 44) if band % 2 else (246, 244, 238)
        draw.polygon(at((left, top), (right, top), (next_right, top + 20), (next_left, top + 20)), colour)
    draw.rectangle(at((84, 30), (108, 44)), (255, 232, 150), (60, 60, 70), 2 * scale)
    draw.polygon(at((82, 30), (96, 16), (110, 30)), (70, 74, 86))
    for x, y, width in ((24, 40, 34), (130, 62, 40), (150, 28, 26)):
        draw.ellipse(at((x, y), (x + width, y + 10)), (246, 250, 252))
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX))


SHAPES_FRAMES = 33


def shapes_scene() -> Scene:
    """What the clip of shapes shows."""
    square = Thing("square", "blue", COLOURS["blue"], place="left", motion="moves right", offset=(4.0, 10.0), angle=0.1)
    triangle = Thing("triangle", "yellow", COLOURS["yellow"], size="small", place="top right", motion="spins")
    return Scene((square, triangle), Background("grey", TONES["grey"], "gradient"))


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description="Draw the bundled clip and pictures.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent.parent / "demo")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    frames = torch.from_numpy(np.stack([draw_frame(index) for index in range(FRAMES)]))
    with TemporaryDirectory() as scratch:
        sound = Path(scratch) / "sound.wav"
        sound.write_bytes(make_sound())
        write_video(folder / "harbour.mp4", [frames], fps=FPS, size=(WIDTH, HEIGHT), audio_from=sound)
    shapes = render(shapes_scene(), num_frames=SHAPES_FRAMES).frames
    write_video(folder / "shapes.mp4", [shapes], fps=FPS, size=(shapes.shape[2], shapes.shape[1]))
    write_image(folder / "shapes.png", shapes[0])
    write_image(folder / "star.png", silhouette("star")[0])
    write_image(folder / "copper.png", torch.from_numpy(make_copper()))
    write_image(folder / "lighthouse.png", torch.from_numpy(make_lighthouse()))


if __name__ == "__main__":
    main()
