"""The request behind a result, stored in the result itself and read back.

Everything goes as one JSON object under one key, `loomvideo`:

- mp4, mov: a free metadata key (FFmpeg's `use_metadata_tags`; `ffprobe` shows it);
- mkv, webm: a tag (Matroska writes it in capitals);
- png: an iTXt chunk;
- jpg, webp: the EXIF UserComment; gif: its comment block; both as `{"loomvideo": {...}}` in plain ASCII.

Programs that re-encode a file, and most sites it is uploaded to, drop all of these.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MediaError
from .source import checked_path, open_container
from .stills import open_image

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

KEY = "loomvideo"
_EXIF_IFD = 0x8769
_EXIF_USER_COMMENT = 0x9286
_ASCII_MARK = b"ASCII\0\0\0"  # Exif 2.3, 4.6.5: the character code before a UserComment
_EXIF_LIMIT = 60_000  # bytes; a JPEG segment holds 65,533 with its headers


def pack(metadata: Mapping[str, str]) -> str:
    """The mapping as one line of ASCII JSON."""
    return json.dumps(dict(metadata), sort_keys=True)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """What `write_video` or `write_image` stored in a file; empty when nothing was.

    Raises:
        MediaError: The file cannot be read, or what it holds under `loomvideo` is damaged.
    """
    checked = checked_path(path)
    with open_image(checked) as image:
        if image is not None:
            return _unpack(_image_text(image), checked)
    with open_container(checked) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    return _unpack(tags.get(KEY), checked)


def image_options(suffix: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Arguments for Pillow's `Image.save` that store the metadata in a file of this kind."""
    if not metadata:
        return {}
    if suffix == ".png":
        from PIL.PngImagePlugin import PngInfo

        chunks = PngInfo()
        chunks.add_itxt(KEY, pack(metadata))
        return {"pnginfo": chunks}
    text = json.dumps({KEY: pack(metadata)}).encode("ascii")
    if suffix == ".gif":
        return {"comment": text}
    if len(text) > _EXIF_LIMIT:
        logger.warning("the request is too long for a %s file (%d bytes); it is left out: use png", suffix, len(text))
        return {}
    from PIL import Image

    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_EXIF_USER_COMMENT] = _ASCII_MARK + text
    return {"exif": exif}


def _image_text(image: Image) -> str | None:
    if KEY in image.info:
        return str(image.info[KEY])
    comment = image.info.get("comment")
    if not isinstance(comment, bytes):
        comment = image.getexif().get_ifd(_EXIF_IFD).get(_EXIF_USER_COMMENT)
    if not isinstance(comment, bytes):
        return None
    try:
        wrapped = json.loads(comment.removeprefix(_ASCII_MARK))
    except ValueError:  # somebody else's comment
        return None
    return wrapped.get(KEY) if isinstance(wrapped, dict) else None


def _unpack(text: str | None, path: Path) -> dict[str, str]:
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return {str(key): str(value) for key, value in content.items()}


def _damaged(path: Path) -> MediaError:
    return MediaError(
        f"damaged metadata under {KEY!r} in {path.name}",
        expected="a JSON object",
        fix="another program changed it: use the original file",
    )
