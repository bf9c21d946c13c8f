"""extract_frames: a video as a folder of frames, evenly in time, whole or not at all."""

from __future__ import annotations

import math
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from litakit.video._client import worker
from litakit.video._decode import DEADLINE_SECONDS, Source
from litakit.video._errors import FolderError, words_of
from litakit.video._extract_job import ExtractRequest
from litakit.video._sources import kind_of
from litakit.video.types import VideoError, VideoInfo

FPS = 5.0
SIZE = (320, 240)
"""Width and height in pixels; both as the published frames have them."""

QUALITY = 90
MOST_PIXELS = 65_500
"""A side of a jpg has no more."""


@dataclass(frozen=True)
class FrameFolder:
    """A folder of frames that was made of a video.

    Attributes:
        path: the folder; frame k, which is on screen at second k / fps, is called `%06d.jpg` with k + 1.
        fps: frames a second, with which `decode_frames` is to read it.
        num_frames: how many there are.
        info: facts about the video; its `warnings` say what is odd, such as a file that is cut off.
    """

    path: Path
    fps: float
    num_frames: int
    info: VideoInfo


def extract_frames(
    source: Source,
    folder: str | os.PathLike[str],
    *,
    fps: float = FPS,
    size: tuple[int, int] | None = SIZE,
    quality: int = QUALITY,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> FrameFolder:
    """Write the frames that are on screen at second 0, 1 / fps, 2 / fps, ... of a video into a folder.

    The folder appears whole or not at all, even if the process is killed; the same video gives the same
    bytes. Read at the same `fps` it lasts as long as the video, to within 1 / fps. Seconds count from the
    first frame. Of a video that is cut off, what can be read is written. Only one process at a time may make
    a folder (`litakit.data.frames.extract` sees to that).

    Args:
        source: a video file.
        folder: to be made; it must not be there, unless empty. Missing parents are made. While it is written
            its frames are in `.<name>.part` beside it; what a killed process has left there is removed.
        fps: frames a second.
        size: width and height in pixels, to which frames are stretched; None keeps the video's.
        quality: of the jpgs, 1 to 100.
        deadline_seconds: how long the decoder may go without a sign of life.

    Raises:
        VideoError: the source cannot be read or is no video file; it names the file and the reason.
        OSError: the folder is there, or cannot be written: a full disk, no permission; it names the folder.
        ValueError: an argument is out of its range.
    """
    _check(fps, size, quality)
    if not math.isfinite(deadline_seconds) or deadline_seconds <= 0:
        raise ValueError(f"deadline_seconds must be positive and finite, got {deadline_seconds}")
    path, kind = kind_of(source)
    if kind != "video":
        what = "a still image" if kind == "image" else "a folder"
        raise VideoError(path, f"frames are extracted from a video file, and this is {what}")
    target = Path(folder).resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(f"{target}: there already; remove it to have its frames made anew")
    parts = target.with_name(f".{target.name}.part")
    shutil.rmtree(parts, ignore_errors=True)
    # Named anew each time, so that frames of two runs can never become one folder.
    temporary = parts / f"{os.getpid()}-{secrets.token_hex(4)}"
    try:
        temporary.mkdir(parents=True)
        request = ExtractRequest(path, str(Path(path).absolute()), str(temporary), fps, size, quality)
        extracted = worker().extract(request, deadline_seconds)
        _confirm(temporary)
        temporary.replace(target)
        _confirm(target.parent)
    except FolderError as error:
        raise _not_written(target, error.error) from error
    except OSError as error:
        raise _not_written(target, error) from error
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return FrameFolder(target, fps, extracted.num_frames, extracted.info)


def _check(fps: float, size: tuple[int, int] | None, quality: int) -> None:
    if not math.isfinite(fps) or fps <= 0:
        raise ValueError(f"fps must be positive and finite, got {fps}")
    if size is not None and not all(1 <= side <= MOST_PIXELS for side in size):
        raise ValueError(f"size must be a width and a height of 1 to {MOST_PIXELS} px, got {size}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100, got {quality}")


def _confirm(folder: Path) -> None:
    """Have the disk confirm what a folder holds."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_written(folder: Path, error: OSError) -> OSError:
    return OSError(error.errno, f"frames cannot be written: {words_of(error)}", str(folder))
