"""Stage 3: the vision tower is frozen, and every scene is encoded once."""

from __future__ import annotations

import io
import logging
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from litakit.files import write_atomic
from litakit.modeling import LitaForConditionalGeneration
from litakit.training.tiny.rendering import normalize, render_video

logger = logging.getLogger(__name__)

SHARD = 50


def encode_scenes(
    model: LitaForConditionalGeneration, seeds: range, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Visual features of scenes, from disk where they are there already.

    Args:
        model: its vision tower encodes; nothing else of it is used.
        seeds: scenes, a multiple of `SHARD` of them.
        folder: keeps a file for every `SHARD` scenes.

    Returns:
        Features of the videos and of the stills of their image questions, float16, both (scenes, N, width).
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = model.config.vision_config.image_size
    shards = [seeds[start : start + SHARD] for start in range(0, len(seeds), SHARD)]
    missing = [shard for shard in shards if not _file(folder, shard).exists()]
    with ProcessPoolExecutor(1) as pool:
        rendered = pool.map(partial(render_video, size=size), [seed for shard in missing for seed in shard])
        for number, shard in enumerate(missing):
            pairs = [_encode(model, next(rendered)) for _ in shard]
            buffer = io.BytesIO()
            np.savez(buffer, videos=np.stack([a for a, _ in pairs]), stills=np.stack([b for _, b in pairs]))
            write_atomic(_file(folder, shard), buffer.getvalue())
            logger.info("features: %d of %d shards", number + 1, len(missing))
    loaded = [np.load(_file(folder, shard)) for shard in shards]
    return np.concatenate([f["videos"] for f in loaded]), np.concatenate([f["stills"] for f in loaded])


@torch.no_grad()
def _encode(model: LitaForConditionalGeneration, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = torch.from_numpy(normalize(frames))
    still = pixels[-1:].expand(len(pixels) - 1, -1, -1, -1)
    video = model.get_video_features(pixels[None, :-1], chunk_frames=50)[0]
    # all frames of a still are the same one: encode the slow frames' number of them, and repeat
    alone = model.get_video_features(still[None, :4], chunk_frames=4)[0]
    fast = alone[:1].expand(len(video) - (len(alone) - 4), -1)
    return video.half().numpy(), torch.cat([fast, alone[4:]]).half().numpy()


def _file(folder: Path, shard: range) -> Path:
    return folder / f"{shard.start:06d}-{shard.stop - 1:06d}.npz"
