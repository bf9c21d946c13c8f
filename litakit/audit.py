"""The time axis, proven: is the second the model is told the second at which the frame was on screen?

A model is told nothing but a video's duration and the order of its frames: the i-th of T frames stands for
the second `i * duration / (T - 1)`, the time token i. An audit takes the frames that the model would get,
finds each of them again in a plain decode of the whole file from its beginning, which shares no code with the
sampling, and measures how far the told second is from the interval in which that picture was shown.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from litakit.time_tokens import TimeTokenizer
from litakit.video import FrameBatch, FrameTransform, VideoError, decode_frames
from litakit.video._boxes import movie_duration

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from litakit.video.types import Backend, Pixels, Sampling, Seconds

SCHEMA_VERSION = 1
# Small enough for 4K, the whole picture, and exact: a neighbouring frame that differs at all is another.
LOOK = FrameTransform(size=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), aspect="pad")
# The nearest frame of a sound decode differs by 0 levels; another conversion to RGB by less than this.
MAX_MEAN_LEVELS = 4.0
NEIGHBOURS = 1
EDGE_SECONDS = 1e-6


@dataclass(frozen=True)
class AuditRow:
    """One time token and the frame that stands for it; times in seconds since the video's first frame.

    Attributes:
        token_index: i of the time token `<ti>`.
        told_seconds: the second the model is told.
        frame_index: the frame that the sampling says it took.
        start, end: when the picture that it delivered was on screen, as found by its pixels.
        error_seconds: distance of the told second from that interval, 0 inside it.
        limit_seconds: what a sound file keeps to: half of the longest frame interval around it. Frames chosen
            by time are spread over [0, last pts], tokens over [0, duration]; that shift may cost the last
            frame's interval, and is allowed up to one average interval.
        pixels_match: the picture delivered is that of `frame_index`.
    """

    token_index: int
    told_seconds: float
    frame_index: int
    start: float
    end: float
    error_seconds: float
    limit_seconds: float
    pixels_match: bool


@dataclass(frozen=True)
class AuditReport:
    """What an audit found; printed, a table and a verdict.

    Attributes:
        video: path as given.
        duration: seconds the model is told.
        decoded_seconds: how long the frames of a plain decode last.
        num_frames: frames that a plain decode shows.
        worst_error_seconds: the largest of the rows' errors.
        half_frame_interval_seconds: half of what a frame lasts on average.
        ok: every error within its row's limit, every picture the one claimed, the durations alike.
        sampling, backend: how the frames were chosen and by what they were decoded.
        is_variable_rate, has_edit_list: what is in play.
        has_wrong_container_duration: the header's duration differs from the frames' by more than 0.1 s and
            more than two frames.
        container_duration: what the header says of the pictures or of the whole, whichever is wrong; None
            where it says nothing.
        first_pts_seconds: the container's time of the first frame.
        rows: one a token.
        notes: what else is odd, in words.
    """

    video: str
    duration: float
    decoded_seconds: float
    num_frames: int
    worst_error_seconds: float
    half_frame_interval_seconds: float
    ok: bool
    sampling: str
    backend: str
    is_variable_rate: bool
    has_edit_list: bool
    has_wrong_container_duration: bool
    container_duration: float | None
    first_pts_seconds: float
    rows: tuple[AuditRow, ...] = field(repr=False)
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the whole report as JSON, with `worst_error_seconds` and `rows` among its keys."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1)

    def __str__(self) -> str:
        """Show a line per token and what they add up to."""
        codec = TimeTokenizer(len(self.rows))
        lines = [f"{'token':>6} {'told':>10} {'frame':>7} {'on screen':>21} {'error':>8}"]
        lines += [
            f"{codec.token(row.token_index):>6} {row.told_seconds:>8.3f} s {row.frame_index:>7} "
            f"{row.start:>8.3f} -{row.end:>9.3f} s {row.error_seconds:>6.3f} s"
            + ("" if row.pixels_match else "  another frame's picture")
            + ("" if row.error_seconds <= row.limit_seconds + EDGE_SECONDS else "  too far")
            for row in self.rows
        ]
        header = "none" if self.container_duration is None else f"{self.container_duration:.3f} s"
        limit = max(row.limit_seconds for row in self.rows)
        longest = f" on average, up to {limit:.4f} s around a sampled frame" if self.is_variable_rate else ""
        lines += [
            "",
            f"{self.video}: {self.num_frames} frames, {self.duration:.3f} s",
            f"frames          chosen by {self.sampling}, decoded by {self.backend}",
            f"frame rate      {'variable' if self.is_variable_rate else 'constant'}",
            f"edit list       {'yes' if self.has_edit_list else 'no'}",
            f"first pts       {self.first_pts_seconds:.3f} s",
            f"header duration {header}{' (wrong)' if self.has_wrong_container_duration else ''}",
            *(f"note            {note}" for note in self.notes),
            f"half a frame    {self.half_frame_interval_seconds:.4f} s{longest}",
            f"worst error     {self.worst_error_seconds:.4f} s: {'good' if self.ok else 'NOT GOOD'}",
        ]
        return "\n".join(lines)


def audit(
    video: str | os.PathLike[str],
    num_frames: int = 100,
    *,
    sampling: Sampling = "auto",
    backend: Backend = "auto",
) -> AuditReport:
    """Compare the seconds a model is told about a video file with those at which its frames were shown.

    The whole file is decoded once, in this process.

    Args:
        video: a video file.
        num_frames: T, frames sampled and time tokens alike, at least 2.
        sampling: as in `decode_frames`.
        backend: as in `decode_frames`.

    Raises:
        VideoError: the file cannot be read, or is no video file.
        ValueError: `num_frames` is below 2.
    """
    if num_frames < 2:
        raise ValueError(f"an audit needs num_frames of at least 2, got {num_frames}")
    path = os.fsdecode(video)
    if os.path.isdir(path):  # noqa: PTH112
        raise VideoError(path, "an audit needs a video file; a folder's frames have the times it is given")
    batch = decode_frames(path, num_frames, transform=LOOK, sampling=sampling, backend=backend)
    if batch.duration is None:
        raise VideoError(path, "an audit needs a video file; a still image has no times")
    try:
        decoded = _plain_decode(path, batch)
    except OSError as error:  # PyAV's errors of demuxing are among them
        raise VideoError(path, f"a plain decode from the beginning fails ({error.strerror})") from error
    return _report(path, batch, decoded)


def _report(path: str, batch: FrameBatch, decoded: _Decoded) -> AuditReport:
    """Set the frames delivered against those of the plain decode."""
    assert batch.duration is not None
    boundaries, looks = decoded.boundaries, decoded.looks
    total, num_decoded = float(boundaries[-1]), len(boundaries) - 1
    codec = TimeTokenizer(len(batch.pixels))
    rows = tuple(
        _row(index, codec.decode(index, batch.duration), batch, boundaries, looks)
        for index in range(len(batch.pixels))
    )
    half = total / num_decoded / 2
    notes = list(batch.notes)
    wrong_header = _wrong_header(decoded, max(0.1, 4 * half))
    sound = all(row.pixels_match and row.error_seconds <= row.limit_seconds + EDGE_SECONDS for row in rows)
    num_wrong = sum(not row.pixels_match for row in rows)
    if num_wrong:
        notes.append(f"{num_wrong} of {len(rows)} pictures are not those of the frames they are given as")
    if abs(total - batch.duration) > half + EDGE_SECONDS:
        notes.append(f"the model is told {batch.duration:.3f} s, the frames last {total:.3f} s")
        sound = False
    if batch.info.num_frames != num_decoded:
        notes.append(f"{batch.info.num_frames} frames were expected, {num_decoded} are shown")
    return AuditReport(
        video=path,
        duration=batch.duration,
        decoded_seconds=total,
        num_frames=num_decoded,
        worst_error_seconds=max(row.error_seconds for row in rows),
        half_frame_interval_seconds=half,
        ok=sound,
        sampling=batch.sampling,
        backend=batch.backend,
        is_variable_rate=batch.info.is_variable_rate,
        has_edit_list=batch.info.has_edit_list,
        has_wrong_container_duration=wrong_header is not None,
        container_duration=batch.info.container_duration if wrong_header is None else wrong_header,
        first_pts_seconds=batch.info.first_pts_seconds,
        rows=rows,
        notes=tuple(notes),
    )


def _row(
    index: int, told: float, batch: FrameBatch, boundaries: Seconds, looks: dict[int, Pixels]
) -> AuditRow:
    """Find one delivered picture in the plain decode, by its pixels, and measure."""
    pts = float(batch.pts_seconds[index])
    claimed = int(np.argmin(np.abs(boundaries[:-1] - pts)))
    near = [number for number in _around(claimed) if number in looks]
    picture = batch.pixels[index].astype(np.int16)
    levels = {number: float(np.abs(picture - looks[number]).mean()) for number in near}
    # Of frames that look alike, the claimed one; it comes first.
    shown = min(near, key=lambda number: levels[number], default=claimed)
    recognised = levels.get(shown, np.inf) <= MAX_MEAN_LEVELS
    if not recognised:
        shown = claimed
    lengths = np.diff(boundaries)
    limit = float(lengths[max(0, shown - 1) : shown + 2].max()) / 2
    if batch.sampling == "time":
        limit = max(limit, min(float(lengths[-1]), float(lengths.mean())))
    start, end = float(boundaries[shown]), float(boundaries[shown + 1])
    return AuditRow(
        token_index=index,
        told_seconds=told,
        frame_index=int(batch.frame_indices[index]),
        start=start,
        end=end,
        error_seconds=max(0.0, start - told, told - end),
        limit_seconds=limit,
        pixels_match=recognised and shown == claimed and abs(float(boundaries[claimed]) - pts) < EDGE_SECONDS,
    )


def _around(number: int) -> Iterator[int]:
    yield number
    for step in range(1, NEIGHBOURS + 1):
        yield from (number - step, number + step)


@dataclass(frozen=True, eq=False)
class _Decoded:
    """What a plain decode finds.

    Attributes:
        boundaries: (n + 1,) seconds at which frames appear, and the end of the last.
        looks: small pictures of the frames around the sampled ones, by their number.
        first: the container's time of the first frame.
        track_duration, file_duration: what headers say of the pictures and of the whole file.
        others_end: the container's time at which the last other stream ends, sound for one.
    """

    boundaries: Seconds
    looks: dict[int, Pixels]
    first: float
    track_duration: float | None
    file_duration: float | None
    others_end: float


def _wrong_header(decoded: _Decoded, tolerance: float) -> float | None:
    """Return a duration in a header that is neither of the pictures nor, for the whole file, of the sound."""
    total = float(decoded.boundaries[-1])
    ends = [total, total + decoded.first]  # some containers count from 0, some from the first frame
    whole = [*ends, max(total + decoded.first, decoded.others_end), decoded.others_end - decoded.first]
    for header, allowed in ((decoded.track_duration, ends), (decoded.file_duration, whole)):
        if header is not None and min(abs(header - end) for end in allowed) > tolerance:
            return header
    return None


def _plain_decode(path: str, batch: FrameBatch, *, has_times: bool = True) -> _Decoded:
    """Decode a file from its beginning to its end.

    Args:
        path: the file.
        batch: says around which seconds to look, and how to turn the frames.
        has_times: take the frames' own times; without them an even grid by the average rate.

    Raises:
        VideoError: there is not one frame.
    """
    import av

    shown: list[float] = []
    looks: dict[int, Pixels] = {}
    claimed = iter(np.unique(batch.pts_seconds).tolist())
    before: deque[tuple[int, VideoFrame]] = deque(maxlen=NEIGHBOURS + 1)
    target, after, last, first = next(claimed, None), 0, 0.0, 0.0
    others: list[float] = []
    with av.open(Path(path).absolute()) as container:
        stream = cast("VideoStream", container.streams.best("video") or container.streams.video[0])
        rate = float(stream.average_rate or 25)
        for number, frame in enumerate(_frames(container, stream, others)):
            seconds = number / rate
            if has_times:
                if frame.pts is None or frame.time_base is None:
                    return _plain_decode(path, batch, has_times=False)
                seconds = float(frame.pts * frame.time_base)
            first = seconds if not number else first
            shown.append(seconds - first)
            if number and shown[-1] <= shown[-2]:
                return _plain_decode(path, batch, has_times=False)
            last = float((frame.duration or 0) * (frame.time_base or 0)) if has_times else 1 / rate
            before.append((number, frame))
            # Reached from below: the frame itself, and those around it, are looked at.
            while target is not None and shown[-1] >= target - EDGE_SECONDS:
                after, target = NEIGHBOURS + 1, next(claimed, None)
            if after:
                looks.update({n: _look(f, batch) for n, f in before if n not in looks})
                after -= 1
        track = None if stream.duration is None else float(stream.duration * (stream.time_base or 0))
        whole = movie_duration(path)
        if whole is None and container.duration is not None:
            whole = container.duration / av.time_base
    if not shown:
        raise VideoError(path, "a plain decode from the beginning shows no frame")
    pts = np.asarray(shown, dtype=np.float64)
    if last <= 0:
        last = float(np.median(np.diff(pts))) if len(pts) > 1 else 1 / 25
    boundaries = np.append(pts, pts[-1] + last)
    return _Decoded(boundaries, looks, first, track, whole, max(others, default=0.0))


def _frames(container: InputContainer, stream: VideoStream, others: list[float]) -> Iterator[VideoFrame]:
    """Yield every frame that can be had, past packets that are damaged, up to where the file ends.

    Where packets of other streams end, in seconds, goes into `others`.
    """
    import av

    stream.thread_type = "AUTO"
    packets = container.demux()
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError, IndexError):  # the last: a stream that appeared on the way
            packet = None
        if packet is not None and packet.stream.index != stream.index:
            if packet.pts is not None:
                others.append(float((packet.pts + (packet.duration or 0)) * packet.time_base))
            continue
        with contextlib.suppress(av.FFmpegError, ValueError):
            yield from stream.codec_context.decode(cast("Packet[VideoStream] | None", packet))
        if packet is None or not packet.size:
            return


def _look(frame: VideoFrame, batch: FrameBatch) -> Pixels:
    """Return the small picture of a decoded frame, as it is to be seen."""
    rgb = frame.to_ndarray(format="rgb24")
    if batch.info.is_mirrored:
        rgb = rgb[:, ::-1]
    return LOOK.apply(np.ascontiguousarray(np.rot90(rgb, batch.info.rotation // 90)))
