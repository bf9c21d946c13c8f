"""Stage 5: projector and language model learn to answer, on features that are made once."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from litakit.data import synthetic
from litakit.modeling import LitaForConditionalGeneration, LitaProcessor
from litakit.modeling.losses import IGNORED
from litakit.spans import Span, temporal_iou
from litakit.training.tiny.events import (
    NUM_TARGETS,
    EventHead,
    asked_targets,
    event_targets,
    start_projector,
)
from litakit.training.tiny.packing import Packed, branch_of, conversations, pack, still_conversations
from litakit.training.tiny.recipe import TinyRecipe
from litakit.training.tiny.state import load_state, log_metrics, save_state
from litakit.training.tiny.watching import half_of, sharpen_pointers, start_pointers, train_watching

logger = logging.getLogger(__name__)

WORD_WEIGHT = 0.3
"""Weight of a word in the loss, a time token having 1."""
PLACE_WEIGHT = 0.3
"""Weight of the first auxiliary loss: at the fast token of frame i the next token is <t i>, above the lower
half as at the end. It teaches the order of frames; nothing is asked there when the model is used."""
EVENT_WEIGHT = 0.1
"""Weight of the second one: which events go on, begin and end at each frame."""
POINTER_WEIGHT = 0.3
"""Weight of the third one: where a time is asked for, attention is to look at the frame of that time."""
POINTERS = 2
"""Heads that point, the first of the layer above the lower half: one to each of the two times of a span."""
QUESTION = 16
"""Tokens of a question, on average."""
STILL_SHARE = 0.06
SAVE_EVERY, VALIDATE_EVERY = 100, 500
VALIDATED_QUESTIONS = 8
"""Of each scene and task."""


@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    Packed conversations; features (B, N, width); event targets of the fast tokens (B, num_frames, targets);
    rows and positions that ask for times (M,) with what they ask for (M, targets).
    """

    packed: Packed
    features: Tensor
    events: Tensor
    rows: Tensor
    positions: Tensor
    asked: Tensor


@dataclass(frozen=True)
class Scenes:
    """Encoded scenes: their seeds, and float16 features of videos and stills, (scenes, N, width)."""

    seeds: range
    videos: np.ndarray
    stills: np.ndarray


