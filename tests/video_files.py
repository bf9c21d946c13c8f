"""Makers of small videos that carry their own clock, and the reader of that clock.

Every frame has a square of 5 x 5 black and white cells in its centre: 16 bits of milliseconds since the first
frame, 8 bits of checksum, one cell that is always white. The cells are large enough to survive compression, a
centre crop and shrinking. PyAV encodes; no ffmpeg binary is needed.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from litakit.video import FrameBatch

CELLS = 5
BITS = CELLS * CELLS
CLOCK_SECONDS = 0.001 + 1e-6  # the clock rounds to a millisecond, and so do mkv and webm
NUM_CLOCK_BITS, NUM_CHECK_BITS = 16, 8
DARK, BRIGHT = 16, 235
FAST = {
    "libx264": {"preset": "veryfast", "crf": "20", "bf": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:frame-threads=1"},
    # its faster presets now and then lose a block at the edge of frames like these
    "libsvtav1": {"preset": "8", "crf": "20", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "600k"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "b": "600k"},
    "mpeg4": {"qscale": "3", "b": "2M"},
}
B_FRAMES = {"bf": "3", "b_strategy": "0", "x264-params": "bframes=3:b-adapt=0:scenecut=0"}


def checksum(milliseconds: int) -> int:
    return (milliseconds * 40503 + 12345 >> 3) % 251


def clock_frame(milliseconds: int, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8: the cells in the central square over a field that drifts with time."""
    word = milliseconds | checksum(milliseconds) << NUM_CLOCK_BITS | 1 << BITS - 1
    cells = np.array([word >> bit & 1 for bit in range(BITS)], dtype=np.uint8).reshape(CELLS, CELLS)
    side = min(width, height)
    place = (np.arange(side) * CELLS // side).astype(int)
    square = np.where(cells[np.ix_(place, place)], BRIGHT, DARK).astype(np.uint8)
    frame = np.empty((height, width, 3), dtype=np.uint8)
    frame[:] = (60 + milliseconds // 10 % 120, 128, 90)
    top, left = (height - side) // 2, (width - side) // 2
    frame[top : top + side, left : left + side] = square[..., None]
    return frame


@dataclass(frozen=True)
class ClockVideo:
    """A video that was made and what is known of it."""

    path: Path
    shown: tuple[float, ...]  # seconds since the first frame at which each frame appears
    duration: float  # until the last frame ends
    clock_begins: float = 0.0  # what the clock in the first frame says

    @property
    def ends(self) -> tuple[float, ...]:
        return (*self.shown[1:], self.duration)


def clock_error(batch: FrameBatch, made: ClockVideo) -> float:
    """The largest difference in seconds between what frames show and what their `pts_seconds` say."""
    return max(
        abs(read_clock(rgb) - made.clock_begins - pts)
        for rgb, pts in zip(batch.pixels, batch.pts_seconds.tolist(), strict=True)
    )


def read_clock(rgb: np.ndarray) -> float:
    """Seconds that a frame, whole or cropped and shrunk, shows; ValueError where it shows none."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    grey = rgb[top : top + side, left : left + side].astype(float).mean(axis=2)
    cell = side / CELLS
    word = 0
    for bit in range(BITS):
        row, column = divmod(bit, CELLS)
        inner = grey[
            int((row + 0.25) * cell) : int((row + 0.75) * cell) + 1,
            int((column + 0.25) * cell) : int((column + 0.75) * cell) + 1,
        ]
        word |= int(inner.mean() > (DARK + BRIGHT) / 2) << bit
    milliseconds = word & (1 << NUM_CLOCK_BITS) - 1
    found = word >> NUM_CLOCK_BITS & (1 << NUM_CHECK_BITS) - 1
    if found != checksum(milliseconds) or not word >> BITS - 1:
        raise ValueError("no clock in this frame")
    return milliseconds / 1000


def even_ticks(num_frames: int, first: int = 0, step: int = 1) -> list[int]:
    return [first + step * index for index in range(num_frames)]


def write_clock_video(
    path: Path,
    ticks: Sequence[int],
    tick: Fraction,
    *,
    size: tuple[int, int] = (160, 120),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int | None = None,
    last_ticks: int | None = None,
    key_every: int = 12,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    container_format: str | None = None,
    rotation: int = 0,
    audio_seconds: float = 0.0,
) -> ClockVideo:
    """Write one frame per entry of `ticks` (presentation times in units of `tick` seconds, ascending).

    The last frame stays for `last_ticks`, or as long as the one before it. `size` is that of the coded frame;
    with `rotation`, degrees counter-clockwise, frames lie on their side in the file and are shown upright.
    """
    steps = [b - a for a, b in pairwise(ticks)]
    steps.append(last_ticks if last_ticks is not None else (steps[-1] if steps else round(1 / tick / 25)))
    rate = rate or Fraction(1) / (tick * min(steps))
    with av.open(str(path), "w", format=container_format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options={**FAST.get(codec, {}), **(options or {})})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = tick
        stream.codec_context.gop_size = key_every
        stream.codec_context.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=16000, layout="mono") if audio_seconds else None
        lasting = dict(zip(ticks, steps, strict=True))
        for at in ticks:
            upright = size if rotation % 180 == 0 else size[::-1]
            picture = np.rot90(clock_frame(round(1000 * (at - ticks[0]) * tick), *upright), -rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame.pts, frame.time_base, frame.duration = at, tick, lasting[at]
            for packet in stream.encode(frame):
                container.mux(_lasting(packet, lasting, tick))
        for packet in stream.encode(None):
            container.mux(_lasting(packet, lasting, tick))
        if sound is not None:
            write_silence(container, sound, audio_seconds)
    shown = tuple(float((at - ticks[0]) * tick) for at in ticks)
    return ClockVideo(path, shown, shown[-1] + float(steps[-1] * tick))


def _lasting(packet: av.Packet, lasting: dict[int, int], tick: Fraction) -> av.Packet:
    if packet.pts is not None and packet.time_base == tick and packet.pts in lasting:
        packet.duration = lasting[packet.pts]
    return packet


def write_silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for start in range(0, round(16000 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def constant_rate(path: Path, fps: Fraction | int = 25, num_frames: int = 50, **kwargs) -> ClockVideo:
    return write_clock_video(path, even_ticks(num_frames), 1 / Fraction(fps), **kwargs)


def variable_rate(path: Path, num_frames: int = 60, seed: int = 0, **kwargs) -> ClockVideo:
    """Steps of 20 to 300 ms, in no order."""
    steps = np.random.default_rng(seed).choice([20, 40, 40, 60, 120, 300], size=num_frames - 1)
    ticks = [0, *np.cumsum(steps).tolist()]
    return write_clock_video(path, ticks, Fraction(1, 1000), rate=25, last_ticks=80, **kwargs)


def b_frames(path: Path, fps: Fraction | int = 25, num_frames: int = 50, **kwargs) -> ClockVideo:
    """Frames stored in another order than shown; in mp4 this makes the muxer write an edit list."""
    return constant_rate(path, fps, num_frames, options=B_FRAMES, **kwargs)


def late_start(path: Path, fps: int = 25, num_frames: int = 50, first: int = 75, **kwargs) -> ClockVideo:
    """The first frame's pts is not 0."""
    return write_clock_video(path, even_ticks(num_frames, first), Fraction(1, fps), **kwargs)


def trimmed_by_edit_list(path: Path, cut_frames: int = 20, fps: int = 25, num_frames: int = 60) -> ClockVideo:
    """An mp4 whose edit list begins in the middle of a group of pictures: earlier frames are never shown."""
    made = b_frames(path, fps, num_frames)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")
    version, entries = data[at + 4], struct.unpack_from(">I", data, at + 8)[0]
    assert version == 0
    assert entries == 1
    movie_tick = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    media_tick = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    length, media_time = struct.unpack_from(">Ii", data, at + 12)
    cut = cut_frames / fps
    struct.pack_into(
        ">Ii", data, at + 12, length - round(cut * movie_tick), media_time + round(cut * media_tick)
    )
    (whole,) = struct.unpack_from(">I", data, data.index(b"mvhd") + 20)
    struct.pack_into(">I", data, data.index(b"mvhd") + 20, whole - round(cut * movie_tick))
    path.write_bytes(data)
    return ClockVideo(path, tuple(at - cut for at in made.shown[cut_frames:]), made.duration - cut, cut)


def wrong_header_duration(path: Path, factor: float = 3.0, **kwargs) -> ClockVideo:
    """An mkv whose header says `factor` times what its frames last."""
    made = constant_rate(path, **kwargs)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3
    (milliseconds,) = struct.unpack_from(">d", data, at)
    struct.pack_into(">d", data, at, milliseconds * factor)
    path.write_bytes(data)
    return made


def cut_off(path: Path, share: float = 0.6) -> Path:
    """Keep the first part of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def only_audio(path: Path, seconds: float = 1.0) -> Path:
    with av.open(str(path), "w") as container:
        write_silence(container, container.add_stream("aac", rate=16000, layout="mono"), seconds)
    return path


def no_frames(path: Path) -> Path:
    """A well-formed mp4 with a video track and not one frame in it."""
    with av.open(str(path), "w", options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25, options=FAST["libx264"])
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    return path
