"""Stage 2: a CLIP tower learns to see things: first in its patches, then in the mean over them.

A fast token is the mean of a frame's patches, so that mean must say, linearly, which things are there, where,
how large, at what angle. Patches are supervised first because a mean over 64 of them teaches very slowly. The
mean is asked for the state of each colour, not of each name: 24 names with 9 signals each are more than a
small tower can keep apart in one vector, and things in a scene mostly differ in colour. Last come pairs of
frames a moment apart: what moves or grows slowly shows only where the rest of the frame is told steadily.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModel

from litakit.data import synthetic
from litakit.modeling import LitaForConditionalGeneration
from litakit.training.tiny.crowding import crowded
from litakit.training.tiny.recipe import TinyRecipe
from litakit.training.tiny.rendering import RENDERED, Wear, normalize, shrink
from litakit.training.tiny.state import load_state, log_metrics, save_state

logger = logging.getLogger(__name__)

FRAMES = 16
SCENES = 8
COLOURS, SHAPES = tuple(synthetic.COLOURS), synthetic.SHAPES
NUM_NAMES = len(COLOURS) * len(SHAPES)
SIGNALS = ("x", "y", "size", "sin", "cos", "glow", "alpha", "lift", "spark")
CENTRES = (0.5, 0.5, 0.2, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0)
SPREADS = (0.25, 0.25, 0.05, 0.4, 0.4, 0.35, 0.25, 0.05, 0.35)
"""Signals are told minus their centre and divided by their spread, so that all count alike."""
CROWDED = 11
"""Of the frames of a scene, how many are crowded ones."""
POOLED_SCALE = 8.0
MOVING = 3
"""The first signals: place and size, whose small changes from frame to frame are to be told."""
MOVED_WEIGHT = 20.0
RAMP = 200

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
Moment = tuple[synthetic.Scene, synthetic.Renderer, float, Wear]


class Probe(nn.Module):
    """Linear readers of a tower's features: one of each patch, one of the mean over patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch = nn.Linear(width, 1 + len(COLOURS) + len(SHAPES) + len(SIGNALS))
        self.pooled = nn.Linear(width, NUM_NAMES + len(COLOURS) * (1 + len(SIGNALS)))
        for layer in (self.patch, self.pooled):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.pooled.bias[:NUM_NAMES], -2.0)  # most names are absent


class Tower(nn.Module):
    """What is trained: the layers that features come from, and the probe."""

    def __init__(self, recipe: TinyRecipe, model: LitaForConditionalGeneration) -> None:
        super().__init__()
        config = deepcopy(model.config.vision_config)
        config.num_hidden_layers = recipe.vision_layers - 1
        self.vision = CLIPVisionModel(config)
        # plain products in bfloat16 are 1.8 x as fast on a CPU as its fused attention
        self.vision.set_attn_implementation("eager")
        self.probe = Probe(recipe.vision_width)


def train_vision(model: LitaForConditionalGeneration, recipe: TinyRecipe, folder: Path) -> nn.Linear:
    """Train the model's vision tower in place, from the last checkpoint in `folder` if there is one.

    Returns:
        The linear reader of `POOLED_SCALE` times the mean over a frame's patches.
    """
    torch.manual_seed(recipe.seed)
    tower = Tower(recipe, model)
    _fit(tower, recipe, folder, Phase("vision", recipe.vision_steps, recipe.vision_lr, paired=False))
    _fit(tower, recipe, folder, Phase("steadying", recipe.steadying_steps, recipe.steadying_lr, paired=True))
    # all but the last layer, which no feature comes from
    model.vision_tower.load_state_dict(tower.vision.state_dict(), strict=False)
    return tower.probe.pooled


@dataclass(frozen=True)
class Phase:
    """A name, a number of steps, their learning rate, and whether frames come as pairs."""

    name: str
    steps: int
    lr: float
    paired: bool


