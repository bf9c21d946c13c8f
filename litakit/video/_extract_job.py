"""The worker's other job: frames of a video, evenly in time, into a folder of jpgs.

Frames never leave the process: they are decoded, resized, encoded and written here, a few at a time.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from litakit.video._errors import FolderError, Ping
from litakit.video._job import finish_all, frames_of, info_of, with_table
from litakit.video._table import FrameTable
from litakit.video.sampling import frames_on_grid
from litakit.video.types import Pixels, VideoInfo

# Most of a writer's time goes by while the disk confirms.
NUM_WRITERS = 4
# A picture that stays for an hour is written 18,000 times: in pieces, with signs of life between them.
MOST_COPIES = 100


@dataclass(frozen=True)
class ExtractRequest:
    """What the worker is asked for.

    Attributes:
        source: video file as the caller named it, for messages.
        file: the same from the root on.
        folder: where the frames go, from the root on; it is there, and empty.

    The others are those of `extract_frames`.
    """

    source: str
    file: str
    folder: str
    fps: float
    size: tuple[int, int] | None
    quality: int


@dataclass(frozen=True)
class Extracted:
    """How many frames were written, and facts about the video."""

    num_frames: int
    info: VideoInfo


def run(request: ExtractRequest, ping: Ping) -> Extracted:
    """Write the frames of a video.

    Raises:
        VideoError: the video cannot be read.
        FolderError: the folder cannot be written.
    """
    extracted = with_table(
        request.file, "auto", ping, lambda table, backend: _extract(request, table, backend, ping)
    )
    return replace(extracted, info=replace(extracted.info, path=request.source))


def _extract(request: ExtractRequest, table: FrameTable, backend: str, ping: Ping) -> Extracted:
    folder = Path(request.folder)
    _empty(folder)  # a table that misled may have begun
    grid = frames_on_grid(table.boundaries, request.fps)
    unique, first_places, num_copies = np.unique(grid, return_index=True, return_counts=True)
    shrink = None if request.size is None else _Stretch(request.size)
    frames = frames_of(request.file, table, unique, shrink, backend, ping)
    places = {
        index: range(first, first + copies)
        for index, first, copies in zip(
            unique.tolist(), first_places.tolist(), num_copies.tolist(), strict=True
        )
    }

    def writes() -> Iterator[tuple[int, Callable[[], None]]]:
        for index, finish in frames:
            here = places[index]
            for start in range(0, len(here), MOST_COPIES):
                piece = here[start : start + MOST_COPIES]
                yield index, partial(_write, folder, piece, finish, request.quality)

    finish_all(writes(), lambda index, written: ping(), 1 if table.is_large else NUM_WRITERS)
    return Extracted(len(grid), info_of(request.file, "video", table))


@dataclass(frozen=True)
class _Stretch:
    """Brings a frame to a size, whatever its shape, as the published frames are."""

    size: tuple[int, int]

    def apply(self, rgb: Pixels) -> Pixels:
        return np.asarray(Image.fromarray(rgb).resize(self.size, Image.Resampling.BICUBIC))


def _write(folder: Path, places: range, finish: Callable[[], Pixels], quality: int) -> None:
    """Write one frame at each of its places, named as ffmpeg's %06d.jpg names them."""
    jpg = io.BytesIO()
    Image.fromarray(finish()).save(jpg, "jpeg", quality=quality)
    for place in places:
        try:
            write_file(folder / f"{place + 1:06d}.jpg", jpg.getvalue())
        except OSError as error:
            raise FolderError(error) from error


def write_file(path: Path, content: bytes) -> None:
    """Write a new file, and have the disk confirm it."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _empty(folder: Path) -> None:
    try:
        for path in folder.iterdir():
            path.unlink()
    except OSError as error:
        raise FolderError(error) from error
