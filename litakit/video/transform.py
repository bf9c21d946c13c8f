"""FrameTransform: a frame as the vision encoder wants it, exactly as published, with Pillow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from litakit.video.types import Pixels

# Half of normalising is the system's, which finds memory for 60 MB of results: threads share that too.
NUM_THREADS = 2


@dataclass(frozen=True)
class FrameTransform:
    """Shrink, crop and normalise frames; equal to the published image processor to the last bit.

    Attributes:
        size: side of the square result in pixels.
        mean: of the three channels, for values in [0, 1].
        std: of the three channels.
        resample: "bicubic" or "bilinear", by Pillow.
        aspect: "square" takes the centre of the frame, its short side brought to `size`; "pad" first makes
            the frame square with bars of the mean colour.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Literal["bicubic", "bilinear"] = "bicubic"
    aspect: Literal["square", "pad"] = "square"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {self.size}")
        if self.resample not in ("bicubic", "bilinear"):
            raise ValueError(f'resample must be "bicubic" or "bilinear", got {self.resample!r}')
        if self.aspect not in ("square", "pad"):
            raise ValueError(f'aspect must be "square" or "pad", got {self.aspect!r}')

    def apply(self, rgb: Pixels) -> Pixels:
        """Shrink and crop one frame.

        Args:
            rgb: (H, W, 3) uint8.

        Returns:
            (size, size, 3) uint8.

        >>> transform = FrameTransform(size=4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> transform.apply(np.full((8, 16, 3), 7, dtype=np.uint8)).shape
        (4, 4, 3)
        """
        image = Image.fromarray(rgb)
        if self.aspect == "pad":
            image = self._squared(image)
        width, height = image.size
        short, long = sorted((width, height))
        grown = int(self.size * long / short)
        shape = (self.size, grown) if width <= height else (grown, self.size)
        kind = Image.Resampling.BICUBIC if self.resample == "bicubic" else Image.Resampling.BILINEAR
        if shape != image.size:
            image = image.resize(shape, kind)
        left, top = (shape[0] - self.size) // 2, (shape[1] - self.size) // 2
        return np.asarray(image.crop((left, top, left + self.size, top + self.size)))

    def normalize(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """Turn (T, H, W, 3) uint8 into (T, 3, H, W) float32: `(value / 255 - mean) / std`.

        >>> transform = FrameTransform(size=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> transform.normalize(np.full((1, 1, 1, 3), 255, dtype=np.uint8)).ravel().tolist()
        [1.0, 1.0, 1.0]
        """
        T, H, W, _ = pixels.shape
        out = np.empty((T, 3, H, W), dtype=np.float32)

        def fill(number: int) -> None:  # one frame at a time: it stays in the cache
            for channel in range(3):
                levels = pixels[number, ..., channel]
                np.take(self._tables[channel], levels, out=out[number, channel], mode="clip")

        with ThreadPoolExecutor(NUM_THREADS) as pool:
            list(pool.map(fill, range(T)))
        return out

    @cached_property
    def _tables(self) -> npt.NDArray[np.float32]:
        """(3, 256): what each of the 256 levels becomes, in the published order of operations."""
        levels = (np.arange(256) * (1 / 255)).astype(np.float32)
        mean = np.asarray(self.mean, dtype=np.float32)[:, None]
        std = np.asarray(self.std, dtype=np.float32)[:, None]
        return ((levels - mean) / std).astype(np.float32)

    def _squared(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        side = max(width, height)
        red, green, blue = (int(value * 255) for value in self.mean)
        square = Image.new("RGB", (side, side), (red, green, blue))
        square.paste(image, ((side - width) // 2, (side - height) // 2))
        return square
