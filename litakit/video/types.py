"""What a video is and what comes out of one: VideoInfo, FrameBatch, VideoError."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["video", "frames", "image"]
Sampling = Literal["auto", "index", "time"]
Backend = Literal["auto", "pyav", "decord"]
Pixels = npt.NDArray[np.uint8]
Seconds = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class VideoError(ValueError):
    """A video that cannot be read; the message names the file and the reason.

    Attributes:
        path: the file or folder, as the caller named it.
        reason: what is wrong with it, and what to do where that is known.

    >>> str(VideoError("talk.mp4", "no such file"))
    'talk.mp4: no such file'
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str]]:
        return type(self), (self.path, self.reason)


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a video file, a folder of frames or a still image; times are in seconds.

    Attributes:
        path: as the caller named it.
        kind: "video", "frames" (a folder of images) or "image".
        duration: last pts + that frame's duration - first pts; None for a still image.
        num_frames: frames that a decoder shows; frames that an edit list cuts away are not among them.
        average_fps: frames a second, by the container where it says so, else `num_frames / duration`; 0.0 for
            a still image.
        width, height: of a shown frame in pixels, after rotation.
        rotation: degrees counter-clockwise that the metadata asks for and that has been applied.
        is_mirrored: the metadata asks for a mirror image too, and it has been applied.
        codec: the decoder's name for the format, such as "h264"; the image format for images.
        is_variable_rate: some frame is half a frame or more away from where a constant rate would put it.
        first_pts_seconds: the container's time of the first frame; everywhere else this moment is 0.
        has_edit_list: the container says which stretch of its frames is to be shown (mp4, mov).
        container_duration: what the container's header says; None where it says nothing.
        warnings: what is odd about the file, in words.
    """

    path: str
    kind: Kind
    duration: float | None
    num_frames: int
    average_fps: float
    width: int
    height: int
    rotation: int = 0
    is_mirrored: bool = False
    codec: str = ""
    is_variable_rate: bool = False
    first_pts_seconds: float = 0.0
    has_edit_list: bool = False
    container_duration: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Frames of a video with the times at which they are shown.

    Attributes:
        pixels: (T, H, W, 3) uint8 RGB, shrunk by the transform where one was given.
        pts_seconds: (T,) float64, when each frame appears, in seconds since the video's first frame, for a
            part of a video too; zeros for a still image.
        frame_indices: (T,) int64, which frames these are, counted from the video's first; they ascend, and
            repeat where the video has fewer frames than were asked for.
        info: facts about the whole file.
        backend: what decoded: "pyav", "decord" or, for images, "pillow".
        sampling: the rule that chose the frames: "index" or "time".
        duration: seconds of the part asked for, which is what a model is told; None for a still image.
        start: seconds in the video at which the part begins.
        notes: what went wrong without stopping the reading, in words.
    """

    pixels: Pixels
    pts_seconds: Seconds
    frame_indices: Indices
    info: VideoInfo
    backend: str
    sampling: str
    duration: float | None
    start: float = 0.0
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Show shapes and times, not pixels."""
        shape = "x".join(map(str, self.pixels.shape))
        first, last = float(self.pts_seconds[0]), float(self.pts_seconds[-1])
        return (
            f"FrameBatch({self.info.path!r}, pixels {shape} uint8, {first:.3f}-{last:.3f} s, "
            f"by {self.sampling}, {self.backend})"
        )
