"""Video: files, folders of frames and images in, frames with their times out.

Nothing here loads torch. Decoding runs in one persistent process of its own.
"""

from litakit.video._decode import decode_frames, frame_boundaries, probe
from litakit.video._decoders import codec_support, decoder_versions
from litakit.video._extract import FrameFolder, extract_frames
from litakit.video.sampling import (
    Choice,
    choose_frames,
    has_constant_rate,
    sample_indices,
    sample_timestamps,
)
from litakit.video.transform import FrameTransform
from litakit.video.types import FrameBatch, VideoError, VideoInfo

__all__ = [
    "Choice",
    "FrameBatch",
    "FrameFolder",
    "FrameTransform",
    "VideoError",
    "VideoInfo",
    "choose_frames",
    "codec_support",
    "decode_frames",
    "decoder_versions",
    "extract_frames",
    "frame_boundaries",
    "has_constant_rate",
    "probe",
    "sample_indices",
    "sample_timestamps",
]
