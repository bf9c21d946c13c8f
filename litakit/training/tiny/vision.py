"""Stage 2: a CLIP tower learns to see things: first in its patches, then in the mean over them.

A fast token is the mean of a frame's patches, so that mean must say, linearly, which things are there, where,
how large, at what angle. Patches are supervised first because a mean over 64 of them teaches very slowly.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModel

from litakit.data import synthetic
from litakit.modeling import LitaForConditionalGeneration
from litakit.training.tiny.recipe import TinyRecipe
from litakit.training.tiny.rendering import RENDERED, normalize, shrink
from litakit.training.tiny.state import load_state, log_metrics, save_state

logger = logging.getLogger(__name__)

FRAMES = 16
SCENES = 8
COLOURS, SHAPES = tuple(synthetic.COLOURS), synthetic.SHAPES
NUM_NAMES = len(COLOURS) * len(SHAPES)
SIGNALS = ("x", "y", "size", "sin", "cos", "glow", "alpha", "lift", "spark")
WEIGHTS = (10.0, 10.0, 6.0, 2.0, 2.0, 6.0, 3.0, 3.0, 3.0)
REFINING = (30.0, 30.0, 20.0, 1.0, 20.0, 60.0, 3.0, 40.0, 20.0)
"""Weights of the second phase. After the first the mean told where things are (R2 0.9) but neither that one
is turned, glows, is in the air nor touches another (R2 0.0): signals too rare to count."""
POOLED_SCALE = 8.0
RAMP = 200

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


class Probe(nn.Module):
    """Linear readers of a tower's features: one of each patch, one of the mean over patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch = nn.Linear(width, 1 + len(COLOURS) + len(SHAPES) + len(SIGNALS))
        self.pooled = nn.Linear(width, NUM_NAMES * (1 + len(SIGNALS)))
        for layer in (self.patch, self.pooled):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():  # most names are absent
            self.pooled.bias.unflatten(0, (NUM_NAMES, -1))[:, 0] = -2.0


class Tower(nn.Module):
    """What is trained: the layers that features come from, and the probe."""

    def __init__(self, recipe: TinyRecipe, model: LitaForConditionalGeneration) -> None:
        super().__init__()
        config = deepcopy(model.config.vision_config)
        config.num_hidden_layers = recipe.vision_layers - 1
        self.vision = CLIPVisionModel(config)
        self.probe = Probe(recipe.vision_width)


def train_vision(model: LitaForConditionalGeneration, recipe: TinyRecipe, folder: Path) -> None:
    """Train the model's vision tower in place, from the last checkpoint in `folder` if there is one."""
    torch.manual_seed(recipe.seed)
    tower = Tower(recipe, model)
    _run_phase(tower, recipe, folder, "vision", range(recipe.vision_steps))
    last = recipe.vision_steps + recipe.refining_steps
    _run_phase(tower, recipe, folder, "refining", range(recipe.vision_steps, last))
    # all but the last layer, which no feature comes from
    model.vision_tower.load_state_dict(tower.vision.state_dict(), strict=False)


def _run_phase(tower: Tower, recipe: TinyRecipe, folder: Path, stage: str, steps: range) -> None:
    """One cosine of steps, with an optimiser of its own; `steps` numbers them through both phases."""
    optimizer = torch.optim.AdamW(
        tower.parameters(), lr=recipe.vision_lr, weight_decay=0.02, betas=(0.9, 0.98)
    )
    state = folder / f"{stage}.pt"
    busy = 0.6 if stage == "vision" else 0.85
    first = max(steps.start, load_state(state, tower, optimizer))
    started = time.monotonic()
    with ProcessPoolExecutor(1) as pool:
        queue: deque[list[Future[Batch]]] = deque()
        ahead = first
        for step in range(first, steps.stop):
            while ahead < min(step + 4, steps.stop):
                seeds = range(ahead * SCENES, (ahead + 1) * SCENES)
                queue.append([pool.submit(draw_frames, seed, recipe.image_size, busy) for seed in seeds])
                ahead += 1
            for group in optimizer.param_groups:
                group["lr"] = recipe.vision_lr * _schedule(step - steps.start, len(steps))
            loss, parts = _loss(tower, [future.result() for future in queue.popleft()], step, recipe)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(tower.parameters(), 2.0)
            optimizer.step()
            if step % 50 == 0 or step + 1 == steps.stop:
                seconds = (time.monotonic() - started) / (step + 1 - first)
                log_metrics(folder, stage=stage, step=step, **parts, step_seconds=seconds)
            if (step + 1) % 200 == 0 or step + 1 == steps.stop:
                save_state(state, tower, optimizer, step + 1)


