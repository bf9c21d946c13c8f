"""FrameTable: when each frame of a video is shown, and where its data lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litakit.video.types import Indices, Seconds

# Of larger frames, one at a time: three copies of a 4K frame are 80 MB.
LARGE_PIXELS = 4_000_000


@dataclass(frozen=True, eq=False)
class PacketTable:
    """The packets of a video stream, for a decoder that jumps between key frames.

    Attributes:
        pts: (n,) presentation time of each shown frame in ticks, ascending.
        packet_of: (n,) number of the packet, in file order, that holds each shown frame.
        number_of: pts of a packet to its number.
        keys: (k,) numbers of the packets with key frames, ascending.
        key_pts: (k,) their times in ticks, ascending.
        jumps_are_plain: a jump to any key frame lands there, and a decoder shows every frame from there on.
    """

    pts: Indices
    packet_of: Indices
    number_of: dict[int, int]
    keys: Indices
    key_pts: Indices
    jumps_are_plain: bool


@dataclass(frozen=True, eq=False)
class FrameTable:
    """What a look through the whole file has found out, without any pixels.

    Attributes:
        boundaries: (n + 1,) seconds since the first frame: frame i is on screen from `boundaries[i]` to
            `boundaries[i + 1]`.
        average_fps: by the container, else by the times.
        first_pts_seconds: the container's time of the first frame.
        width, height: of a shown frame, after rotation.
        rotation: degrees counter-clockwise.
        is_mirrored: whether a mirror image is asked for.
        codec: name of the format.
        has_edit_list: whether the container holds one.
        container_duration: what the header says, in seconds.
        format_name: the container's, as FFmpeg calls it.
        warnings: what is odd, in words.
        packets: where the frames lie; None where only decoding from the start finds them.
    """

    boundaries: Seconds
    average_fps: float
    first_pts_seconds: float = 0.0
    width: int = 0
    height: int = 0
    rotation: int = 0
    is_mirrored: bool = False
    codec: str = ""
    has_edit_list: bool = False
    container_duration: float | None = None
    format_name: str = ""
    warnings: tuple[str, ...] = ()
    packets: PacketTable | None = None

    @property
    def num_frames(self) -> int:
        """Frames that are shown."""
        return len(self.boundaries) - 1

    @property
    def is_large(self) -> bool:
        """Whether only few frames may be in memory at once."""
        return self.width * self.height > LARGE_PIXELS


def boundaries_of(pts_seconds: Seconds, last_duration: float) -> Seconds:
    """Put the end of the last frame after the times at which frames appear, the first at 0.

    A last frame without a duration of its own stays as long as frames usually do; a lone one, 1/25 s.

    >>> boundaries_of(np.array([1.0, 1.5, 2.0]), 0.0).tolist()
    [0.0, 0.5, 1.0, 1.5]
    """
    if last_duration <= 0:
        steps = np.diff(pts_seconds)
        last_duration = float(np.median(steps)) if len(steps) else 1 / 25
    return np.append(pts_seconds, pts_seconds[-1] + last_duration) - pts_seconds[0]
