"""Which part of an edited frame is which part of the original."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ....loom_core.geometry import contain_box, cover_crop
from ...sockets import SourceClip


@dataclass(frozen=True)
class Region:
    """Which part of an edited frame goes where in the original. All in pixels.

    Args:
        source: (left, top, width, height) in the edited frame.
        target: The same in the original.
        width: Of the original.
        height: The same.
    """

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]
    width: int
    height: int

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """What stays around the target: left, right, top, bottom."""
        left, top, width, height = self.target
        return left, self.width - left - width, top, self.height - top - height

    @property
    def widest_border(self) -> float:
        """As a share of the side that it takes away from."""
        left, right, top, bottom = self.pads
        return max(max(left, right) / self.width, max(top, bottom) / self.height)


def region_of(images: Tensor, source: SourceClip) -> Region:
    """Where an edit belongs in the original.

    Args:
        images: The edit, of the working size or that enlarged.
        source: What was edited.
    """
    origin = source.origin
    working_height, working_width = source.frames.shape[1:3]
    height, width = images.shape[1:3]
    if origin.fit == "contain":
        box = contain_box(origin.width, origin.height, target_width=working_width, target_height=working_height)
        across, down = width / working_width, height / working_height
        left, right = round(box.left * across), round((box.left + box.width) * across)
        top, bottom = round(box.top * down), round((box.top + box.height) * down)
        taken = left, top, max(1, right - left), max(1, bottom - top)
        return Region(taken, (0, 0, origin.width, origin.height), origin.width, origin.height)
    crop = cover_crop(origin.width, origin.height, target_width=working_width, target_height=working_height)
    across, down = origin.width / crop.scaled_width, origin.height / crop.scaled_height
    left, right = round(crop.left * across), round((crop.left + working_width) * across)
    top, bottom = round(crop.top * down), round((crop.top + working_height) * down)
    shown = left, top, max(1, min(right, origin.width) - left), max(1, min(bottom, origin.height) - top)
    return Region((0, 0, width, height), shown, origin.width, origin.height)


def whole(images: Tensor) -> Region:
    """The edit as it is."""
    height, width = images.shape[1:3]
    return Region((0, 0, width, height), (0, 0, width, height), width, height)


def without_edges(region: Region) -> Region:
    """The original without the edges; of even sides, since most videos have no other."""
    width, height = (side - side % 2 if side > 1 else side for side in region.target[2:])
    return Region(region.source, (0, 0, width, height), width, height)
