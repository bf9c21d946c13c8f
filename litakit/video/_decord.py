"""Frames of a video file by decord, within its limits: few frames at a time, ascending, reader let go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from litakit.video._errors import DecoderError, Ping, words_of
from litakit.video._table import FrameTable, boundaries_of

if TYPE_CHECKING:
    from litakit.video.types import Indices, Pixels

MAX_CHUNK_FRAMES = 8
MAX_CHUNK_BYTES = 64 * 2**20
THREADS = 2
# Where decord's jumps end at the frame asked for; elsewhere (B-frames of MPEG-2 and MPEG-4) they miss it.
# It also loses count where its decoder drops frames after a jump: `PacketTable.jumps_are_plain`.
JUMPS_RIGHT = frozenset({"h264", "hevc", "vp9", "vp8", "mjpeg"})
STARTS_WRONG = frozenset({"mpegts"})


def decode_indices(path: str, table: FrameTable, wanted: Indices, ping: Ping) -> Iterator[tuple[int, Pixels]]:
    """Yield (index, (H, W, 3) uint8 frame) for each wanted index, in ascending order.

    Raises:
        DecoderError: decord is missing, cannot read the file, or counts other frames than are shown.
    """
    if table.format_name in STARTS_WRONG:
        raise DecoderError(f'decord does not find the beginning of {table.format_name}; use backend="pyav"')
    reader = open_reader(path)
    import decord  # after its absence has been reported

    if len(reader) != table.num_frames:
        raise DecoderError(
            f'decord counts {len(reader)} frames where {table.num_frames} are shown; use backend="pyav"'
        )
    plain = table.packets is not None and table.packets.jumps_are_plain
    frames = _by_jumps if plain and table.codec in JUMPS_RIGHT else _in_a_row
    try:
        for index, frame in frames(reader, table, wanted, ping):
            yield index, _unmirrored(frame, table)
    except decord.DECORDError as error:
        raise DecoderError(f'decord cannot decode it ({first_words(error)}); use backend="pyav"') from error


def _unmirrored(frame: Pixels, table: FrameTable) -> Pixels:
    """Make up for decord's reading of a mirroring matrix as a turn by half a circle more."""
    if not table.is_mirrored:
        return frame
    return np.ascontiguousarray(frame[:, ::-1] if table.rotation in (90, 270) else frame[::-1])


def _by_jumps(reader: Any, table: FrameTable, wanted: Indices, ping: Ping) -> Iterator[tuple[int, Pixels]]:
    frame_bytes = max(1, table.width * table.height * 3)
    chunk_size = min(MAX_CHUNK_FRAMES, max(1, MAX_CHUNK_BYTES // frame_bytes))
    for begin in range(0, len(wanted), chunk_size):
        chunk = wanted[begin : begin + chunk_size].tolist()
        frames = reader.get_batch(chunk).asnumpy()
        ping()
        yield from zip(chunk, frames, strict=True)
    reader.seek(0)


def _in_a_row(reader: Any, table: FrameTable, wanted: Indices, ping: Ping) -> Iterator[tuple[int, Pixels]]:
    left = set(wanted.tolist())
    for index in range(int(wanted[-1]) + 1):
        frame = reader.next()
        ping()
        if index in left:
            yield index, frame.asnumpy()
    reader.seek(0)


def scan(path: str) -> FrameTable:
    """Return when each frame is shown, by decord alone: for a machine without PyAV.

    Raises:
        DecoderError: as `decode_indices`.
    """
    reader = open_reader(path)
    if not len(reader):
        raise DecoderError("not one video frame in it")
    shown = np.asarray(reader.get_frame_timestamp(np.arange(len(reader))), dtype=np.float64)
    height, width, _ = reader[0].shape
    return FrameTable(
        boundaries=boundaries_of(shown[:, 0], float(shown[-1, 1] - shown[-1, 0])),
        average_fps=float(reader.get_avg_fps()),
        first_pts_seconds=float(shown[0, 0]),
        width=width,
        height=height,
    )


def open_reader(path: str) -> Any:
    """Open a file with decord.

    Raises:
        DecoderError: decord is missing or cannot read the file.
    """
    try:
        import decord
    except (ImportError, OSError) as error:
        raise DecoderError(
            f'decord is not usable here ({words_of(error)}); "pip install decord", or use backend="pyav"'
        ) from error
    try:
        return decord.VideoReader(path, ctx=decord.cpu(0), num_threads=THREADS)
    except (decord.DECORDError, RuntimeError) as error:
        raise DecoderError(f'decord cannot open it ({first_words(error)}); use backend="pyav"') from error


def first_words(error: BaseException) -> str:
    """Return the first line of decord's words, without the place in its source and its stack."""
    line = str(error).strip().split("\n")[0]
    return line.split(": ", 1)[-1][:200]
