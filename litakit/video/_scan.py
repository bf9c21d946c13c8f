"""Find out when each frame of a file is shown: from its packets, or by decoding where packets do not tell.

Reading packets costs a hundredth of decoding them. They tell the truth where each one gives one frame; where
that is in doubt (a codec with hidden frames, times missing or doubled, a file cut off) the decoder is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from litakit.video._boxes import has_edit_list, lacks_index
from litakit.video._errors import DecoderError, Ping, words_of
from litakit.video._keys import h264_start, nal_length_bytes
from litakit.video._orientation import Orientation, orientation_of
from litakit.video._table import FrameTable, PacketTable, boundaries_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

THREADS = 2
PING_PACKETS = 2000
# Where one packet is one shown frame; others (VP8's hidden frames, AVI's packed B-frames) are decoded to see.
PLAIN_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d", "mpeg4", "gif", "mjpeg", "png", "ffv1"})
# Where a file's index or its layout makes a jump land at the frame asked for.
INDEXED_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})


@dataclass(frozen=True)
class Packets:
    """What demuxing a stream gives, packet by packet in file order; a key is where decoding may begin."""

    pts: list[int | None]
    durations: list[int]
    keys: list[bool]
    discards: list[bool]
    keys_start_afresh: bool
    is_damaged: bool
    error: str


def open_video(path: str, num_threads: int = THREADS) -> tuple[InputContainer, VideoStream]:
    """Open a file and set its decoder up.

    Args:
        path: video file.
        num_threads: of the decoder.

    Raises:
        DecoderError: no video in it, or not a video.
    """
    try:
        container = av.open(path)
    except (av.FFmpegError, OSError, ValueError) as error:
        words = words_of(error)
        if lacks_index(path):
            words += "; its index is missing, as in an mp4 that was cut off"
        raise DecoderError(f"not a readable video ({words})") from error
    if not container.streams.video:
        kinds = sorted({stream.type for stream in container.streams})
        container.close()
        raise DecoderError(f"no video in it, only {' and '.join(kinds) or 'an empty container'}")
    stream = best_stream(container)
    if cast("VideoCodecContext | None", stream.codec_context) is None:
        container.close()
        raise DecoderError("its video is in a format that this build of PyAV has no decoder for")
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = num_threads
    return container, stream


def best_stream(container: InputContainer) -> VideoStream:
    """Return the video, not the cover picture that some files carry as a second video stream."""
    best = container.streams.best("video")
    return cast("VideoStream", best) if best is not None else container.streams.video[0]


def scan(path: str, ping: Ping, *, decode: bool = False) -> FrameTable:
    """Return when each frame of a video file is shown.

    Args:
        path: video file.
        ping: called now and then, as a sign of life.
        decode: ask the decoder, whatever the packets say.

    Raises:
        DecoderError: not a video, or not one frame can be read.
    """
    container, stream = open_video(path)
    with container:
        facts = _facts(path, container, stream)
        packets = _read_packets(container, stream, ping)
    if not packets.pts:
        raise DecoderError(f"not one video frame in it{packets.error and f' ({packets.error})'}")
    doubt = _doubt(packets, facts)
    if doubt or decode:
        return _scan_by_decoding(path, facts, packets, ping, doubt)
    table = _from_packets(packets, facts)
    frame = first_frame(path)
    if frame is None or frame.pts != int(table.packets.pts[0] if table.packets else 0):
        return _scan_by_decoding(path, facts, packets, ping, "")
    return oriented(table, orientation_of(frame), frame.width, frame.height)


def first_frame(path: str) -> VideoFrame | None:
    """Decode the first frame that the decoder shows; None where it shows none."""
    container, stream = open_video(path)
    stream.thread_type = "SLICE"
    with container:
        try:
            return next(container.decode(stream), None)
        except (av.FFmpegError, OSError):
            return None


def oriented(table: FrameTable, orientation: Orientation, width: int, height: int) -> FrameTable:
    """Write size and orientation of the shown frames into a table."""
    if orientation.turns_sideways:
        width, height = height, width
    return replace(
        table,
        width=width,
        height=height,
        rotation=orientation.rotation,
        is_mirrored=orientation.is_mirrored,
    )


@dataclass(frozen=True)
class _Facts:
    tick: float
    average_fps: float
    codec: str
    format_name: str
    container_duration: float | None
    promised_frames: int
    has_edit_list: bool

    def ends_at(self, seconds: float) -> bool:
        """Say whether the header's duration is this one, give or take a frame."""
        frame = 1 / self.average_fps if self.average_fps > 0 else 0.04
        return self.container_duration is not None and abs(self.container_duration - seconds) <= frame


