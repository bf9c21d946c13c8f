"""Pictures of answers: spans over the video's own frames, and the model's doubt about their ends."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from litakit.plots._style import DOUBT, LANE, PREDICTED, TRUTH, Picture, clock, figure_under_strip, quiet
from litakit.spans import Span, temporal_iou

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from litakit.assistant import Answer, Boundary
    from litakit.video import FrameBatch

MOST_PANELS = 8
"""Boundaries that one figure shows; an account of a whole video may hold dozens."""


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
    figure, lanes = figure_under_strip(frames, duration, [LANE] * len(answers))
    for axis, answer, true_span in zip(lanes, answers, truths, strict=True):
        _draw_lane(axis, answer, true_span)
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
        quiet(axis)
    title = textwrap.wrap(answer.question, 100)
    if len(answer.boundaries) > len(boundaries):
        title.append(f"(the first {len(boundaries)} of {len(answer.boundaries)} time tokens)")
    axes[0].set_title("\n".join(title), fontsize=10, loc="left")
    axes[-1].set_xlabel("seconds", fontsize=9)
    return figure


def _draw_lane(axis: Axes, answer: Answer, true_span: Span | None) -> None:
    begin, end = axis.get_xlim()
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


def _token_seconds(boundary: Boundary) -> np.ndarray:
    return np.asarray(boundary.token_seconds, dtype=float)
