"""Pictures of answers: spans over the video's own frames, and the model's doubt about their ends.

Plots know results, not models: they take `Answer` and `FrameBatch` values and give back
a matplotlib figure that the caller shows or saves. Colours are of the Okabe-Ito set, which the colour-blind
can tell apart.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from litakit.spans import Span, temporal_iou

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from litakit.assistant import Answer, Boundary
    from litakit.video import FrameBatch

PREDICTED = "#0072B2"
TRUTH = "#6B7280"
DOUBT = "#56B4E9"
STRIP_FRAMES = 8
WIDTH, LANE = 10.0, 0.95
"""Of a figure and of one lane in it, in inches."""
MOST_PANELS = 8
"""Boundaries that one figure shows; an account of a whole video may hold dozens."""


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


def plot_spans(
    frames: FrameBatch, answers: Sequence[Answer], *, truth: Sequence[Span | None] | None = None
) -> Figure:
    """Answers as spans under a strip of the video's frames, one lane for each question.

    Each lane shows the predicted spans with their seconds and, as a ribbon below, how probable each second
    was as an end of the span. With `truth`, the true span lies above the predicted one in grey, with the IoU.

    Args:
        frames: Frames of the whole video, as `decode_frames` gives them; their `duration` is the time axis.
        answers: What `VideoSession.ask` returned.
        truth: The true span of each answer in the same order, or None where there is none to show.

    Returns:
        A figure of its own (not registered with pyplot): a notebook displays it, `savefig` writes it.

    Raises:
        ValueError: The frames have no duration (a still image), or `truth` and `answers` differ in length.
    """
    duration = frames.duration
    if duration is None:
        raise ValueError("plot_spans needs a video's frames, got a still image, which has no time axis")
    truths: Sequence[Span | None] = [None] * len(answers) if truth is None else truth
    if len(truths) != len(answers):
        raise ValueError(
            f"expected one true span (or None) for each answer: {len(answers)}, got {len(truths)}"
        )
    begin, end = frames.start, frames.start + duration
    aspect = frames.pixels.shape[2] / frames.pixels.shape[1]
    slot = WIDTH / STRIP_FRAMES
    strip = min(slot / aspect, 1.6)
    heights = [strip] + [LANE] * len(answers)
    figure = Picture(figsize=(WIDTH, sum(heights) + 0.6), layout="constrained", dpi=110)
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    _draw_strip(axes[0], frames, begin, end, share=0.96 * min(1.0, strip * aspect / slot))
    for axis, answer, true_span in zip(axes[1:], answers, truths, strict=True):
        _draw_lane(axis, answer, true_span, begin, end)
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(float(seconds))))
    axes[-1].set_xlabel("time in the video (min:s)", fontsize=9)
    keys = [
        Patch(color=PREDICTED, label="answer"),
        Patch(color=DOUBT, alpha=0.6, label="how probable each end is"),
    ]
    if any(truths):
        keys.insert(0, Patch(color=TRUTH, label="truth"))
    figure.legend(handles=keys, loc="lower right", ncols=len(keys), fontsize=8, frameon=False)
    return figure


def plot_boundaries(answer: Answer) -> Figure:
    """How probable each second was, for every time token of an answer.

    Args:
        answer: What `VideoSession.ask` returned, with at least one time token.

    Returns:
        A figure with one panel for each boundary, of which the first `MOST_PANELS`: the model's distribution
        over the time tokens, in seconds, with the chosen second marked.

    Raises:
        ValueError: The answer holds no time token, so there is nothing to draw.
    """
    boundaries = answer.boundaries[:MOST_PANELS]
    if not boundaries:
        raise ValueError(f"the answer {answer.text!r} holds no time token: there is no boundary to plot")
    figure = Picture(figsize=(10.0, 1.0 + 1.4 * len(boundaries)), layout="constrained", dpi=110)
    axes = figure.subplots(len(boundaries), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axis, boundary) in enumerate(zip(axes, boundaries, strict=True), 1):
        seconds = _token_seconds(boundary)
        axis.bar(seconds, boundary.probabilities, width=0.9 * float(seconds[1] - seconds[0]), color=PREDICTED)
        axis.axvline(boundary.seconds, color="#D55E00", linewidth=1.2)
        axis.annotate(
            f"{boundary.seconds:.1f} s",
            (boundary.seconds, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -11),
            textcoords="offset points",
            fontsize=9,
            color="#D55E00",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
        axis.set_ylabel(f"time token {number}\nprobability", fontsize=8)
        axis.set_ylim(bottom=0)
        _quiet(axis)
    title = textwrap.wrap(answer.question, 100)
    if len(answer.boundaries) > len(boundaries):
        title.append(f"(the first {len(boundaries)} of {len(answer.boundaries)} time tokens)")
    axes[0].set_title("\n".join(title), fontsize=10, loc="left")
    axes[-1].set_xlabel("seconds", fontsize=9)
    return figure


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


def _draw_lane(axis: Axes, answer: Answer, true_span: Span | None, begin: float, end: float) -> None:
    axis.set_xlim(begin, end)
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.set_title("\n".join(textwrap.wrap(answer.question, 110)), fontsize=9, loc="left", pad=3)
    if true_span is not None:
        axis.broken_barh([(true_span.start, true_span.duration)], (0.76, 0.16), color=TRUTH)
    for span in answer.spans:
        axis.broken_barh(
            [(span.start, max(span.duration, 0.002 * (end - begin)))], (0.44, 0.28), color=PREDICTED
        )
        label = f"{clock(span.start)} – {clock(span.end)}"
        if true_span is not None:
            label += f"  IoU {temporal_iou(span, true_span):.2f}"
        after = span.end < begin + 0.72 * (end - begin)
        axis.annotate(
            label,
            (span.end if after else span.start, 0.58),
            xytext=(6 if after else -6, 0),
            textcoords="offset points",
            va="center",
            ha="left" if after else "right",
            fontsize=9,
        )
    if not answer.spans:
        axis.text(
            begin + (end - begin) / 2, 0.58, "no span in the answer", ha="center", va="center", fontsize=9
        )
    for boundary in answer.boundaries:
        probabilities = np.asarray(boundary.probabilities, dtype=float)
        height = 0.38 * probabilities / max(float(probabilities.max()), 1e-12)
        axis.fill_between(_token_seconds(boundary), 0.02, 0.02 + height, color=DOUBT, alpha=0.6, linewidth=0)
    _quiet(axis)


def _token_seconds(boundary: Boundary) -> np.ndarray:
    return np.asarray(boundary.token_seconds, dtype=float)


def _quiet(axis: Axes) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=8)