def _facts(path: str, container: InputContainer, stream: VideoStream) -> _Facts:
    rate = stream.average_rate
    duration = None
    if stream.duration is not None and stream.time_base is not None:
        duration = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        duration = container.duration / av.time_base
    return _Facts(
        tick=float(stream.time_base or 1 / av.time_base),
        average_fps=float(rate) if rate else 0.0,
        codec=stream.codec_context.name,
        format_name=container.format.name,
        container_duration=duration,
        promised_frames=stream.frames,
        has_edit_list=has_edit_list(path),
    )


def _read_packets(container: InputContainer, stream: VideoStream, ping: Ping) -> Packets:
    pts: list[int | None] = []
    durations: list[int] = []
    keys: list[bool] = []
    discards: list[bool] = []
    damaged, reason, afresh = False, "", True
    is_h264 = stream.codec_context.name == "h264"
    length_bytes = nal_length_bytes(stream.codec_context.extradata)
    try:
        source = container.demux(stream)
        while (packet := next_packet(source)) is not None:
            if packet.size == 0 and packet.dts is None:
                continue
            pts.append(packet.pts)
            durations.append(packet.duration or 0)
            start = (
                h264_start(memoryview(packet), length_bytes) if is_h264 and packet.is_keyframe else "afresh"
            )
            keys.append(packet.is_keyframe and start != "no")
            afresh &= start == "afresh"
            discards.append(packet.is_discard)
            damaged |= packet.is_corrupt
            if len(pts) % PING_PACKETS == 0:
                ping()
    except (av.FFmpegError, OSError) as error:
        damaged, reason = True, words_of(error)
    return Packets(pts, durations, keys, discards, afresh, damaged, reason)


def next_packet(source: Iterator[Packet[VideoStream]]) -> Packet[VideoStream] | None:
    """Return the next packet; None at the end.

    At the end of a file in which a stream has appeared on the way, PyAV stumbles over its list of streams
    (IndexError, and only sometimes).
    """
    try:
        return next(source, None)
    except IndexError:
        return None


def _doubt(packets: Packets, facts: _Facts) -> str:
    """Say why the packets cannot be trusted to be the frames; empty where they can."""
    if facts.codec not in PLAIN_CODECS or (facts.format_name == "avi" and facts.codec == "mpeg4"):
        return f"{facts.codec} in {facts.format_name} may hide frames"
    if packets.is_damaged:
        return f"the file is damaged{packets.error and f' ({packets.error})'}"
    shown = [pts for pts, discard in zip(packets.pts, packets.discards, strict=True) if not discard]
    if None in packets.pts or len(set(packets.pts)) < len(packets.pts) or not shown:
        return "frames without times of their own"
    if facts.promised_frames > len(packets.pts):
        return f"{facts.promised_frames} frames are promised and {len(packets.pts)} are there"
    first_key = next((number for number, is_key in enumerate(packets.keys) if is_key), None)
    if first_key != 0:
        return "it does not begin with a key frame"
    key_pts = [
        pts for pts, is_key in zip(packets.pts, packets.keys, strict=True) if is_key and pts is not None
    ]
    if key_pts != sorted(key_pts) or min(pts for pts in packets.pts if pts is not None) < key_pts[0]:
        return "frames come before the first key frame"
    last = max(pts for pts in shown if pts is not None) * facts.tick
    if facts.container_duration is not None and not facts.promised_frames:
        begun = min(pts for pts in shown if pts is not None) * facts.tick
        if facts.container_duration > last - min(0.0, begun) + max(1.0, 0.02 * facts.container_duration):
            return f"{facts.container_duration:.2f} s are promised and frames end at {last:.2f} s"
    return ""


def _from_packets(packets: Packets, facts: _Facts) -> FrameTable:
    pts = np.asarray(packets.pts, dtype=np.int64)
    shown = np.flatnonzero(~np.asarray(packets.discards))
    order = shown[np.argsort(pts[shown], kind="stable")]
    keys = np.flatnonzero(packets.keys)
    key_of = keys[np.searchsorted(keys, np.arange(len(pts)), side="right") - 1]
    is_led = bool(np.any(pts < pts[key_of]))  # frames behind a key frame in the file and before it on screen
    is_indexed = not INDEXED_FORMATS.isdisjoint(facts.format_name.split(","))
    table = PacketTable(
        pts=pts[order],
        packet_of=order,
        number_of={int(tick): number for number, tick in enumerate(pts)},
        keys=keys,
        key_pts=pts[keys],
        jumps_are_plain=is_indexed and packets.keys_start_afresh and not is_led,
    )
    times = pts[order] * facts.tick
    return _table(times, packets.durations[int(order[-1])] * facts.tick, facts, (), table)


