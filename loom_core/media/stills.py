"""Reading still images and animated images (gif, webp, png) with Pillow, as upright RGB.

Differences from the official `Image.open(path).convert("RGB")`, all of which it gets wrong rather than otherwise:

- Transparency is laid over white. `convert("RGB")` drops it, which shows the colours that the artist had erased.
- The orientation tag of a photograph is applied, so a portrait stands upright.
- 16-bit grey is scaled to 8 bits; `convert("RGB")` clips all but the darkest 255 levels to white.

Every other image comes out bit for bit the same.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import MediaError
from ..phrases import phrase

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

# Pillow also claims some MPEG videos and runs PostScript; those formats stay out.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
_ANIMATED_FORMATS = frozenset({"GIF", "WEBP", "PNG", "AVIF"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_OPAQUE = 255
_BROWSER_DELAY_MS = 100.0  # what browsers show for a gif frame that asks for no delay at all
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error)


@dataclass(frozen=True)
class AnimationFrame:
    """One picture of an animated image.

    Args:
        start_seconds: When it appears.
        duration_seconds: How long it stays.
        image: The picture, whole, as Pillow composed it.
    """

    start_seconds: float
    duration_seconds: float
    image: Image


@contextmanager
def open_image(path: Path) -> Iterator[Image | None]:
    """Open a file as an image; None when it is not one. A still image is read whole at once.

    Raises:
        MediaError: It is an image, but a damaged or an absurdly large one.
    """
    from PIL import Image, UnidentifiedImageError

    Image.init()
    known = [name for name in _FORMATS if name in Image.OPEN]
    try:
        image = Image.open(path, formats=known)
        if not is_animation(image):
            image.load()
    except UnidentifiedImageError:
        yield None
        return
    except (*_UNREADABLE, Image.DecompressionBombError) as error:
        raise _unreadable(path.name, error) from error
    with image:
        yield image


def is_animation(image: Image) -> bool:
    """True when the image plays; the second picture of a stereo photograph or a scanned page does not count."""
    return image.format in _ANIMATED_FORMATS and getattr(image, "is_animated", False)


def has_alpha(image: Image) -> bool:
    """True when some pixels may be transparent."""
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def is_transparent(image: Image) -> bool:
    """True when some pixel is, if only a little."""
    return has_alpha(image) and bool((np.asarray(image.convert("RGBA").getchannel("A")) < _OPAQUE).any())


def to_rgb(image: Image) -> npt.NDArray[np.uint8]:
    """The upright picture over white.

    Returns:
        uint8 [height, width, 3], RGB.
    """
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode in _SIXTEEN_BIT_MODES or (upright.mode == "I" and upright.format in (None, "PNG")):
        levels = np.asarray(upright).astype(np.int64).clip(0, 65535) >> 8  # [H, W]
        return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=-1)  # [H, W, 3]
    if has_alpha(upright):
        colours = upright.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return np.array(Image.alpha_composite(white, colours).convert("RGB"))
    return np.array(upright.convert("RGB"))


def animation_frames(image: Image) -> Iterator[AnimationFrame]:
    """The pictures of an animated image in order; each is valid until the next is asked for.

    Raises:
        MediaError: Not even the first can be read. Damage further on ends the sequence with a warning in the log.
    """
    name = Path(getattr(image, "filename", "")).name
    start_ms = 0.0
    index = 0
    while True:
        try:
            image.seek(index)
            image.load()  # webp tells a frame's duration only once it is decoded
        except EOFError:  # past the last frame
            return
        except _UNREADABLE as error:
            if index == 0:
                raise _unreadable(name, error) from error
            logger.warning("%s is damaged after %d frames (%s); the rest is left out", name, index, error)
            return
        duration_ms = float(image.info.get("duration", 0)) or _BROWSER_DELAY_MS
        yield AnimationFrame(start_ms / 1000.0, duration_ms / 1000.0, image)
        start_ms += duration_ms
        index += 1


def _unreadable(name: str, error: Exception) -> MediaError:
    return MediaError(
        phrase("the image {path}, which cannot be read ({reason})", path=name, reason=error),
        expected="a whole image file",
        fix="it may be cut off or damaged: open it in a viewer and export it again",
    )
