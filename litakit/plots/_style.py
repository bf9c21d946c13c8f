"""What all pictures share: a figure that shows itself, colours, a strip of frames under a clock."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from litakit.video import FrameBatch

PREDICTED = "#0072B2"
TRUTH = "#6B7280"
DOUBT = "#56B4E9"
STRIP_FRAMES = 8
WIDTH, LANE = 10.0, 0.95
"""Of a figure and of one lane in it, in inches."""


class Picture(Figure):
    """A matplotlib figure that a notebook shows by itself, whether pyplot was imported there or not."""

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        self.savefig(drawn, format="png")
        return drawn.getvalue()


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds on a clock face.

    >>> clock(20.6), clock(75), clock(3725.04)
    ('0:20.6', '1:15.0', '1:02:05.0')
    """
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{tenths // 10:02d}.{tenths % 10}"


def figure_under_strip(
    frames: FrameBatch, duration: float, heights: Sequence[float], title_height: float = 0.0
) -> tuple[Picture, list[Axes]]:
    """Return a figure of lanes under a strip of a video's frames, all on its time axis.

    Args:
        frames: of the video.
        duration: seconds that they span.
        heights: of each lane, in inches.
        title_height: of the title above each, if that is not part of its height.

    Returns:
        The figure, not registered with pyplot, and an axis for each lane: x in seconds, y from 0 to 1.
    """
    begin, end = frames.start, frames.start + duration
    aspect = frames.pixels.shape[2] / frames.pixels.shape[1]
    slot = WIDTH / STRIP_FRAMES
    strip = min(slot / aspect, 1.6)
    heights = [strip, *heights]
    figure = Picture(
        figsize=(WIDTH, sum(heights) + 0.6 + title_height * (len(heights) - 1)), layout="constrained", dpi=110
    )
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    _draw_strip(axes[0], frames, begin, end, share=0.96 * min(1.0, strip * aspect / slot))
    for axis in axes[1:]:
        axis.set_xlim(begin, end)
        axis.set_ylim(0, 1)
        axis.set_yticks([])
        quiet(axis)
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(float(seconds))))
    axes[-1].set_xlabel("time in the video (min:s)", fontsize=9)
    return figure, list(axes[1:])


def _draw_strip(axis: Axes, frames: FrameBatch, begin: float, end: float, share: float) -> None:
    """Frames side by side, each as wide as `share` of its slot and shown at about the slot's middle."""
    slot = (end - begin) / STRIP_FRAMES
    for number in range(STRIP_FRAMES):
        middle = begin + (number + 0.5) * slot
        nearest = int(np.argmin(np.abs(frames.pts_seconds - middle)))
        axis.imshow(
            frames.pixels[nearest],
            extent=(middle - share * slot / 2, middle + share * slot / 2, 0.0, 1.0),
            aspect="auto",
            interpolation="antialiased",
        )
    axis.set_xlim(begin, end)
    axis.set_ylim(0, 1)
    axis.set_axis_off()


def quiet(axis: Axes) -> None:
    """Leave an axis nothing but its line and small numbers."""
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=8)
