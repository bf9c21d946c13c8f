"""How well a model localizes in the shape world: fresh real videos, the whole way from mp4 to seconds.

    python scripts/benchmarks/tiny.py [--videos 200] [--model tiny] [--json]

Videos come from seeds that nothing is ever trained on. Beside the model's mIoU stand what any answer
without looking gets (whole video, centre third, random), the ceiling of the grid of time tokens, and two
controls: asked with another video's features the model must fall to the baselines, and with the frames in
reverse its spans must mirror.
"""

import argparse
import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from litakit.assistant.loading import model_folder
from litakit.data import synthetic
from litakit.messages import Message
from litakit.modeling import LitaForConditionalGeneration, LitaProcessor
from litakit.modeling.checkpoints import load_model
from litakit.spans import Span, temporal_iou
from litakit.video import decode_frames

SYMMETRIC = ("moves", "spins", "jumps", "flashes", "collides")
"""Kinds of events that look the same backwards."""
RTL_QUESTIONS = 4


@dataclass(frozen=True)
class Asked:
    """A question, its true span and the kind of event or of reasoning."""

    task: str
    question: str
    truth: Span
    kind: str


def asked_of(scene: synthetic.Scene) -> list[Asked]:
    """One localization question for each event that has a name, quoted and direct in turn; some reasoning."""
    questions = synthetic.questions(scene)
    kinds = {(event.span.start, event.span.end): event.kind for event in scene.events}
    localize = [qa for qa in questions if qa.task == "event_loc"]
    quoted, direct = localize[::2], localize[1::2]
    drawn = [pair[number % 2] for number, pair in enumerate(zip(quoted, direct, strict=True))]
    rng = random.Random(scene.seed)
    reasons = [qa for qa in questions if qa.task == "rtl" and len(qa.spans) == 1]
    drawn += rng.sample(reasons, min(RTL_QUESTIONS, len(reasons)))
    asked = []
    for qa in drawn:
        span = qa.spans[0]
        near = min(kinds, key=lambda times: abs(times[0] - span.start) + abs(times[1] - span.end))
        asked.append(Asked(qa.task, qa.question, span, kinds[near] if qa.task == "event_loc" else qa.kind))
    return asked


def write_one(seed: int, folder: Path) -> Path:
    """The video of a seed, made once."""
    path = folder / f"{seed}.mp4"
    if not path.exists():
        synthetic.write_video(synthetic.make_scene(seed), path)
    return path


@torch.no_grad()
def features_of(
    model: LitaForConditionalGeneration, processor: LitaProcessor, path: Path
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Visual features of a video, those of its frames in reverse, and its duration in seconds."""
    frames = decode_frames(path, processor.num_frames, transform=processor.frame_transform)
    pixels = processor.pixel_values(frames)
    assert frames.duration is not None
    return model.get_video_features(pixels), model.get_video_features(pixels.flip(1)), frames.duration


@torch.no_grad()
def answers(
    model: LitaForConditionalGeneration,
    processor: LitaProcessor,
    features: torch.Tensor,
    asked: list[Asked],
    duration: float,
) -> Iterator[Span | None]:
    """The first span of the greedy answer to each question, None where there is none."""
    batch = processor(
        [[Message("user", one.question, video=True), Message("assistant", None)] for one in asked]
    )
    video = features.expand(len(asked), -1, -1)
    ids = model.generate(**batch, video_features=video, do_sample=False, max_new_tokens=24)
    for row in ids[:, batch["input_ids"].shape[1] :]:
        parsed = processor.time_codec.parse(processor.decode_answer(row), duration)
        yield parsed.spans[0] if parsed.spans else None


def baselines(truth: Span, duration: float, rng: random.Random) -> dict[str, float]:
    """IoU of what one can answer without looking, and of the truth on the grid of time tokens."""
    a, b = sorted((rng.uniform(0, duration), rng.uniform(0, duration)))
    step = duration / 99
    grid = Span(round(truth.start / step) * step, round(truth.end / step) * step)
    spans = {
        "whole video": Span(0, duration),
        "centre third": Span(duration / 3, 2 * duration / 3),
        "random": Span(a, b),
        "ceiling of the grid": grid,
    }
    return {name: temporal_iou(span, truth) for name, span in spans.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=synthetic.EVAL_SEEDS.start + 10_000)
    parser.add_argument("--model", default="tiny")
    parser.add_argument(
        "--work", type=Path, help="keep the videos here; by default they are made and removed"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.videos)
    model, processor = load_model(model_folder(arguments.model))
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(1) as pool:
        folder = arguments.work or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(model, processor, seeds, pool.map(partial(write_one, folder=folder), seeds))
    summary = {name: round(float(np.mean(values)), 4) for name, values in found.items()}
    counts = {name: len(values) for name, values in found.items()}
    if arguments.json:
        print(json.dumps({"videos": len(seeds), "mean": summary, "count": counts}))
        return
    print(
        f"{len(seeds)} videos, seeds {seeds.start}-{seeds.stop - 1}; mean temporal IoU (number of questions)"
    )
    for name, value in summary.items():
        print(f"{name:40s} {value:.3f}  ({counts[name]})")


def measure(
    model: LitaForConditionalGeneration, processor: LitaProcessor, seeds: range, paths: Iterator[Path]
) -> dict[str, list[float]]:
    """IoU of every answer, by what was measured."""
    found: dict[str, list[float]] = defaultdict(list)
    rng = random.Random(0)
    other: tuple[torch.Tensor, float] | None = None
    for seed, path in zip(seeds, paths, strict=True):
        scene = synthetic.make_scene(seed)
        asked = asked_of(scene)
        forward, backward, duration = features_of(model, processor, path)
        for one, span in zip(asked, answers(model, processor, forward, asked, duration), strict=True):
            iou = temporal_iou(span, one.truth) if span else 0.0
            found[one.task].append(iou)
            found[f"{one.task}, P@0.5"].append(float(iou >= 0.5))
            found[f"{one.task}, unparsed"].append(float(span is None))
            found[f"{one.task}: {one.kind}"].append(iou)
            if one.task == "event_loc":
                if one.truth.duration < 0.08 * duration:
                    found["event_loc, shorter than 8 %"].append(iou)
                for name, value in baselines(one.truth, duration, rng).items():
                    found[name].append(value)
        localize = [one for one in asked if one.task == "event_loc"]
        if other is not None:
            for one, span in zip(
                localize, answers(model, processor, other[0], localize, duration), strict=True
            ):
                found["control: another video"].append(temporal_iou(span, one.truth) if span else 0.0)
        for one, span in zip(localize, answers(model, processor, backward, localize, duration), strict=True):
            mirrored = Span(duration - span.end, duration - span.start) if span else None
            iou = temporal_iou(mirrored, one.truth) if mirrored else 0.0
            found["control: reversed, mirrored"].append(iou)
            if one.kind in SYMMETRIC:
                found["control: reversed, mirrored, symmetric kinds"].append(iou)
                found["control: reversed, not mirrored, symmetric kinds"].append(
                    temporal_iou(span, one.truth) if span else 0.0
                )
        other = forward, duration
    return dict(sorted(found.items()))


if __name__ == "__main__":
    main()
