"""Write numbered.mp4: each frame tells its number in eight bands from top to bottom, white for 1 and black for 0.

    python tests/comfyui/browser/media/numbered.py

The first band is white and the last black; the six between them are the number, highest bit first. Bands reach over the
whole width, so that half a picture, a scaled one and one that went through a codec can be read as well.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

FRAMES, FPS, WIDTH, HEIGHT, BITS = 60, 24, 160, 96, 6


def picture(number: int) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3]."""
    bands = [1, *(number >> bit & 1 for bit in reversed(range(BITS))), 0]
    rows = np.repeat(np.array(bands, np.uint8) * 255, HEIGHT // len(bands))
    return np.broadcast_to(rows[:, None, None], (HEIGHT, WIDTH, 3)).copy()


def main() -> None:
    """Write the file beside this one."""
    with av.open(str(Path(__file__).with_suffix(".mp4")), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "28", "g": "60"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


if __name__ == "__main__":
    main()
