"""Decoded frames as RGB, by the colour matrix and range that the file states.

A filter graph does it, since `VideoFrame.to_ndarray` ignores BT.709 tags before PyAV 17 and shifts every red and green.
Results equal those of decord, which the official code uses, to the bit. A file that states nothing is read as BT.601,
as decord does too, whatever its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .source import load_av

if TYPE_CHECKING:
    from av.filter import Graph
    from av.video.frame import VideoFrame

# ITU-T H.273 table 4 -> FFmpeg's names in the scale filter
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
_FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG


class RGBConverter:
    """Converts the frames of one stream; all come out in the size of the first, even if the stream changes its own."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._kind: tuple[object, ...] | None = None
        self._graph: Graph | None = None

    def __call__(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """One frame as uint8 [height, width, 3], as stored (not yet turned upright)."""
        self._size = self._size or (frame.width, frame.height)
        kind = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
        if self._graph is None or kind != self._kind:
            self._graph, self._kind = _graph(frame, self._size), kind
        if frame.pts is None:
            frame.pts = 0  # the graph wants one; nobody reads it
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()  # type: ignore[union-attr, return-value]


def _graph(frame: VideoFrame, size: tuple[int, int]) -> Graph:
    load_av()
    from av.filter import Graph

    width, height = size
    matrix = _MATRICES.get(int(frame.colorspace), "auto")
    value_range = "pc" if int(frame.color_range) == _FULL_RANGE else "auto"
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    scale = graph.add("scale", f"w={width}:h={height}:in_color_matrix={matrix}:in_range={value_range}")
    rgb = graph.add("format", "rgb24")
    sink = graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(rgb)
    rgb.link_to(sink)
    graph.configure()
    return graph
