"""Frames of scenes as the model will see them, without the detour over a video file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from litakit.data import synthetic
from litakit.training.tiny.recipe import CLIP_MEAN, CLIP_STD

RENDERED = 128
"""Pixels a side at which the central square is drawn before it is shrunk to the model's size."""


@dataclass(frozen=True)
class Wear:
    """What compression does to a whole video: blur (the side in px it is drawn at) and noise (in levels)."""

    side: int
    noise: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Wear:
        """A little of both, or neither."""
        return cls(int(rng.integers(96, RENDERED)) if rng.random() < 0.3 else RENDERED, rng.uniform(0.0, 4.0))


def shrink(frame: np.ndarray, size: int, wear: Wear, rng: np.random.Generator) -> np.ndarray:
    """A frame at the model's size, with a little of what compression does to a real one.

    Args:
        frame: uint8, (side, side, 3).
        size: the model's image size in pixels.
        wear: how much.
        rng: draws the noise.

    Returns:
        uint8, (size, size, 3).
    """
    image = Image.fromarray(frame)
    if wear.side < RENDERED:
        image = image.resize((wear.side, wear.side), Image.Resampling.BILINEAR)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)).astype(np.float32)
    pixels += rng.normal(0.0, wear.noise, pixels.shape)
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def sampled_seconds(scene: synthetic.Scene, num_frames: int) -> np.ndarray:
    """The seconds of the frames that the model is shown: evenly spread over the scene's own frames."""
    indices = np.round(np.linspace(0, scene.num_frames - 1, num_frames))
    return np.asarray(indices / scene.fps, dtype=float)


def render_video(seed: int, size: int, num_frames: int = 100) -> np.ndarray:
    """The sampled frames of a scene, and last the still of its image questions.

    Returns:
        uint8, (num_frames + 1, size, size, 3).
    """
    scene = synthetic.make_scene(seed)
    renderer = synthetic.Renderer(scene, (RENDERED, RENDERED), crop=True)
    rng = np.random.Generator(np.random.PCG64([seed, 2]))
    stills = [qa.seconds for qa in synthetic.questions(scene) if qa.seconds is not None]
    times = [*sampled_seconds(scene, num_frames), stills[0] if stills else 0.0]
    wear = Wear.draw(rng)
    return np.stack([shrink(renderer.frame(float(seconds)), size, wear, rng) for seconds in times])


def normalize(pixels: np.ndarray) -> np.ndarray:
    """Pixels as the vision tower takes them, float32, (frames, 3, size, size)."""
    mean, std = np.array(CLIP_MEAN, np.float32), np.array(CLIP_STD, np.float32)
    return ((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
