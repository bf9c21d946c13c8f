"""Which frames of a video to look at: the published index rule, and its like for a variable frame rate.

>>> sample_indices(10, 4).tolist()
[0, 3, 6, 9]
>>> sample_indices(2, 4).tolist()
[0, 0, 1, 1]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from litakit.video.types import Indices, Sampling, Seconds

EDGE_SECONDS = 1e-6
"""Two times closer than this are one: pts are rational numbers, and seconds are floats."""


def sample_indices(num_available: int, num_frames: int) -> Indices:
    """Return `round(linspace(0, num_available - 1, num_frames))`, half to even: the published rule.

    Args:
        num_available: frames that the video has, at least 1.
        num_frames: frames wanted, at least 1; more than there are repeats some.

    Returns:
        (num_frames,) ascending indices.

    Raises:
        ValueError: a number is below 1.
    """
    if num_available < 1 or num_frames < 1:
        raise ValueError(
            f"expected at least 1 frame to take and at least 1 to take from, got num_frames={num_frames} "
            f"and num_available={num_available}"
        )
    return np.round(np.linspace(0, num_available - 1, num_frames)).astype(np.int64)


def sample_timestamps(pts_seconds: Seconds, num_frames: int, *, start: float = 0.0) -> Indices:
    """Return the frames nearest to `linspace(start, last pts, num_frames)`; of two as near, the earlier.

    Args:
        pts_seconds: (n,) ascending times at which frames appear.
        num_frames: frames wanted, at least 1.
        start: where the even grid begins, in seconds.

    Returns:
        (num_frames,) ascending indices into `pts_seconds`.

    Raises:
        ValueError: there is no frame, or none is wanted.

    >>> sample_timestamps(np.array([0.0, 0.1, 0.2, 4.0]), 3).tolist()
    [0, 2, 3]
    """
    if num_frames < 1 or len(pts_seconds) < 1:
        raise ValueError(
            f"expected at least 1 frame to take and at least 1 to take from, got num_frames={num_frames} "
            f"and {len(pts_seconds)} times"
        )
    wanted = np.linspace(min(start, float(pts_seconds[-1])), float(pts_seconds[-1]), num_frames)
    right = np.clip(np.searchsorted(pts_seconds, wanted), 1, max(1, len(pts_seconds) - 1))
    left = right - 1
    right = np.minimum(right, len(pts_seconds) - 1)
    nearer_right = pts_seconds[right] - wanted < wanted - pts_seconds[left]
    return np.where(nearer_right, right, left).astype(np.int64)


def frames_on_grid(boundaries: Seconds, fps: float) -> Indices:
    """Return which frame is on screen at second k / fps, for each k / fps before the video ends.

    Args:
        boundaries: (n + 1,) seconds since the first frame: frame i is on screen from `boundaries[i]` to
            `boundaries[i + 1]`.
        fps: of the grid, positive.

    Returns:
        (K,) ascending indices, at least one; a frame that stays long comes several times.

    >>> frames_on_grid(np.array([0.0, 0.1, 0.5, 0.7]), 5.0).tolist()
    [0, 1, 1, 2]
    """
    num_times = max(1, math.ceil((float(boundaries[-1]) - EDGE_SECONDS) * fps))
    times = np.arange(num_times) / fps
    found = np.searchsorted(boundaries[:-1], times + EDGE_SECONDS, side="right") - 1
    return np.maximum(found, 0).astype(np.int64)


def has_constant_rate(pts_seconds: Seconds, fps: float) -> bool:
    """Say whether every frame is shown within half a frame of `first + i / fps`.

    The rate is the one given or, where that does not fit (a header may be wrong), the one that the first and
    the last frame imply.

    Args:
        pts_seconds: (n,) ascending times of all frames.
        fps: the container's average rate; 0.0 where it has none.

    >>> has_constant_rate(np.arange(50) / 25, 25.0), has_constant_rate(np.arange(50) / 25, 30.0)
    (True, True)
    >>> has_constant_rate(np.array([0.0, 0.04, 0.08, 0.5]), 25.0)
    False
    """
    steps = len(pts_seconds) - 1
    if steps < 1:
        return True
    span = float(pts_seconds[-1] - pts_seconds[0])
    rates = [fps, steps / span] if span > 0 else [fps]
    shown = pts_seconds - pts_seconds[0]
    grid = np.arange(steps + 1)
    return any(
        rate > 0 and bool(np.all(np.abs(shown - grid / rate) < 0.5 / rate + EDGE_SECONDS)) for rate in rates
    )


@dataclass(frozen=True)
class Choice:
    """The frames chosen of a video or of a part of it.

    Attributes:
        indices: (T,) ascending frame indices, counted from the video's first frame.
        sampling: the rule that chose them, "index" or "time".
        start: seconds at which the part begins.
        duration: seconds of the part.
        note: what was done to the part, in words; empty where nothing was.
    """

    indices: Indices
    sampling: str
    start: float
    duration: float
    note: str = ""


def choose_frames(
    boundaries: Seconds,
    num_frames: int,
    *,
    sampling: Sampling = "auto",
    average_fps: float = 0.0,
    start: float | None = None,
    end: float | None = None,
) -> Choice:
    """Choose frames of a video or of the part between `start` and `end`.

    A part holds the frame that is on screen at `start` and every frame that appears after it and before
    `end`. Its duration is `end - start`.

    Args:
        boundaries: (n + 1,) seconds since the first frame: frame i is on screen from `boundaries[i]` to
            `boundaries[i + 1]`.
        num_frames: frames wanted.
        sampling: "index" (the published rule), "time", or "auto": by index where the rate is constant.
        average_fps: what the container says; with `sampling="index"` the duration of the whole is
            `n / average_fps`, as published.
        start: seconds; None for the beginning.
        end: seconds; None for the end. A time after the end is brought back to it.

    Raises:
        ValueError: the part is empty, reversed or outside the video, or `num_frames` is below 1.

    >>> choose_frames(np.arange(101) / 10, 3, start=2.0, end=4.0).indices.tolist()
    [20, 30, 39]
    """
    pts, total = boundaries[:-1], float(boundaries[-1])
    constant = has_constant_rate(pts, average_fps)
    rule = sampling if sampling != "auto" else ("index" if constant else "time")
    begin, finish = _part(start, end, total)
    first = max(0, int(np.searchsorted(pts, begin + EDGE_SECONDS, side="right")) - 1)
    after = max(first + 1, int(np.searchsorted(pts, finish - EDGE_SECONDS)))
    if rule == "index":
        indices = first + sample_indices(after - first, num_frames)
    else:
        indices = first + sample_timestamps(pts[first:after], num_frames, start=begin)
    duration = finish - begin
    if sampling == "index" and start is None and end is None and average_fps > 0:
        duration = len(pts) / average_fps
    note = ""
    if end is not None and end > total + 0.1:
        note = f"the part was to end at {end:.2f} s; the video ends at {total:.2f} s"
    return Choice(indices, rule, begin, duration, note)


def _part(start: float | None, end: float | None, total: float) -> tuple[float, float]:
    begin = 0.0 if start is None else float(start)
    finish = total if end is None else min(float(end), total)
    if not np.isfinite(begin) or not np.isfinite(finish) or begin < 0:
        raise ValueError(f"a part needs 0 <= start < end in seconds, got start={start} and end={end}")
    if begin >= total > 0:
        raise ValueError(f"the part begins at {begin:.2f} s, but the video ends at {total:.2f} s")
    if finish <= begin:
        raise ValueError(f"a part needs start < end in seconds, got start={start} and end={end}")
    return begin, finish