def _fit(tower: Tower, recipe: TinyRecipe, folder: Path, phase: Phase) -> None:
    optimizer = torch.optim.AdamW(tower.parameters(), lr=phase.lr, weight_decay=0.02, betas=(0.9, 0.98))
    state = folder / f"{phase.name}.pt"
    first = load_state(state, tower, optimizer)
    started = time.monotonic()
    draw = partial(draw_pairs if phase.paired else draw_frames, size=recipe.image_size)
    offset = recipe.vision_steps * SCENES if phase.paired else 0
    with ProcessPoolExecutor(1) as pool:
        queue: deque[list[Future[Batch]]] = deque()
        ahead = first
        for step in range(first, phase.steps):
            while ahead < min(step + 4, phase.steps):
                seeds = range(offset + ahead * SCENES, offset + (ahead + 1) * SCENES)
                queue.append([pool.submit(draw, seed) for seed in seeds])
                ahead += 1
            for group in optimizer.param_groups:
                group["lr"] = phase.lr * _schedule(step, phase.steps)
            drawn = [future.result() for future in queue.popleft()]
            ramp = min(1.0, max(0.0, (step - recipe.vision_pooled_from) / RAMP))
            with torch.autocast("cpu", torch.bfloat16):
                loss, parts = _loss(tower, drawn, 1.0 if phase.paired else ramp, phase.paired)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(tower.parameters(), 2.0)
            optimizer.step()
            if step % 50 == 0 or step + 1 == phase.steps:
                seconds = (time.monotonic() - started) / (step + 1 - first)
                log_metrics(folder, stage=phase.name, step=step, **parts, step_seconds=seconds)
            if (step + 1) % 200 == 0 or step + 1 == phase.steps:
                save_state(state, tower, optimizer, step + 1)


def draw_frames(seed: int, size: int) -> Batch:
    """Crowded frames and frames of a scene, and what is to be seen in them.

    Returns:
        pixels uint8 (F, size, size, 3); per name presence and signals, (F, names, 10); per patch the name
        whose centre lies in it plus 1, 0 for none, (F, 64).
    """
    scene = synthetic.make_scene(seed)
    renderer = synthetic.Renderer(scene, (RENDERED, RENDERED), crop=True)
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    moments: list[Moment] = []
    for frame in range(FRAMES):
        shown, drawer, seconds = scene, renderer, float(rng.uniform(0, scene.duration))
        if frame < CROWDED:
            shown, seconds = crowded(scene, rng), float(rng.uniform(0.0, 0.999))
            drawer = synthetic.Renderer(shown, (RENDERED, RENDERED), crop=True)
        moments.append((shown, drawer, seconds, Wear.draw(rng)))
    return _drawn(moments, size, rng)


