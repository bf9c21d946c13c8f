"""One job of the worker: look at a source, choose frames, decode and shrink them.

Frames are shrunk in other threads while decoding goes on; Pillow and swscale let go of the interpreter's
lock. At most a few frames are in flight, so that memory does not grow with the video.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from litakit.video._errors import DecoderError, PacketsMisledError, Ping
from litakit.video._sources import frame_files, image_format, kind_of, read_image
from litakit.video._table import FrameTable
from litakit.video.sampling import Choice, choose_frames, has_constant_rate
from litakit.video.transform import FrameTransform
from litakit.video.types import Backend, Kind, Pixels, Sampling, VideoError, VideoInfo

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from litakit.video._colour import RgbConverter

# Of small or simple videos decoding is the lesser part.
NUM_FINISHERS = 2

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What the worker is asked for; no frames means facts only.

    Attributes:
        source: as the caller named it, for messages.
        file: the same from the root on: the worker may stand in another folder, and FFmpeg takes a name with
            a colon for a protocol.

    The others are those of `decode_frames`.
    """

    source: str
    file: str
    num_frames: int
    start: float | None = None
    end: float | None = None
    sampling: Sampling = "auto"
    backend: Backend = "auto"
    fps: float | None = None
    duration: float | None = None
    transform: FrameTransform | None = None


@dataclass(frozen=True)
class Plan:
    """Which frames will come: the unique ones, ascending, each once. A second plan undoes the first."""

    choice: Choice | None
    indices: list[int]
    boundaries: Any
    backend: str


class Outlet(Protocol):
    """Where a job's results go."""

    def plan(self, plan: Plan) -> None:
        """Announce the frames that will come."""

    def frame(self, slot: int, pixels: Pixels) -> None:
        """Hand over the frame at a place among the plan's indices."""

    def ping(self) -> None:
        """Give a sign of life."""


class Shrink(Protocol):
    """What makes a frame smaller."""

    def apply(self, rgb: Pixels) -> Pixels:
        """Shrink one (H, W, 3) frame."""


def run(request: Request, outlet: Outlet) -> VideoInfo:
    """Do one job and return the facts about the source.

    Raises:
        VideoError: the source cannot be read.
        ValueError: the part asked for does not exist in it.
    """
    path, kind = kind_of(request.file)
    if kind == "video":
        if request.fps is not None or request.duration is not None:
            raise VideoError(path, "fps= and duration= are for folders of frames; a video has its own times")
        info = with_table(
            path,
            request.backend,
            outlet.ping,
            lambda table, backend: _decode(path, table, request, outlet, backend),
        )
    else:
        info = _run_images(path, kind, request, outlet)
    return replace(info, path=request.source)


def with_table(path: str, asked: Backend, ping: Ping, use: Callable[[FrameTable, str], T]) -> T:
    """Look through a video and use what was found.

    Args:
        path: video file.
        asked: which decoder to use.
        ping: called now and then, as a sign of life.
        use: takes the table and the decoder's name; called a second time, with a table that is certain, where
            the packets had misled it.

    Raises:
        VideoError: the video cannot be read.
    """
    if importlib.util.find_spec("av") is None:
        return _without_pyav(path, asked, use)
    from litakit.video import _scan

    backend = "decord" if asked == "decord" else "pyav"
    try:
        table = _scan.scan(path, ping)
        try:
            return use(table, backend)
        except PacketsMisledError as misled:
            table = _scan.scan(path, ping, decode=True)
            note = f"decoded in full, because {misled}"
            return use(replace(table, warnings=(*table.warnings, note)), backend)
    except PacketsMisledError as misled:
        raise VideoError(path, f"it cannot be decoded twice alike: {misled}") from misled
    except DecoderError as error:
        raise VideoError(path, str(error)) from error


def _without_pyav(path: str, asked: Backend, use: Callable[[FrameTable, str], T]) -> T:
    if asked == "pyav":
        raise VideoError(path, 'PyAV is not installed; "pip install av", or use backend="decord"')
    from litakit.video import _decord

    try:
        return use(_decord.scan(path), "decord")
    except DecoderError as error:
        raise VideoError(path, str(error)) from error


def _decode(path: str, table: FrameTable, request: Request, outlet: Outlet, backend: str) -> VideoInfo:
    choice, unique = _choose(path, table, request)
    outlet.plan(Plan(choice, unique.tolist(), table.boundaries, backend))
    if len(unique):
        frames = frames_of(path, table, unique, request.transform, backend, outlet.ping)
        finish_all(frames, _to_slots(unique, outlet), 1 if table.is_large else NUM_FINISHERS)
    return info_of(path, "video", table)


def _to_slots(unique: np.ndarray, outlet: Outlet) -> Callable[[int, Pixels], None]:
    slots = {int(index): slot for slot, index in enumerate(unique)}
    return lambda index, pixels: outlet.frame(slots[index], pixels)


def frames_of(
    path: str, table: FrameTable, unique: np.ndarray, transform: Shrink | None, backend: str, ping: Ping
) -> Iterator[tuple[int, Callable[[], Pixels]]]:
    """Yield (index, a call that gives the finished frame) once for each index, in no particular order."""
    if backend == "decord":
        from litakit.video import _decord

        for index, rgb in _decord.decode_indices(path, table, unique, ping):
            yield index, _finisher(rgb, transform)
        return
    from litakit.video import _pyav

    sideways = table.rotation in (90, 270)
    first = (table.height, table.width) if sideways else (table.width, table.height)
    size = first if transform is None else None  # frames that are to be alike take the first one's size
    for index, frame, converter in _pyav.decode_indices(path, table, unique, ping):
        yield index, partial(_convert, converter, frame, size, transform)