def train_language(
    model: LitaForConditionalGeneration,
    processor: LitaProcessor,
    recipe: TinyRecipe,
    read: nn.Linear,
    scenes: Scenes,
    validation: Scenes,
    folder: Path,
) -> None:
    """Train in place, from the last checkpoint in `folder` if there is one; metrics are logged there too.

    Args:
        model: its projector and language model are trained, its vision tower is not.
        processor: writes the conversations.
        recipe: the numbers.
        read: what `train_vision` returns; the projector starts from it.
        scenes: encoded scenes to learn from.
        validation: encoded scenes to watch by.
        folder: for the checkpoint and the log.
    """
    trained = [p for name, p in model.named_parameters() if not name.startswith("vision_tower")]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith("vision_tower"))
    start_projector(model, read, scenes.videos[:1000], recipe.seed)
    head = EventHead(recipe.width)
    # plain products in bfloat16 are faster on a CPU than its fused attention
    model.set_attn_implementation("eager")
    train_watching(model, head, recipe, scenes.seeds, scenes.videos, folder)
    both = nn.ModuleDict({"model": model, "events": head})
    trained += head.parameters()
    optimizer = torch.optim.AdamW(trained, lr=recipe.lr, betas=(0.9, 0.95), weight_decay=0.05)
    state = folder / "language.pt"
    first = load_state(state, both, optimizer)
    model.train()
    started = time.monotonic()
    for step in range(first, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * schedule(step, recipe)
        batch = draw_batch(step, recipe, scenes, processor)
        if step == recipe.pointing_from:
            distance = processor.num_visual_tokens - processor.num_frames // 2 + QUESTION
            start_pointers(model, head, _fast_states(model, batch), distance, recipe.seed)
        if step == recipe.sharpened_from:
            sharpen_pointers(model)
        pointed = POINTER_WEIGHT if recipe.pointing_from <= step < recipe.sharpened_from else 0.0
        with torch.autocast("cpu", torch.bfloat16):
            loss, parts = _loss(model, head, batch, soft_width(step, recipe), pointed)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if step % 20 == 0 or step + 1 == recipe.steps:
            seconds = (time.monotonic() - started) / (step + 1 - first)
            log_metrics(folder, stage="language", step=step, **parts, norm=float(norm), step_seconds=seconds)
        last = step + 1 == recipe.steps
        if (step + 1) % SAVE_EVERY == 0 or last:
            save_state(state, both, optimizer, step + 1)
        if (step + 1) % VALIDATE_EVERY == 0 or last:
            scores = validate(model, processor, validation)
            log_metrics(folder, stage="validation", step=step, **scores)
            model.train()


def schedule(step: int, recipe: TinyRecipe) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to 2 %."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def soft_width(step: int, recipe: TinyRecipe) -> float:
    """Standard deviation of the soft targets, in time tokens: from 3 down to 0.7 in the first half."""
    return max(0.7, 3.0 - 2.3 * step / (0.5 * recipe.steps))


def draw_batch(step: int, recipe: TinyRecipe, scenes: Scenes, processor: LitaProcessor) -> Batch:
    """The batch of a step: a pure function of the recipe's seed and the step."""
    rng = np.random.Generator(np.random.PCG64([recipe.seed, step, 4]))
    rows, features, events = [], [], []
    asking: list[tuple[int, int, np.ndarray]] = []
    for row in range(recipe.sequences):
        index = int(rng.integers(len(scenes.seeds)))
        scene = synthetic.make_scene(scenes.seeds[index])
        still = bool(rng.random() < STILL_SHARE)
        told = still_conversations(scene, processor) if still else []
        targets = event_targets(scene, processor.num_frames)
        if told:
            features.append(scenes.stills[index])
            targets = np.zeros_like(targets)
        else:
            told = conversations(scene, processor, recipe.questions, rng)
            features.append(scenes.videos[index])
        events.append(targets)
        branches = [branch_of(processor, turns) for turns in told]
        rows.append(branches)
        end = len(branches[0][0])
        for turns, (_, ids, labels) in zip(told, branches, strict=True):
            wanted = asked_targets(scene, processor.time_codec, turns[0][1])
            if wanted is not None:
                first = end + next(i for i, label in enumerate(labels) if label != IGNORED)
                asking += [(row, first - 1, wanted[0]), (row, first, wanted[1])]
            end += len(ids)
    nothing = np.zeros((0, NUM_TARGETS), np.float32)
    return Batch(
        packed=pack(rows, processor.tokenizer.pad_token_id),
        features=torch.from_numpy(np.stack(features)).float(),
        events=torch.from_numpy(np.stack(events)),
        rows=torch.tensor([row for row, _, _ in asking], dtype=torch.long),
        positions=torch.tensor([position for _, position, _ in asking], dtype=torch.long),
        asked=torch.from_numpy(np.stack([target for _, _, target in asking]) if asking else nothing),
    )


def _loss(
    model: LitaForConditionalGeneration, head: EventHead, batch: Batch, width: float, pointed: float
) -> tuple[Tensor, dict[str, float]]:
    packed = batch.packed
    outputs = _read(model, batch)
    logits, time_ids = outputs.logits.float(), torch.tensor(model.config.time_token_ids)
    labels = packed.labels[:, 1:]
    chosen = labels != IGNORED
    scores, wanted = logits[:, :-1][chosen].log_softmax(-1), labels[chosen]
    is_time = (wanted >= time_ids[0]) & (wanted <= time_ids[-1])
    words = -scores[~is_time].gather(1, wanted[~is_time, None]).sum()
    times = soft_cross_entropy(scores[is_time][:, time_ids], wanted[is_time] - time_ids[0], width).sum()
    answered = (times + WORD_WEIGHT * words) / (is_time.sum() + WORD_WEIGHT * (~is_time).sum())
    fast = _fast_places(model, batch)
    halfway = outputs.hidden_states[half_of(model)]
    early = model.language_model.lm_head(model.language_model.model.norm(halfway[:, fast])).float()
    place = sum(
        nn.functional.nll_loss(told.log_softmax(-1).flatten(0, 1), time_ids.repeat(len(logits)))
        for told in (logits[:, fast], early)
    )
    assert isinstance(place, Tensor)
    row, at = chosen.nonzero(as_tuple=True)
    looks = outputs.attentions[half_of(model)][row[is_time], :POINTERS, at[is_time], fast]
    looks = looks.float().mean(1) + 1e-6  # (M, num_frames)
    frames = wanted[is_time] - time_ids[0]
    pointer = soft_cross_entropy(looks.log(), frames, width).mean()
    event = head.loss(halfway[:, fast], batch.events)
    asked = head.loss(halfway[batch.rows, batch.positions], batch.asked) if len(batch.rows) else event * 0
    parts = {
        "loss": float(answered.detach()),
        "time_loss": float((times / is_time.sum().clamp(min=1)).detach()),
        "word_loss": float((words / (~is_time).sum().clamp(min=1)).detach()),
        "place_loss": float(place.detach()),
        "pointer_loss": float(pointer.detach()),
        "event_loss": float(event.detach()),
        "asked_loss": float(asked.detach()),
    }
    aids = PLACE_WEIGHT * place + EVENT_WEIGHT * (event + asked) + pointed * pointer
    return answered + aids, parts


def _read(model: LitaForConditionalGeneration, batch: Batch) -> Any:
    return model(
        input_ids=batch.packed.input_ids,
        attention_mask=batch.packed.mask,
        position_ids=batch.packed.position_ids,
        video_features=batch.features,
        output_hidden_states=True,
        output_attentions=True,
    )


def _fast_places(model: LitaForConditionalGeneration, batch: Batch) -> slice:
    first = int((batch.packed.input_ids[0] == model.config.video_token_id).nonzero()[0])
    return slice(first, first + model.config.num_frames)


@torch.no_grad()
def _fast_states(model: LitaForConditionalGeneration, batch: Batch) -> Tensor:
    states = _read(model, batch).hidden_states[half_of(model)]
    states = states * states.square().mean(-1, keepdim=True).rsqrt()
    return states[:, _fast_places(model, batch)]


def soft_cross_entropy(scores: Tensor, index: Tensor, width: float) -> Tensor:
    """Cross-entropy against a Gaussian over the time tokens around the right one.

    Args:
        scores: log-probabilities of the N time tokens, (M, N).
        index: the right token, (M,).
        width: standard deviation in tokens.

    Returns:
        (M,), 0 where all the probability lies as the target does.
    """
    grid = torch.arange(scores.shape[-1])
    target = (-0.5 * ((grid - index[:, None]) / width) ** 2).softmax(-1)
    return (target * (target.clamp(min=1e-9).log() - scores)).sum(-1)


@torch.no_grad()
def validate(
    model: LitaForConditionalGeneration, processor: LitaProcessor, scenes: Scenes, shuffle: bool = False
) -> dict[str, float]:
    """Greedy mIoU of localization and reasoning questions about scenes, by their cached features.

    With `shuffle` each scene is asked about with the features of the next one.
    """
    model.eval()
    found: dict[str, list[float]] = {"event_loc": [], "rtl": []}
    features = np.roll(scenes.videos, 1, axis=0) if shuffle else scenes.videos
    for seed, feature in zip(scenes.seeds, features, strict=True):
        scene = synthetic.make_scene(seed)
        questions = [qa for qa in synthetic.questions(scene) if len(qa.spans) == 1]
        asked = [
            qa for task in found for qa in [q for q in questions if q.task == task][:VALIDATED_QUESTIONS]
        ]
        for qa, span in zip(asked, _localize(model, processor, scene, asked, feature), strict=True):
            found[qa.task].append(temporal_iou(span, qa.spans[0]))
    return {f"{task}_miou": float(np.mean(values)) for task, values in found.items()}


def _localize(
    model: LitaForConditionalGeneration,
    processor: LitaProcessor,
    scene: synthetic.Scene,
    asked: list[synthetic.QA],
    feature: np.ndarray,
) -> Iterator[Span]:
    """The two most probable time tokens in turn, for all questions at once."""
    time_ids = torch.tensor(model.config.time_token_ids)
    video = torch.from_numpy(feature[None]).float()
    starts: list[int] = [0] * len(asked)
    picked: list[list[int]] = []
    for known in range(2):
        branches, ends, offset = [], [], 0
        for qa, start in zip(asked, starts, strict=True):
            answer = processor.time_codec.tokens[start] + " " + processor.time_codec.tokens[0]
            prefix, ids, labels = branch_of(processor, [(qa.question, answer)])
            first = next(i for i, label in enumerate(labels) if label != IGNORED)
            branches.append((prefix, ids[: first + 1], labels[: first + 1]))
            ends.append(len(prefix) + offset + first - 1 + known)
            offset += first + 1
        packed = pack([branches], processor.tokenizer.pad_token_id)
        logits = model(
            input_ids=packed.input_ids,
            attention_mask=packed.mask,
            position_ids=packed.position_ids,
            video_features=video,
        ).logits[0, ends]
        picked.append(logits[:, time_ids].argmax(-1).tolist())
        starts = picked[0]
    for start, end in zip(*picked, strict=True):
        low, high = sorted((start, end))
        yield Span(
            processor.time_codec.decode(low, scene.duration),
            processor.time_codec.decode(high, scene.duration),
        )