def draw_pairs(seed: int, size: int) -> Batch:
    """Frames of a scene in pairs, a few sampled frames apart, most while something happens.

    Returns:
        As `draw_frames`; frame 2 i + 1 is the later one of a pair.
    """
    scene = synthetic.make_scene(seed)
    renderer = synthetic.Renderer(scene, (RENDERED, RENDERED), crop=True)
    rng = np.random.Generator(np.random.PCG64([seed, 6]))
    moments: list[Moment] = []
    for _ in range(FRAMES // 2):
        seconds = float(rng.uniform(0, scene.duration))
        if rng.random() < 0.7:
            span = scene.events[int(rng.integers(len(scene.events)))].span
            seconds = float(rng.uniform(span.start, span.end))
        later = min(seconds + int(rng.integers(1, 5)) * scene.duration / 99, scene.duration)
        wear = Wear.draw(rng)
        moments += [(scene, renderer, seconds, wear), (scene, renderer, later, wear)]
    return _drawn(moments, size, rng)


def _drawn(moments: list[Moment], size: int, rng: np.random.Generator) -> Batch:
    pixels = np.zeros((len(moments), size, size, 3), np.uint8)
    states = np.zeros((len(moments), NUM_NAMES, 1 + len(SIGNALS)), np.float32)
    centres = np.zeros((len(moments), 8, 8), np.int64)
    for frame, (scene, drawer, seconds, wear) in enumerate(moments):
        pixels[frame] = shrink(drawer.frame(seconds), size, wear, rng)
        _tell(scene, seconds, states[frame], centres[frame])
    return pixels, states, centres.reshape(len(moments), 64)


def _tell(scene: synthetic.Scene, seconds: float, states: np.ndarray, centres: np.ndarray) -> None:
    """Write what is to be seen at a second into `states` (names, 10) and `centres` (8, 8)."""
    shown = synthetic.scene_state(scene, seconds)
    touching = {index for event in scene.events for index in event.things if shown[event.thing].spark}
    for index, (thing, state) in enumerate(zip(scene.things, shown, strict=True)):
        name = COLOURS.index(thing.colour) * len(SHAPES) + SHAPES.index(thing.shape)
        signals = _signals(state, index in touching)
        larger = states[name, 0] > 0 and states[name, 3] > signals[2]
        if state.visible <= 0.05 or larger:  # of two alike the larger one is told
            continue
        row, column = (min(max(int(8 * value), 0), 7) for value in (state.y, state.x))
        centres[row, column] = name + 1
        states[name] = [1.0, *signals]


def _signals(state: synthetic.ThingState, touches: bool) -> np.ndarray:
    lift = 0.0 if state.lift is None else state.lift
    turn = math.sin(state.angle), math.cos(state.angle)
    values = (state.x, state.y, state.size, *turn, state.glow, state.alpha, lift, float(touches))
    return (np.array(values) - CENTRES) / SPREADS


def _schedule(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _loss(tower: Tower, drawn: list[Batch], ramp: float, paired: bool) -> tuple[Tensor, dict[str, float]]:
    pixels = torch.from_numpy(normalize(np.concatenate([batch[0] for batch in drawn])))
    states = torch.from_numpy(np.concatenate([batch[1] for batch in drawn]))
    centres = torch.from_numpy(np.concatenate([batch[2] for batch in drawn]))
    patches = tower.vision(pixel_values=pixels).last_hidden_state[:, 1:].float()
    with torch.autocast("cpu", enabled=False):
        return _read_loss(tower.probe, patches, states, centres, ramp, paired)


def _read_loss(
    probe: Probe, patches: Tensor, states: Tensor, centres: Tensor, ramp: float, paired: bool
) -> tuple[Tensor, dict[str, float]]:
    read = probe.patch(patches)
    object_loss = F.binary_cross_entropy_with_logits(read[..., 0], (centres > 0).float(), reduction="none")
    frame, place = torch.where(centres > 0)
    name, here = centres[frame, place] - 1, read[frame, place]
    colour, shape, signals = here[:, 1:].split((len(COLOURS), len(SHAPES), len(SIGNALS)), dim=1)
    colour_loss = F.cross_entropy(colour, name // len(SHAPES))
    shape_loss = F.cross_entropy(shape, name % len(SHAPES))
    signal_loss = ((signals - states[frame, name, 1:]) ** 2).sum(-1).mean()
    loss = 0.3 * object_loss.sum(1).mean() + colour_loss + shape_loss + 0.5 * signal_loss
    pooled = probe.pooled(POOLED_SCALE * patches.mean(1))
    presence_loss, state_loss, errors = _pooled_loss(pooled, states)
    moved_loss = _moved_loss(pooled, states) if paired else presence_loss * 0
    parts = {
        "colour_loss": float(colour_loss.detach()),
        "shape_loss": float(shape_loss.detach()),
        "signal_loss": float(signal_loss.detach()),
        "pooled_presence_loss": float(presence_loss.detach()),
        "pooled_state_loss": float(state_loss.detach()),
        "moved_loss": float(moved_loss.detach()),
    }
    parts |= {f"error_{name}": float(error) for name, error in zip(SIGNALS, errors, strict=True)}
    return loss + ramp * (presence_loss + state_loss) + MOVED_WEIGHT * moved_loss, parts


def _moved_loss(read: Tensor, states: Tensor) -> Tensor:
    """How wrongly the mean over patches tells what has moved or grown from the first to the second of a pair.

    Frames are those of `draw_pairs`; only colours that one thing has, and that are there in both, count.
    """
    colours = read[:, NUM_NAMES:].unflatten(-1, (len(COLOURS), -1))[..., 1 : 1 + MOVING]
    by_colour = states.unflatten(1, (len(COLOURS), len(SHAPES))).sum(2)
    alone = by_colour[..., 0] == 1
    both = (alone[::2] & alone[1::2]).float()[..., None]
    wrong = (colours[1::2] - colours[::2]) - (by_colour[1::2] - by_colour[::2])[..., 1 : 1 + MOVING]
    return (wrong.square() * both).sum() / both.sum().clamp(min=1)


def _pooled_loss(read: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the mean over patches says: presence of names and colours, state of each colour.

    Returns:
        Loss of presences, loss of states, mean squared error of each signal relative to its spread.
    """
    names, colours = read[:, :NUM_NAMES], read[:, NUM_NAMES:].unflatten(-1, (len(COLOURS), -1))
    by_colour = states.unflatten(1, (len(COLOURS), len(SHAPES))).sum(2)  # (F, colours, 10)
    present = (by_colour[..., 0] > 0).float()
    presence = F.binary_cross_entropy_with_logits(names, states[..., 0], reduction="none").sum(1).mean()
    presence += F.binary_cross_entropy_with_logits(colours[..., 0], present, reduction="none").sum(1).mean()
    alone = (by_colour[..., 0] == 1).float()[..., None]  # of two things of one colour no state can be told
    errors = ((colours[..., 1:] - by_colour[..., 1:]) ** 2 * alone).sum((0, 1)) / alone.sum()
    return presence, errors.sum(), errors.detach()
