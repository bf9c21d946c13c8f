"""The benchmark's own videos: h264 with B-frames, in three kinds of content."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

FPS = 25
# Left to choose, x264 puts few B-frames into noise, where every frame looks like a new scene.
X264_PARAMS = "bframes=3:b-adapt=0:scenecut=0"
Draw = Callable[[int], np.ndarray]


def test_pattern(width: int, height: int) -> Draw:
    """Colour bars over waves of colour that run, and squares that cross: hard edges, much of it in motion."""
    bars = np.array([(x >> 2 & 1, x >> 1 & 1, x & 1) for x in range(8)], dtype=np.uint8) * 220 + 16
    base = np.repeat(bars[np.arange(width) * 8 // width][None], height, axis=0)
    x, y = np.arange(width)[None], np.arange(height)[:, None]
    side, third = height // 8, height // 3

    def draw(number: int) -> np.ndarray:
        frame = base.copy()
        for channel, (across, down, speed) in enumerate(((1, 2, 5), (2, -1, 3), (-1, 1, 7))):
            frame[third:, :, channel] = (across * x + down * y[third:] + speed * number) & 255
        for square in range(12):
            left = (number * (square + 3) + 97 * square) % (width - side)
            top = (number * (square % 5 + 2) + 61 * square) % (height - side)
            frame[top : top + side, left : left + side] = bars[(square + number // 25) % 8]
        return frame

    return draw


def noise_like(width: int, height: int) -> Draw:
    """A blurred pattern under strong noise, new in every pixel and frame: what an encoder predicts least."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(64, 192, (36, 64, 3), dtype=np.uint8))
    pattern = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)

    def draw(number: int) -> np.ndarray:
        noise = rng.integers(-16, 17, (height, width, 1), dtype=np.int16)
        return np.clip(pattern + noise, 0, 255).astype(np.uint8)

    return draw


def camera_like(width: int, height: int) -> Draw:
    """A slow pan over a textured scene with things that move and a sensor's grain."""
    rng = np.random.default_rng(2)
    scene = np.zeros((height + 128, 2 * width, 3), dtype=np.float32)
    for cells in (4, 16, 64, 256):
        small = rng.integers(0, 256, (cells // 2 + 1, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(small).resize((2 * width, height + 128), Image.Resampling.BICUBIC)
        scene += np.asarray(layer, dtype=np.float32) / 4
    grain = rng.integers(0, 7, (8, height, width, 1), dtype=np.uint8)
    side = height // 4

    def draw(number: int) -> np.ndarray:
        left = int((width - 1) * (0.5 + 0.5 * np.sin(number / 300)))
        top = int(64 + 60 * np.sin(number / 90))
        frame = np.clip(scene[top : top + height, left : left + width], 0, 245).astype(np.uint8)
        x, y = int((width - side) * (number % 250) / 250), int((height - side) * (number % 410) / 410)
        frame[y : y + side, x : x + side] = scene[:side, :side].astype(np.uint8)
        return frame + grain[number % len(grain)]

    return draw


CONTENTS = {"test pattern": test_pattern, "noise-like": noise_like, "camera-like": camera_like}


def encode(
    path: Path, draw: Draw, width: int, height: int, seconds: float, keys_every: int, preset: str
) -> Path:
    """Write h264 with B-frames and a key frame every so many frames."""
    if path.exists():
        return path
    part = path.with_suffix(".part.mp4")
    with av.open(part, "w") as container:
        options = {"preset": preset, "crf": "23", "x264-params": X264_PARAMS}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = keys_every
        for number in range(round(seconds * FPS)):
            for packet in stream.encode(av.VideoFrame.from_ndarray(draw(number), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return part.rename(path)


def repeat(source: Path, path: Path, times: int) -> Path:
    """Write a video several times over into one file, packet by packet, without encoding it again."""
    if path.exists():
        return path
    part = path.with_suffix(".part.mp4")
    with av.open(part, "w") as output:
        stream = None
        offset = 0
        for _ in range(times):
            with av.open(source) as container:
                original = container.streams.video[0]
                stream = stream or output.add_stream_from_template(original)
                length = round(original.frames * Fraction(1, FPS) / original.time_base)
                for packet in container.demux(original):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = stream
                    output.mux(packet)
                offset += length
    return part.rename(path)