def draw_frames(seed: int, size: int, busy: float) -> Batch:
    """Frames of a scene, a share `busy` of them from the middle of events, and what is to be seen in them.

    Returns:
        pixels uint8 (F, size, size, 3); per name presence and signals, (F, names, 10); per patch the name
        whose centre lies in it plus 1, 0 for none, (F, 64).
    """
    scene = synthetic.make_scene(seed)
    renderer = synthetic.Renderer(scene, (RENDERED, RENDERED), crop=True)
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    pixels = np.zeros((FRAMES, size, size, 3), np.uint8)
    states = np.zeros((FRAMES, NUM_NAMES, 1 + len(SIGNALS)), np.float32)
    centres = np.zeros((FRAMES, 8, 8), np.int64)
    for frame in range(FRAMES):
        seconds = rng.uniform(0, scene.duration)
        if rng.random() < busy:
            span = scene.events[int(rng.integers(len(scene.events)))].span
            seconds = rng.uniform(span.start, span.end)
        pixels[frame] = shrink(renderer.frame(seconds), size, rng)
        for thing, state in zip(scene.things, synthetic.scene_state(scene, seconds), strict=True):
            name = COLOURS.index(thing.colour) * len(SHAPES) + SHAPES.index(thing.shape)
            larger = states[frame, name, 0] > 0 and states[frame, name, 3] > 4 * state.size
            if state.visible <= 0.05 or larger:  # of two alike the larger one is told
                continue
            row, column = (min(max(int(8 * value), 0), 7) for value in (state.y, state.x))
            centres[frame, row, column] = name + 1
            states[frame, name] = [1.0, *_signals(state)]
    return pixels, states, centres.reshape(FRAMES, 64)


def _signals(state: synthetic.ThingState) -> tuple[float, ...]:
    lift = 0.0 if state.lift is None else 4 * state.lift
    turned = math.sin(state.angle), math.cos(state.angle) - 1
    spark = 0.0 if state.spark is None else 1.0
    return state.x, state.y, 4 * state.size, *turned, state.glow, state.alpha, lift, spark


def _schedule(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _loss(tower: Tower, drawn: list[Batch], step: int, recipe: TinyRecipe) -> tuple[Tensor, dict[str, float]]:
    pixels = torch.from_numpy(normalize(np.concatenate([batch[0] for batch in drawn])))
    states = torch.from_numpy(np.concatenate([batch[1] for batch in drawn]))
    centres = torch.from_numpy(np.concatenate([batch[2] for batch in drawn]))
    patches = tower.vision(pixel_values=pixels).last_hidden_state[:, 1:]
    weights = torch.tensor(WEIGHTS if step < recipe.vision_steps else REFINING)
    read = tower.probe.patch(patches)
    object_loss = F.binary_cross_entropy_with_logits(read[..., 0], (centres > 0).float(), reduction="none")
    frame, place = torch.where(centres > 0)
    name, here = centres[frame, place] - 1, read[frame, place]
    colour, shape, signals = here[:, 1:].split((len(COLOURS), len(SHAPES), len(SIGNALS)), dim=1)
    colour_loss = F.cross_entropy(colour, name // len(SHAPES))
    shape_loss = F.cross_entropy(shape, name % len(SHAPES))
    signal_loss = ((signals - states[frame, name, 1:]) ** 2 * weights).sum(-1).mean()
    loss = 0.3 * object_loss.sum(1).mean() + colour_loss + shape_loss + 0.5 * signal_loss
    pooled = tower.probe.pooled(POOLED_SCALE * patches.mean(1)).unflatten(-1, (NUM_NAMES, -1))
    present = states[..., 0]
    presence_loss = (
        F.binary_cross_entropy_with_logits(pooled[..., 0], present, reduction="none").sum(1).mean()
    )
    error = (pooled[..., 1:] - states[..., 1:]) ** 2 * present[..., None]
    state_loss = (error * weights).sum() / present.sum()
    ramp = min(1.0, max(0.0, (step - recipe.vision_pooled_from) / RAMP))
    parts = {
        "colour_loss": float(colour_loss.detach()),
        "shape_loss": float(shape_loss.detach()),
        "signal_loss": float(signal_loss.detach()),
        "pooled_presence_loss": float(presence_loss.detach()),
        "pooled_state_loss": float(state_loss.detach()),
    }
    return loss + ramp * (presence_loss + state_loss), parts