def _convert(
    converter: RgbConverter, frame: VideoFrame, size: tuple[int, int] | None, transform: Shrink | None
) -> Pixels:
    rgb = converter.to_rgb(frame, size)
    return rgb if transform is None else transform.apply(rgb)


def _finisher(rgb: Pixels, transform: Shrink | None) -> Callable[[], Pixels]:
    return lambda: rgb if transform is None else transform.apply(rgb)


def finish_all(
    frames: Iterator[tuple[int, Callable[[], T]]], hand_over: Callable[[int, T], None], num_finishers: int
) -> None:
    """Finish frames in threads of their own while the next are decoded, and hand them over in order."""
    pending: list[tuple[int, Future[T]]] = []
    with ThreadPoolExecutor(num_finishers) as pool:
        for index, finish in frames:
            pending.append((index, pool.submit(finish)))
            while len(pending) > 2 * num_finishers or (pending and pending[0][1].done()):
                done, future = pending.pop(0)
                hand_over(done, future.result())
        for index, future in pending:
            hand_over(index, future.result())


def _choose(path: str, table: FrameTable, request: Request) -> tuple[Choice | None, np.ndarray]:
    if request.num_frames == 0:
        return None, np.empty(0, dtype=np.int64)
    try:
        choice = choose_frames(
            table.boundaries,
            request.num_frames,
            sampling=request.sampling,
            average_fps=table.average_fps,
            start=request.start,
            end=request.end,
        )
    except ValueError as error:
        raise VideoError(path, str(error)) from error
    return choice, np.unique(choice.indices)


def _run_images(path: str, kind: Kind, request: Request, outlet: Outlet) -> VideoInfo:
    if kind == "image":
        return _run_still(path, request, outlet)
    files = frame_files(path)
    table = _folder_table(path, len(files), request)
    first = _frame_of(path, files[0])
    table = replace(table, width=first.shape[1], height=first.shape[0], codec=image_format(files[0]))
    choice, unique = _choose(path, table, request)
    outlet.plan(Plan(choice, unique.tolist(), table.boundaries, "pillow"))

    def frames() -> Iterator[tuple[int, Callable[[], Pixels]]]:
        for index in unique.tolist():
            rgb = _frame_of(path, files[index])
            if request.transform is None and rgb.shape != first.shape:
                sizes = f"{first.shape[1]}x{first.shape[0]} and {rgb.shape[1]}x{rgb.shape[0]}"
                raise VideoError(
                    path, f"frames of different sizes ({sizes}): give a transform to make them alike"
                )
            yield index, _finisher(rgb, request.transform)

    finish_all(frames(), _to_slots(unique, outlet), NUM_FINISHERS)
    return info_of(path, "frames", table)


def _frame_of(folder: str, file: str) -> Pixels:
    """Read one frame of a folder; what is wrong with it is said with its name."""
    try:
        return read_image(file)
    except VideoError as error:
        raise VideoError(folder, f"{Path(file).name}: {error.reason}") from error


def _run_still(path: str, request: Request, outlet: Outlet) -> VideoInfo:
    if any(value is not None for value in (request.start, request.end, request.fps, request.duration)):
        raise VideoError(path, "a still image has no times: start=, end=, fps= and duration= do not apply")
    rgb = read_image(path)
    table = FrameTable(np.zeros(2), 0.0, width=rgb.shape[1], height=rgb.shape[0], codec=image_format(path))
    choice = Choice(np.zeros(request.num_frames, dtype=np.int64), "index", 0.0, 0.0)
    outlet.plan(Plan(choice, [0], table.boundaries, "pillow"))
    if request.num_frames:
        outlet.frame(0, rgb if request.transform is None else request.transform.apply(rgb))
    return replace(info_of(path, "image", table), duration=None)


def _folder_table(path: str, num_files: int, request: Request) -> FrameTable:
    fps, duration = request.fps, request.duration
    if (fps is None) == (duration is None):
        given = "neither" if fps is None else "both"
        raise VideoError(
            path,
            f"a folder of frames needs fps= or duration=, got {given} ({num_files} frames; the published "
            "layout has 5 frames a second: fps=5)",
        )
    value = fps if fps is not None else duration
    if value is None or not np.isfinite(value) or value <= 0:
        raise VideoError(path, f"fps= and duration= must be positive, got fps={fps} and duration={duration}")
    rate = fps if fps is not None else num_files / value
    return FrameTable(np.arange(num_files + 1) / rate, float(rate))


def info_of(path: str, kind: Kind, table: FrameTable) -> VideoInfo:
    """Return the facts about a source that its table holds."""
    return VideoInfo(
        path=path,
        kind=kind,
        duration=float(table.boundaries[-1]),
        num_frames=table.num_frames,
        average_fps=table.average_fps,
        width=table.width,
        height=table.height,
        rotation=table.rotation,
        is_mirrored=table.is_mirrored,
        codec=table.codec,
        is_variable_rate=not has_constant_rate(table.boundaries[:-1], table.average_fps),
        first_pts_seconds=table.first_pts_seconds,
        has_edit_list=table.has_edit_list,
        container_duration=table.container_duration,
        warnings=table.warnings,
    )
