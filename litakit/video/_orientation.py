"""How a frame is to be turned before it is shown: the display matrix of phones' videos."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from av.sidedata.sidedata import SideData, SideDataContainer
    from av.video.frame import VideoFrame

    from litakit.video.types import Pixels

MATRIX_BYTES = 36


@dataclass(frozen=True)
class Orientation:
    """Mirror left and right where asked, then turn counter-clockwise.

    Attributes:
        rotation: 0, 90, 180 or 270 degrees counter-clockwise.
        is_mirrored: left and right are exchanged before turning.
    """

    rotation: int = 0
    is_mirrored: bool = False

    @property
    def turns_sideways(self) -> bool:
        """Whether width and height change places."""
        return self.rotation in (90, 270)

    def apply(self, rgb: Pixels) -> Pixels:
        """Turn one (H, W, 3) frame.

        >>> Orientation(rotation=90).apply(np.arange(6, dtype=np.uint8).reshape(1, 2, 3)).shape
        (2, 1, 3)
        """
        turned = rgb[:, ::-1] if self.is_mirrored else rgb
        if self.rotation:
            turned = np.rot90(turned, self.rotation // 90)
        return np.ascontiguousarray(turned)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Read a decoded frame's display matrix; without one the frame is shown as it is."""
    matrix = cast("SideDataContainer", frame.side_data).get("DISPLAYMATRIX")
    return Orientation() if matrix is None else parse_matrix(bytes(cast("SideData", matrix)))


def parse_matrix(matrix: bytes) -> Orientation:
    """Read a display matrix: nine 32-bit numbers in native order, of which a, b, c, d turn and mirror.

    A pixel (x, y) is shown at (a x + c y, b x + d y), y downwards.

    >>> parse_matrix(struct.pack("=9i", 0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30))
    Orientation(rotation=90, is_mirrored=False)
    >>> parse_matrix(struct.pack("=9i", -65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30))
    Orientation(rotation=0, is_mirrored=True)
    """
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:MATRIX_BYTES])
    mirrored = a * d - b * c < 0
    if mirrored:  # the mirror comes first and turns the sign of x
        a, b = -a, -b
    degrees = np.degrees(np.arctan2(-b, a))
    return Orientation(int(round(float(degrees) / 90) * 90) % 360, mirrored)
