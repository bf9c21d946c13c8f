"""Stage 4: the lower half of the language model learns to see what happens, from fast tokens alone.

Without words a step sees three times the videos in a seventh of the time, and what happens in a video is most
of what there is to learn: without this stage 2,000 steps with words left localization at chance.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from litakit.data import synthetic
from litakit.modeling import LitaForConditionalGeneration
from litakit.training.tiny.events import EventHead, event_targets
from litakit.training.tiny.recipe import TinyRecipe
from litakit.training.tiny.state import load_state, log_metrics, save_state

POINTER_LOUDNESS = 0.2
SHARPENED = 4.0


def train_watching(
    model: LitaForConditionalGeneration,
    head: EventHead,
    recipe: TinyRecipe,
    seeds: range,
    videos: np.ndarray,
    folder: Path,
) -> None:
    """Train projector, lower layers and `head` in place, from the checkpoint in `folder` if there is one.

    Args:
        model: its language model has layers above those that are trained here.
        head: reads the events.
        recipe: the numbers.
        seeds: the scenes.
        videos: their features, float16, (scenes, N, width).
        folder: for the checkpoint and the log.
    """
    layers = model.language_model.model.layers[: half_of(model)]
    lower = nn.ModuleDict({"projector": model.projector, "layers": layers, "head": head})
    trained = list(lower.parameters())
    optimizer = torch.optim.AdamW(trained, lr=recipe.watching_lr, betas=(0.9, 0.95), weight_decay=0.05)
    state = folder / "watching.pt"
    first = load_state(state, lower, optimizer)
    if first >= recipe.watching_steps:
        return
    num_frames = model.config.num_frames
    scenes = [synthetic.make_scene(seed) for seed in seeds]
    # (forwards and backwards, scenes, num_frames, targets)
    targets = np.array(
        [[event_targets(s, num_frames, way).astype(bool) for s in scenes] for way in (False, True)]
    )
    started = time.monotonic()
    for step in range(first, recipe.watching_steps):
        for group in optimizer.param_groups:
            left = 1 - step / recipe.watching_steps
            group["lr"] = recipe.watching_lr * min((step + 1) / recipe.warmup_steps, 0.02 + 0.98 * left)
        rng = np.random.Generator(np.random.PCG64([recipe.seed, step, 5]))
        drawn = rng.integers(len(seeds), size=recipe.watched)
        backwards = rng.integers(2, size=recipe.watched)
        fast = np.stack(
            [v[::-1] if b else v for v, b in zip(videos[drawn, :num_frames], backwards, strict=True)]
        )
        with torch.autocast("cpu", torch.bfloat16):
            states = watch(model, torch.from_numpy(fast).float())
        loss = head.loss(states.float(), torch.from_numpy(targets[backwards, drawn]).float())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        last = step + 1 == recipe.watching_steps
        if step % 100 == 0 or last:
            seconds = (time.monotonic() - started) / (step + 1 - first)
            value = float(loss.detach())
            log_metrics(folder, stage="watching", step=step, event_loss=value, step_seconds=seconds)
        if (step + 1) % 500 == 0 or last:
            save_state(state, lower, optimizer, step + 1)


def half_of(model: LitaForConditionalGeneration) -> int:
    """How many of the language model's layers are the lower half."""
    return int(model.config.text_config.num_hidden_layers) // 2


def watch(model: LitaForConditionalGeneration, fast: Tensor) -> Tensor:
    """What the lower half of the language model makes of fast tokens alone.

    Args:
        model: the model.
        fast: features of fast tokens, (B, num_frames, width).

    Returns:
        Hidden states, (B, num_frames, D), of unit size.
    """
    with _lower_half(model):
        states: Tensor = model.language_model.model(
            inputs_embeds=model.projector(fast), use_cache=False
        ).last_hidden_state
    return states


def start_pointers(
    model: LitaForConditionalGeneration, head: EventHead, states: Tensor, distance: int, seed: int
) -> None:
    """Start two heads above the lower half by looking from what is asked for to where it is to be seen.

    `head` reads both alike, so queries and keys start from what it reads, less its mean: those of the first
    head from what has just begun, of the second from what has just ended. Only slowly turning dimensions are
    used, for the others know how far apart two places are. What they find they hand on as it is, in as many
    directions as they have. Without this, 500 steps taught the heads nothing.

    Args:
        model: one of its layers is set in place.
        head: reads events, trained.
        states: of fast tokens above the lower half, of unit size, (..., D).
        distance: how far back a fast token is, on average.
        seed: of the random projection of what is read into a head's dimensions.
    """
    attention = model.language_model.model.layers[half_of(model)].self_attn
    text = model.config.text_config
    width, size = text.hidden_size, text.hidden_size // text.num_attention_heads
    pairs = torch.arange(3 * size // 16, size // 2)
    angles = distance * text.rope_parameters["rope_theta"] ** (-pairs[:, None] / (size // 2))
    generator = torch.Generator().manual_seed(seed)
    begun, ended = head.read.weight.detach().chunk(3)[1:]
    for number, read in enumerate((begun, ended)):
        rows = slice(number * size, (number + 1) * size)
        first, second = number * size + pairs, number * size + size // 2 + pairs
        mixed = torch.randn(2, len(pairs), len(read), generator=generator) / (2 * len(pairs)) ** 0.5
        one, other = POINTER_LOUDNESS * mixed @ read
        turned = one * angles.cos() - other * angles.sin(), one * angles.sin() + other * angles.cos()
        with torch.no_grad():
            for layer, parts in ((attention.q_proj, (one, other)), (attention.k_proj, turned)):
                layer.weight[rows], layer.bias[rows] = 0.0, 0.0
                for places, part in zip((first, second), parts, strict=True):
                    layer.weight[places] = part
                    layer.bias[places] = -part @ states.reshape(-1, width).mean(0)
            value = width**-0.5 * torch.randn(size, width, generator=generator)
            attention.v_proj.weight[rows], attention.o_proj.weight[:, rows] = value, value.T


def sharpen_pointers(model: LitaForConditionalGeneration) -> None:
    """Make the heads that `start_pointers` started decide for fewer frames, in place."""
    attention = model.language_model.model.layers[half_of(model)].self_attn
    text = model.config.text_config
    rows = slice(0, 2 * text.hidden_size // text.num_attention_heads)
    with torch.no_grad():
        attention.q_proj.weight[rows] *= SHARPENED
        attention.q_proj.bias[rows] *= SHARPENED


@contextmanager
def _lower_half(model: LitaForConditionalGeneration) -> Iterator[None]:
    config = model.language_model.model.config
    whole = config.num_hidden_layers
    config.num_hidden_layers = half_of(model)
    try:
        yield
    finally:
        config.num_hidden_layers = whole
