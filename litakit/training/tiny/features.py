"""Stage 3: the vision tower is frozen, and every scene is encoded once."""

from __future__ import annotations

import io
import logging
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from litakit.files import write_atomic
from litakit.modeling import LitaConfig, LitaForConditionalGeneration
from litakit.training.tiny.rendering import normalize, render_video

logger = logging.getLogger(__name__)

SHARD = 50


def encode_scenes(
    model: LitaForConditionalGeneration, seeds: range, folder: Path, workers: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Visual features of scenes, from disk where they are there already.

    Args:
        model: its vision tower encodes; nothing else of it is used.
        seeds: scenes, a multiple of `SHARD` of them.
        folder: keeps a file for every `SHARD` scenes.
        workers: processes, of one thread each.

    Returns:
        Features of the videos and of the stills of their image questions, float16, both (scenes, N, width).
    """
    assert isinstance(model.config, LitaConfig)
    folder.mkdir(parents=True, exist_ok=True)
    shards = [seeds[start : start + SHARD] for start in range(0, len(seeds), SHARD)]
    missing = [shard for shard in shards if not _file(folder, shard).exists()]
    if missing:
        context = get_context("spawn")  # a forked torch may wait for threads that it does not have
        with ProcessPoolExecutor(workers, context, _be_single_threaded) as pool:
            encode = partial(_encode_shard, model.config, model.state_dict(), folder=folder)
            made = pool.map(encode, missing)
            for number, _ in enumerate(made, 1):
                logger.info("features: %d of %d shards", number, len(missing))
    loaded = [np.load(_file(folder, shard)) for shard in shards]
    return np.concatenate([f["videos"] for f in loaded]), np.concatenate([f["stills"] for f in loaded])


def _be_single_threaded() -> None:
    torch.set_num_threads(1)


def _encode_shard(config: LitaConfig, state: dict[str, Tensor], shard: range, folder: Path) -> None:
    # built anew: a pickled model of transformers no longer gives hidden states
    model = LitaForConditionalGeneration(config).eval()
    model.load_state_dict(state)
    model.set_attn_implementation("eager")
    size = model.config.vision_config.image_size
    pairs = [_encode(model, render_video(seed, size)) for seed in shard]
    buffer = io.BytesIO()
    np.savez(buffer, videos=np.stack([a for a, _ in pairs]), stills=np.stack([b for _, b in pairs]))
    write_atomic(_file(folder, shard), buffer.getvalue())


@torch.no_grad()
def _encode(model: LitaForConditionalGeneration, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = torch.from_numpy(normalize(frames))
    still = pixels[-1:].expand(len(pixels) - 1, -1, -1, -1)
    with torch.autocast("cpu", torch.bfloat16):
        video = model.get_video_features(pixels[None, :-1], chunk_frames=50)[0].float()
        # all frames of a still are the same one: encode the slow frames' number of them, and repeat
        alone = model.get_video_features(still[None, :4], chunk_frames=4)[0].float()
    fast = alone[:1].expand(len(video) - (len(alone) - 4), -1)
    return video.half().numpy(), torch.cat([fast, alone[4:]]).half().numpy()


def _file(folder: Path, shard: range) -> Path:
    return folder / f"{shard.start:06d}-{shard.stop - 1:06d}.npz"
