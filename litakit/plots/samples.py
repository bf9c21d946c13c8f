"""Pictures of data: samples on the time line of their video, and what many samples are like."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from litakit.plots._style import Picture, clock, figure_under_strip, quiet
from litakit.timestamps import TIMESTAMP, parse_timestamped_events

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from litakit.data.samples import Sample
    from litakit.spans import Span
    from litakit.video import FrameBatch

TASK_COLOURS = {
    "dvc": "#0072B2",
    "event_loc": "#D55E00",
    "vidqa": "#009E73",
    "imgqa": "#CC79A7",
    "rtl": "#E69F00",
}
ROW, TITLE = 0.26, 0.4
"""Of one row of a lane and of its title, in inches."""
MOST_ROWS = 12
"""Rows of one sample; an account of a long video may have dozens."""


class _Row(NamedTuple):
    span: Span | None
    words: str


def plot_samples(frames: FrameBatch, samples: Sequence[Sample]) -> Figure:
    """Samples of one video under a strip of its frames: each question, and its answer on the time line.

    Args:
        frames: of the whole video, as `decode_frames` gives them; their `duration` is the time axis.
        samples: of that video, of any task.

    Returns:
        A figure of its own: a notebook displays it, `savefig` writes it.

    Raises:
        ValueError: the frames are a still image, which has no time axis, or there are no samples.
    """
    duration = frames.duration
    if duration is None or not samples:
        raise ValueError("plot_samples needs a video's frames and samples, got a still image or no samples")
    rows = [_rows(sample, duration)[:MOST_ROWS] for sample in samples]
    heights = [ROW * len(lane) for lane in rows]
    figure, lanes = figure_under_strip(frames, duration, heights, title_height=TITLE)
    for axis, sample, lane in zip(lanes, samples, rows, strict=True):
        _draw_rows(axis, sample, lane)
    return figure


def plot_sample_statistics(samples: Sequence[Sample], num_tokens: Sequence[int] | None = None) -> Figure:
    """What samples are like: lengths of videos and of spans, where spans lie, tokens of each sample.

    Args:
        samples: of any tasks; spans of samples whose duration is not known are left out.
        num_tokens: of each sample, in the same order; None leaves that panel out.

    Raises:
        ValueError: as many numbers of tokens as there are no samples, or no samples at all.
    """
    if not samples or (num_tokens is not None and len(num_tokens) != len(samples)):
        given = "" if num_tokens is None else f" and {len(num_tokens)} numbers of tokens"
        raise ValueError(f"expected samples and a number of tokens for each, got {len(samples)}{given}")
    figure = Picture(figsize=(10.0, 6.0), layout="constrained", dpi=110)
    axes = figure.subplots(2, 2).flatten().tolist()
    tasks = [task for task in TASK_COLOURS if any(sample.task == task for sample in samples)]
    videos = {(s.source, s.video): s.duration for s in samples if s.duration is not None}
    _histogram(axes[0], {"": list(videos.values())}, "duration of videos (s)", "videos")
    lengths = {
        task: [span.duration for sample in samples if sample.task == task for span in sample.spans]
        for task in tasks
    }
    _histogram(axes[1], lengths, "length of spans (s)", "spans")
    _draw_places(axes[2], samples)
    if num_tokens is None:
        axes[3].set_axis_off()
    else:
        tokens: dict[str, list[float]] = {task: [] for task in tasks}
        for sample, count in zip(samples, num_tokens, strict=True):
            tokens[sample.task].append(count)
        _histogram(axes[3], tokens, "tokens of a sample, the video's included", "samples")
    return figure


def _rows(sample: Sample, duration: float) -> list[_Row]:
    if sample.task == "dvc":
        events = parse_timestamped_events(sample.answers[0], duration)
        return [_Row(event.span, event.caption) for event in events]
    if sample.spans:
        words = TIMESTAMP.sub("", sample.answers[0]).strip()
        return [_Row(sample.spans[0], words)]
    return [
        _Row(None, f"{question} {answer}")
        for question, answer in zip(sample.subjects, sample.answers, strict=True)
    ]


def _draw_rows(axis: Axes, sample: Sample, rows: Sequence[_Row]) -> None:
    begin, end = axis.get_xlim()
    title = f"{sample.task}: {sample.messages[0].content}"
    axis.set_title(textwrap.shorten(title, 130, placeholder=" ..."), fontsize=9, loc="left", pad=3)
    height = 1 / max(1, len(rows))
    colour = TASK_COLOURS[sample.task]
    for number, (span, words) in enumerate(rows):
        middle = 1 - (number + 0.5) * height
        text = textwrap.shorten(words, 95, placeholder=" ...")
        if span is None:
            axis.annotate(text, (begin, middle), va="center", fontsize=8)
            continue
        width = max(span.duration, 0.002 * (end - begin))
        axis.broken_barh([(span.start, width)], (middle - 0.35 * height, 0.7 * height), color=colour)
        after = span.end - begin < 0.5 * (end - begin)
        axis.annotate(
            f"{clock(span.start)} – {clock(span.end)}  {text}".rstrip(),
            (span.end if after else span.start, middle),
            xytext=(6 if after else -6, 0),
            textcoords="offset points",
            va="center",
            ha="left" if after else "right",
            fontsize=8,
        )


def _histogram(axis: Axes, values: dict[str, list[float]], label: str, counted: str) -> None:
    shown = {name: given for name, given in values.items() if given}
    axis.hist(
        list(shown.values()),
        bins=24,
        stacked=True,
        label=list(shown),
        color=[TASK_COLOURS.get(name, "#6B7280") for name in shown],
    )
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel(label, fontsize=9)
    axis.set_ylabel(counted, fontsize=9)
    if len(shown) > 1:
        axis.legend(fontsize=8, frameon=False)
    quiet(axis)


def _draw_places(axis: Axes, samples: Sequence[Sample]) -> None:
    """How often each hundredth of a video lies in a span, and where spans start and end."""
    places = np.array(
        [
            (min(1.0, span.start / sample.duration), min(1.0, span.end / sample.duration))
            for sample in samples
            if sample.duration
            for span in sample.spans
        ]
    ).reshape(-1, 2)
    grid = (np.arange(100) + 0.5) / 100
    inside = ((places[:, :1] <= grid) & (grid <= places[:, 1:])).mean(axis=0) if len(places) else grid * 0
    axis.fill_between(100 * grid, 100 * inside, color="#56B4E9", alpha=0.5, linewidth=0, label="in a span")
    for column, (name, colour) in enumerate((("starts", "#0072B2"), ("ends", "#D55E00"))):
        counts, edges = np.histogram(places[:, column], bins=25, range=(0, 1))
        share = 100 * counts / max(1, len(places))
        axis.stairs(share, 100 * edges, color=colour, label=f"{name} (4 % of the video a step)")
    axis.set_xlabel("place in the video (%)", fontsize=9)
    axis.set_ylabel("spans (%)", fontsize=9)
    axis.legend(fontsize=8, frameon=False)
    quiet(axis)