def _scan_by_decoding(path: str, facts: _Facts, packets: Packets, ping: Ping, doubt: str) -> FrameTable:
    container, stream = open_video(path)
    ticks: list[int | None] = []
    last_duration, num_bad, corrupt = 0, 0, 0
    first: VideoFrame | None = None
    with container:
        for frame, bad in decode_all(container, stream):
            num_bad += bad
            if frame is None:
                continue
            if first is None:
                first = frame
            ticks.append(frame.pts)
            corrupt += frame.is_corrupt
            last_duration = frame.duration or 0
            if len(ticks) % 50 == 0:
                ping()
    if first is None:
        raise DecoderError(
            f"not one of its {len(packets.pts)} video packets can be decoded{doubt and f' ({doubt})'}"
        )
    times = _times(ticks, facts, last_duration)
    if facts.has_edit_list and facts.ends_at(float(times[-1] - times[0]) + last_duration * facts.tick):
        # An edit list shows a part of the frames that the header counts, and here is its end.
        facts = replace(facts, promised_frames=0)
    warnings = _damage(num_bad, corrupt, packets, facts, len(ticks))
    table = _table(times, last_duration * facts.tick, facts, warnings, None)
    return oriented(table, orientation_of(first), first.width, first.height)


def decode_all(container: InputContainer, stream: VideoStream) -> Iterator[tuple[VideoFrame | None, int]]:
    """Yield (frame, 0) for each frame shown and (None, 1) for each packet that cannot be decoded."""
    decoder = stream.codec_context
    packets = container.demux(stream)
    while True:
        try:
            packet = next_packet(packets)
        except (av.FFmpegError, OSError):
            packet = None
        try:
            frames = decoder.decode(packet if packet is not None and packet.size else None)
        except av.EOFError:
            return
        except (av.FFmpegError, OSError, ValueError):
            yield None, 1
            if packet is None or not packet.size:
                return
            continue
        for frame in frames:
            yield frame, 0
        if packet is None or not packet.size:
            return


def _times(ticks: list[int | None], facts: _Facts, last_duration: int) -> np.ndarray:
    """Seconds of decoded frames; where the decoder gives no or unordered times, an even grid."""
    known = [tick for tick in ticks if tick is not None]
    if len(known) == len(ticks) and all(a < b for a, b in pairwise(known)):
        return np.asarray(known, dtype=np.int64) * facts.tick
    step = 1 / facts.average_fps if facts.average_fps > 0 else (last_duration * facts.tick or 1 / 25)
    return (known[0] * facts.tick if known else 0.0) + np.arange(len(ticks)) * step


def _damage(num_bad: int, corrupt: int, packets: Packets, facts: _Facts, num_frames: int) -> tuple[str, ...]:
    warnings = []
    promised = facts.promised_frames
    if packets.is_damaged:
        warnings.append(f"the file is cut off or damaged; {num_frames} frames can be read")
    elif promised > num_frames:
        warnings.append(f"the file is cut off or damaged: {num_frames} of {promised} frames can be read")
    if num_bad:
        warnings.append(f"{num_bad} of {len(packets.pts)} packets cannot be decoded")
    if corrupt:
        warnings.append(f"{corrupt} frames are shown damaged")
    return tuple(warnings)


def _table(
    times: np.ndarray,
    last_duration: float,
    facts: _Facts,
    warnings: tuple[str, ...],
    packets: PacketTable | None,
) -> FrameTable:
    boundaries = boundaries_of(times, last_duration)
    total = float(boundaries[-1])
    notes = list(warnings)
    promised = facts.container_duration
    ends = (total, total + float(times[0]))  # some containers count from 0, not from the first frame
    if promised is not None and not any(
        math.isclose(promised, end, rel_tol=0.02, abs_tol=0.5) for end in ends
    ):
        cut = "; the file may be cut off" if promised > ends[1] else ""
        notes.append(f"the container says {promised:.2f} s, its frames last {total:.2f} s{cut}")
    return FrameTable(
        boundaries=boundaries,
        average_fps=facts.average_fps or len(times) / total,
        first_pts_seconds=float(times[0]),
        codec=facts.codec,
        has_edit_list=facts.has_edit_list,
        container_duration=promised,
        format_name=facts.format_name,
        warnings=tuple(notes),
        packets=packets,
    )
