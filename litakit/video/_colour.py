"""From a decoder's colours to RGB, to the last bit as decord does it, and so as published."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from av.filter import Graph
from av.video.reformatter import VideoReformatter

if TYPE_CHECKING:
    from fractions import Fraction

    from av.filter.context import FilterContext
    from av.video.frame import VideoFrame

    from litakit.video._orientation import Orientation
    from litakit.video.types import Pixels

SUBSAMPLED = "420"


class RgbConverter:
    """Turns decoded frames of one stream into RGB; keep one for a stream. Threads may share it.

    Eight-bit progressive frames go through swscale as it is. For more bits decord.s swscale puts the colour
    samples of 4:2:0 a line lower, and it knows no fields: a filter graph tells ours to do the same.

    The orientation is one for the whole stream. Asking each frame's side data for it would keep every frame
    in memory, since PyAV ties the two into a ring that only the garbage collector parts.
    """

    def __init__(self, time_base: Fraction | None, orientation: Orientation) -> None:
        self._time_base = time_base
        self._orientation = orientation
        self._of_thread = threading.local()  # swscale's contexts belong to one thread each
        self._graph_lock = threading.Lock()
        self._graph: tuple[Graph, FilterContext] | None = None
        self._graph_is_for: tuple[str, int, int] | None = None

    def to_rgb(self, frame: VideoFrame, size: tuple[int, int] | None = None) -> Pixels:
        """Return a decoded frame as it is to be seen: (H, W, 3) uint8, turned as the metadata asks.

        Args:
            frame: as decoded.
            size: (width, height) before turning; None for the frame's own.
        """
        width, height = size or (frame.width, frame.height)
        plain = frame
        if frame.interlaced_frame or frame.format.components[0].bits > 8:
            with self._graph_lock:
                plain = self._through_graph(frame)
        if not hasattr(self._of_thread, "reformatter"):
            self._of_thread.reformatter = VideoReformatter()
        rgb = self._of_thread.reformatter.reformat(
            plain, width=width, height=height, format="rgb24", threads=1
        )
        return self._orientation.apply(np.asarray(rgb.to_ndarray(), dtype=np.uint8))

    def _through_graph(self, frame: VideoFrame) -> VideoFrame:
        kind = (frame.format.name, frame.width, frame.height)
        if self._graph is None or self._graph_is_for != kind:
            self._graph, self._graph_is_for = self._make_graph(frame), kind
        graph, source = self._graph
        source.push(frame)
        return graph.vpull()

    def _make_graph(self, frame: VideoFrame) -> tuple[Graph, FilterContext]:
        graph = Graph()
        name = frame.format.name
        lower = frame.format.components[0].bits > 8 and SUBSAMPLED in name
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=self._time_base
        )
        steps = [
            graph.add("setfield", "mode=prog"),
            graph.add("scale", "flags=bilinear" + (":in_v_chr_pos=256" if lower else "")),
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ]
        last = source
        for step in steps:
            last.link_to(step)
            last = step
        graph.configure()
        return graph, source
