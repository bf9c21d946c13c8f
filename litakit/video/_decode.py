"""decode_frames and probe: the questions one may ask of a video."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import get_args

import numpy as np

from litakit.video._client import worker
from litakit.video._job import Plan, Request
from litakit.video._sources import kind_of
from litakit.video.transform import FrameTransform
from litakit.video.types import Backend, FrameBatch, Pixels, Sampling, Seconds, VideoInfo

DEADLINE_SECONDS = 120.0

Source = str | os.PathLike[str]


def decode_frames(
    source: Source,
    num_frames: int = 100,
    *,
    start: float | None = None,
    end: float | None = None,
    sampling: Sampling = "auto",
    backend: Backend = "auto",
    fps: float | None = None,
    duration: float | None = None,
    transform: FrameTransform | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> FrameBatch:
    """Return frames spread evenly over a video, with the times at which they are shown.

    Decoding runs in one persistent process that is ended and started anew where it hangs or dies.

    Args:
        source: a video file; a folder of images, taken in natural order of their names; or a still image,
            which is repeated.
        num_frames: T; a video with fewer frames repeats some.
        start: where the part begins, in seconds since the first frame; None for the beginning. The part's
            first frame is the one on screen at that moment.
        end: where it ends; None for the end. Its last frame is the last that appears before; the part's
            duration is `end - start`.
        sampling: "index" is the published rule, `round(linspace(0, n - 1, T))`; "time" takes the frames
            nearest to `linspace(0, last pts, T)`; "auto" goes by index where the rate is constant (every pts
            within half a frame of `first + i / fps`) and by time where it varies.
        backend: "pyav", "decord", or "auto": PyAV, which is faster and reads more, and decord
            where PyAV is missing. Both give the same frames. Images are read by Pillow.
        fps: of a folder of frames; the published layout has 5.
        duration: seconds that a folder of frames lasts; one of the two must be given for a folder.
        transform: shrinks each frame as it is decoded, so that memory stays small whatever the video's size.
            None keeps frames as they are: T * H * W * 3 bytes, 0.6 GB for 100 frames of 1920x1080.
        deadline_seconds: how long the decoder may go without a sign of life.

    Returns:
        The frames. What went wrong without stopping the reading stands in its `notes`.

    Raises:
        VideoError: the source cannot be read, or has no such part; it names the file and the reason.
        ValueError: an argument is not one of those above.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    if sampling not in get_args(Sampling):
        raise ValueError(f"sampling must be one of {', '.join(get_args(Sampling))}, got {sampling!r}")
    path, kind = kind_of(source)
    request = Request(path, _file(path), num_frames, start, end, sampling, backend, fps, duration, transform)
    plan, pixels, info = _ask(request, deadline_seconds)
    choice = plan.choice
    assert choice is not None
    where = np.searchsorted(plan.indices, choice.indices)
    notes = (*info.warnings, choice.note) if choice.note else info.warnings
    return FrameBatch(
        pixels=pixels if len(pixels) == num_frames else pixels[where],
        pts_seconds=plan.boundaries[choice.indices],
        frame_indices=choice.indices,
        info=info,
        backend=plan.backend,
        sampling=choice.sampling,
        duration=None if kind == "image" else choice.duration,
        start=choice.start,
        notes=notes,
    )


def probe(
    source: Source,
    *,
    fps: float | None = None,
    duration: float | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> VideoInfo:
    """Return facts about a video, decoding as good as nothing of it.

    Args:
        source: as in `decode_frames`.
        fps: as there.
        duration: as there.
        deadline_seconds: as there.

    Raises:
        VideoError: the source cannot be read; it names the file and the reason.
    """
    path, _ = kind_of(source)
    return _ask(Request(path, _file(path), 0, fps=fps, duration=duration), deadline_seconds)[2]


def frame_boundaries(
    source: Source,
    *,
    fps: float | None = None,
    duration: float | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Seconds:
    """Return when every frame is on screen: frame i from the i-th of (n + 1,) seconds to the next.

    Args:
        source: as in `decode_frames`.
        fps: as there.
        duration: as there.
        deadline_seconds: as there.

    Returns:
        (n + 1,) float64, the first 0: seconds since the first frame. Two zeros for a still image.

    Raises:
        VideoError: the source cannot be read; it names the file and the reason.
    """
    path, _ = kind_of(source)
    boundaries: Seconds = _ask(Request(path, _file(path), 0, fps=fps, duration=duration), deadline_seconds)[
        0
    ].boundaries
    return boundaries


def _file(path: str) -> str:
    return str(Path(path).absolute())


def _ask(request: Request, deadline_seconds: float) -> tuple[Plan, Pixels, VideoInfo]:
    if request.backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {request.backend!r}")
    if not math.isfinite(deadline_seconds) or deadline_seconds <= 0:
        raise ValueError(f"deadline_seconds must be positive and finite, got {deadline_seconds}")
    return worker().decode(request, deadline_seconds)
