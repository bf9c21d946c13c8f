"""Jumps in a file: from the last key frame before a wanted frame, decoding only what it refers to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import av
import numpy as np

from litakit.video._errors import PacketsMisledError, Ping
from litakit.video._scan import next_packet
from litakit.video._table import PacketTable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from litakit.video.types import Indices

# Where "not a reference" is a property of the frame itself, so that leaving it out changes no other frame.
# (In HEVC and AV1 it holds within a layer only.)
SKIPPABLE = frozenset({"h264", "mpeg4", "mpeg2video", "mpeg1video"})

Run = tuple[int, list[int]]
"""The number of the key packet where decoding begins, and the wanted frames reached from it, ascending."""


def runs_of(packets: PacketTable, wanted: Indices) -> list[Run]:
    """Group wanted frames by the key packet from which they are reached, as far as a jump saves work.

    Args:
        packets: of the file.
        wanted: ascending indices without repeats.
    """
    runs: list[Run] = []
    starts = packets.keys[np.searchsorted(packets.key_pts, packets.pts[wanted], side="right") - 1]
    reached = -1
    for index, key in zip(wanted.tolist(), starts.tolist(), strict=True):
        if runs and key <= reached:  # on the way already: no jump forward to be had
            runs[-1][1].append(index)
        else:
            runs.append((key, [index]))
        reached = max(reached, int(packets.packet_of[index]))
    return runs


class Jumper:
    """Decodes runs of packets, each from a key frame to the last wanted frame that needs it."""

    def __init__(
        self, container: InputContainer, stream: VideoStream, packets: PacketTable, ping: Ping
    ) -> None:
        self.container = container
        self.stream = stream
        self.decoder = stream.codec_context
        self.packets = packets
        self.ping = ping
        self.can_skip = self.decoder.name in SKIPPABLE
        self.source: Iterator[Packet[VideoStream]] = container.demux(stream)
        self.position = -1  # number of the last packet read

    def run(self, run: Run) -> Iterator[tuple[int, VideoFrame]]:
        """Yield (index, decoded frame) for each frame of one run, in order.

        Raises:
            PacketsMisledError: the decoder does not show what the packets promise.
        """
        key, indices = run
        packets = self.packets
        targets = {int(packets.pts[index]): index for index in indices}
        needed = {int(packets.packet_of[index]) for index in indices}
        last = max(needed)
        expected = iter(indices)
        for packet, number in self._packets_from(key):
            if self.can_skip:
                self.decoder.skip_frame = "DEFAULT" if number in needed or number == key else "NONREF"
            for frame in self._decode(packet):
                if frame.pts in targets:
                    yield self._checked(targets[frame.pts], next(expected, None)), frame
            if number >= last:
                break
        for frame in self._decode(None):
            if frame.pts in targets:
                yield self._checked(targets[frame.pts], next(expected, None)), frame
        if next(expected, None) is not None:
            raise PacketsMisledError("a frame that the packets promise is not shown")
        self.decoder.flush_buffers()
        self.ping()

    def _packets_from(self, key: int) -> Iterator[tuple[Packet[VideoStream], int]]:
        """Yield packets from number `key` on."""
        entry = self._next() if key == self.position + 1 else self._seek(key)
        while True:
            packet, number = entry
            self.position = number
            if number >= key:
                yield packet, number
                if number % 500 == 0:
                    self.ping()
            entry = self._next()

    def _next(self) -> tuple[Packet[VideoStream], int]:
        packet = self._read()
        number = self._number_of(packet)
        if packet is None or number is None:
            raise PacketsMisledError("packets differ from those of the first look")
        return packet, number

    def _seek(self, key: int) -> tuple[Packet[VideoStream], int]:
        """Jump to a packet at or before number `key`, and return it.

        Transport streams have no index and land a little late: then an earlier key frame is the aim.
        """
        place = int(np.searchsorted(self.packets.keys, key))
        for aim in sorted({place, max(0, place - 1), max(0, place - 4), 0}, reverse=True):
            try:
                self.container.seek(int(self.packets.key_pts[aim]), stream=self.stream, backward=True)
            except (av.FFmpegError, OSError) as error:
                raise PacketsMisledError("the file cannot be jumped in") from error
            self.source = self.container.demux(self.stream)
            packet = self._read()
            while packet is not None and self._number_of(packet) is None:  # the rest of a torn one
                packet = self._read()
            number = self._number_of(packet)
            if packet is not None and number is not None and number <= key:
                return packet, number
        raise PacketsMisledError("a jump went too far")

    def _read(self) -> Packet[VideoStream] | None:
        try:
            return next_packet(self.source)
        except (av.FFmpegError, OSError) as error:
            raise PacketsMisledError("a packet cannot be read a second time") from error

    def _number_of(self, packet: Packet[VideoStream] | None) -> int | None:
        if packet is None or packet.pts is None:
            return None
        return self.packets.number_of.get(packet.pts)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        try:
            frames = self.decoder.decode(packet)
            if any(frame.is_corrupt for frame in frames):
                raise PacketsMisledError("a frame is damaged")
            return frames
        except av.EOFError:
            return []
        except (av.FFmpegError, ValueError) as error:
            raise PacketsMisledError("a packet cannot be decoded") from error

    @staticmethod
    def _checked(index: int, expected: int | None) -> int:
        if index != expected:
            raise PacketsMisledError(f"frame {expected} was to come, and {index} came")
        return index
