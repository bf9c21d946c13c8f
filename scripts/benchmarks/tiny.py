"""How well a model finds events of the shape world: real mp4 files that nothing was trained on.

    python scripts/benchmarks/tiny.py [--model tiny] [--videos 200] [--json]

Each video is written, decoded, encoded, and asked about with the model's own `generate`. Localization and
reasoning questions are asked three times: of the video, with the features of another video, and with the
frames reversed, where the answer must be the mirrored span (for kinds of events that look alike both ways).
Beside them stand what costs nothing (the whole video, its centre third, a random span) and the most that
the grid of time tokens allows. Exit code 1 where a target is missed.
"""

import argparse
import io
import json
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import litakit
from litakit.assistant import Assistant
from litakit.data import synthetic
from litakit.files import write_atomic
from litakit.messages import Message
from litakit.spans import Span, temporal_iou
from litakit.video import decode_frames

FIRST_SEED = synthetic.EVAL_SEEDS.start + 10_000
SYMMETRIC = ("moves", "spins", "jumps", "flashes", "collides")
"""Kinds of events that are the same kind when time runs backwards."""
LOCALIZED = ("event_loc", "rtl")
TARGET_MIOU = 0.45
TARGET_RATIO = 2.0
TARGET_BLIND = 0.05
TARGET_MIRRORED = 0.8
SHORT = 0.08
NOWHERE = Span(0.0, 0.0)


@dataclass(frozen=True)
class Seen:
    """A video as the model sees it: features (N, width) of its frames, and of its frames reversed."""

    duration: float
    features: Tensor
    reversed_features: Tensor
    still: Tensor | None


@dataclass(frozen=True)
class Asked:
    """A localization or reasoning question with everything that was answered."""

    video: int
    task: str
    form: str
    event: str
    truth: Span
    duration: float
    ceiling: float
    found: Span | None
    blind: Span | None
    backwards: Span | None

    @property
    def mirrored(self) -> Span:
        """Where the event is when the video runs backwards."""
        return Span(self.duration - self.truth.end, self.duration - self.truth.start)


def main() -> int:
    """Measure, print, and say whether the targets are met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny", help='"tiny", or a folder')
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--work", type=Path, help="keep the videos here; by default they are removed")
    parser.add_argument("--workers", type=int, default=2, help="processes that write videos")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--save", type=Path, help="write the JSON here too")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.videos)
    if seeds.start not in synthetic.EVAL_SEEDS or seeds[-1] not in synthetic.EVAL_SEEDS:
        parser.error(f"seeds must lie in {synthetic.EVAL_SEEDS}: nothing is trained on those")
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.work or Path(scratch)
        figures = measure(arguments.model, seeds, folder, arguments.workers)
    written = json.dumps(figures, indent=1)
    if arguments.save:
        write_atomic(arguments.save, written + "\n")
    print(written if arguments.json else table(figures))
    return 0 if figures["targets_met"] else 1


def measure(name: str, seeds: range, folder: Path, workers: int) -> dict[str, Any]:
    """Write the videos, look at them, ask, and score."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        written = pool.map(partial(write_media, folder=folder), seeds)
        assistant = litakit.load(name, cache=False)
        seen = [see(assistant, folder, seed) for seed, _ in zip(seeds, written, strict=True)]
    asked: list[Asked] = []
    words: dict[str, list[float]] = defaultdict(list)
    for number, (seed, video) in enumerate(zip(seeds, seen, strict=True)):
        scene = synthetic.make_scene(seed)
        asked += ask_when(assistant, scene, number, video, blind=seen[number - 1])
        for task, score in ask_in_words(assistant, scene, video):
            words[task].append(score)
    figures = scores(asked, words) | {"seconds_taken": round(time.perf_counter() - started, 1)}
    return {"model": name, "videos": len(seeds), "first_seed": seeds.start} | figures


def write_media(seed: int, folder: Path) -> None:
    """Write a scene's video, and the still that its image questions are about, unless they are there."""
    scene = synthetic.make_scene(seed)
    video, still = media(folder, seed)
    if not video.exists():
        synthetic.write_video(scene, video)
    seconds = [qa.seconds for qa in synthetic.questions(scene) if qa.seconds is not None]
    if seconds and not still.exists():
        buffer = io.BytesIO()
        Image.fromarray(synthetic.Renderer(scene).frame(seconds[0])).save(buffer, "JPEG", quality=92)
        write_atomic(still, buffer.getvalue())


def media(folder: Path, seed: int) -> tuple[Path, Path]:
    """Where a scene's video and still are kept."""
    return folder / f"{seed}.mp4", folder / f"{seed}.jpg"


@torch.inference_mode()
def see(assistant: Assistant, folder: Path, seed: int) -> Seen:
    """Decode and encode a video, forwards and backwards, and its still."""
    video, still = media(folder, seed)

    def pixels_of(path: Path) -> tuple[Tensor, float | None]:
        processor = assistant.processor
        batch = decode_frames(path, processor.num_frames, transform=processor.frame_transform)
        return processor.pixel_values(batch), batch.duration

    encode: Callable[[Tensor], Tensor] = assistant.model.get_video_features
    pixels, duration = pixels_of(video)
    assert duration is not None
    image = encode(pixels_of(still)[0])[0] if still.exists() else None
    return Seen(duration, encode(pixels)[0], encode(pixels.flip(1))[0], image)


@torch.inference_mode()
def answers(assistant: Assistant, questions: Sequence[str], features: Tensor, limit: int) -> list[str]:
    """Greedy answers of `generate`, all questions about a video in one batch."""
    messages = [[Message("user", question, video=True)] for question in questions]
    inputs = assistant.processor(messages)
    outputs = assistant.model.generate(
        **inputs,
        video_features=features[None].expand(len(questions), -1, -1),
        do_sample=False,
        max_new_tokens=limit,
    )
    new = outputs[:, inputs["input_ids"].shape[1] :]
    return [assistant.processor.decode_answer(row) for row in new]


def ask_when(
    assistant: Assistant, scene: synthetic.Scene, number: int, video: Seen, blind: Seen
) -> list[Asked]:
    """All questions of a scene whose answer is one span."""
    codec, duration = assistant.processor.time_codec, video.duration

    def spans(features: Tensor) -> list[Span | None]:
        told = answers(assistant, [qa.question for qa in asked], features, limit=4)
        parsed = [codec.parse(text, duration) for text in told]
        return [answer.spans[0] if answer.parsed else None for answer in parsed]

    asked = [qa for qa in synthetic.questions(scene) if qa.task in LOCALIZED and len(qa.spans) == 1]
    triples = zip(spans(video.features), spans(blind.features), spans(video.reversed_features), strict=True)
    rows = []
    for qa, (found, other, backwards) in zip(asked, triples, strict=True):
        truth = qa.spans[0]
        # of two questions with the same span, reasoning ones may mean no event at all: a pause
        event = next((e.kind for e in scene.events if e.span == truth), "none")
        told = codec.parse(codec.render_span(truth, duration), duration).spans[0]
        ceiling = temporal_iou(truth, told)
        row = Asked(number, qa.task, qa.kind, event, truth, duration, ceiling, found, other, backwards)
        rows.append(row)
    return rows


def ask_in_words(assistant: Assistant, scene: synthetic.Scene, video: Seen) -> Iterable[tuple[str, float]]:
    """Tasks answered in words, with a score of each answer.

    For dvc the overlap of each event with the one that is told in the same words (0 where it is not told);
    for the others 1 where the answer is the right one, word for word.
    """
    everything = synthetic.questions(scene)
    for task, features, limit in (("vidqa", video.features, 24), ("imgqa", video.still, 16)):
        asked = [qa for qa in everything if qa.task == task]
        if asked and features is not None:
            told = answers(assistant, [qa.question for qa in asked], features, limit)
            yield from ((task, float(text == qa.answer)) for text, qa in zip(told, asked, strict=True))
    accounts = [qa.question for qa in everything if qa.task == "dvc"]
    for text in answers(assistant, accounts, video.features, limit=240):
        told_events = assistant.processor.time_codec.parse_events(text, video.duration)
        for event in synthetic.captions(scene):
            same = [temporal_iou(event.span, e.span) for e in told_events if e.caption == event.caption]
            yield "dvc", max(same, default=0.0)


def overlap(span: Span | None, truth: Span) -> float:
    """IoU; an answer without a span has none."""
    return 0.0 if span is None else temporal_iou(span, truth)


def baselines(rows: Sequence[Asked]) -> dict[str, float]:
    """Mean IoU of answers that look at nothing."""
    rng = np.random.default_rng(0)
    drawn = np.sort(rng.random((len(rows), 100, 2)), axis=-1)
    random = [
        temporal_iou(Span(*(row.duration * share)), row.truth)
        for row, shares in zip(rows, drawn, strict=True)
        for share in shares
    ]
    return {
        "whole_video": mean(temporal_iou(Span(0.0, r.duration), r.truth) for r in rows),
        "centre_third": mean(temporal_iou(Span(r.duration / 3, r.duration * 2 / 3), r.truth) for r in rows),
        "random_span": mean(random),
    }


def scores(asked: Sequence[Asked], words: dict[str, list[float]]) -> dict[str, Any]:
    """All the figures, and whether event localization meets its targets."""
    by_task = {task: [row for row in asked if row.task == task] for task in LOCALIZED}
    figures: dict[str, Any] = {task: localized(rows) for task, rows in by_task.items() if rows}
    figures["in_words"] = {
        task: {"score": mean(values), "answers": len(values)} for task, values in sorted(words.items())
    }
    main_task = figures["event_loc"]
    best = max(main_task["baselines"].values())
    mirrored = main_task["miou_mirrored"]
    least = max(
        TARGET_MIRRORED * main_task["miou_of_symmetric_kinds"],
        TARGET_RATIO * main_task["miou_reversed_but_not_mirrored"],
    )
    checks = {
        "miou": main_task["miou"] >= TARGET_MIOU,
        "twice_the_best_baseline": main_task["miou"] >= TARGET_RATIO * best,
        "blind_to_another_video": main_task["miou_of_another_video"] <= best + TARGET_BLIND,
        "mirrors": mirrored >= least and mirrored > 0,
    }
    return figures | {"checks": checks, "targets_met": all(checks.values())}


def localized(rows: Sequence[Asked]) -> dict[str, Any]:
    """Figures of one task."""
    overlaps = np.array([overlap(r.found, r.truth) for r in rows])
    groups: dict[str, dict[str, list[float]]] = {"by_event": defaultdict(list), "by_form": defaultdict(list)}
    for row, value in zip(rows, overlaps.tolist(), strict=True):
        groups["by_event"][row.event].append(value)
        groups["by_form"][row.form].append(value)
    short = [r.truth.duration < SHORT * r.duration for r in rows]
    symmetric = [r for r in rows if r.event in SYMMETRIC and r.task == "event_loc"]
    figures: dict[str, Any] = {
        "questions": len(rows),
        "miou": mean(overlaps),
        "interval_95": interval(rows, overlaps),
        "precision_at_0.5": mean(overlaps >= 0.5),
        "miou_of_short_events": mean(overlaps[short]),
        "unparsed": sum(r.found is None for r in rows),
        "baselines": baselines(rows),
        "ceiling_of_the_grid": mean(r.ceiling for r in rows),
        "miou_of_another_video": mean(overlap(r.blind, r.truth) for r in rows),
    }
    if symmetric:
        figures |= {
            "miou_of_symmetric_kinds": mean(overlap(r.found, r.truth) for r in symmetric),
            "miou_mirrored": mean(overlap(r.backwards, r.mirrored) for r in symmetric),
            "miou_reversed_but_not_mirrored": mean(overlap(r.backwards, r.truth) for r in symmetric),
        }
    for name, group in groups.items():
        figures[name] = {
            key: {"miou": mean(values), "questions": len(values)} for key, values in sorted(group.items())
        }
    return figures


def interval(rows: Sequence[Asked], overlaps: np.ndarray) -> list[float]:
    """95 % bootstrap interval of the mean, videos drawn with replacement."""
    videos = np.array([row.video for row in rows])
    ids = np.unique(videos)
    totals = np.array([overlaps[videos == i].sum() for i in ids])
    counts = np.array([(videos == i).sum() for i in ids])
    drawn = np.random.default_rng(0).integers(len(ids), size=(2000, len(ids)))
    means = totals[drawn].sum(1) / counts[drawn].sum(1)
    return [round(float(value), 4) for value in np.quantile(means, (0.025, 0.975))]


def mean(values: Iterable[float] | np.ndarray) -> float:
    """Mean, rounded; NaN never: 0 of nothing."""
    collected = [float(value) for value in values]
    return round(math.fsum(collected) / len(collected), 4) if collected else 0.0


def table(figures: dict[str, Any]) -> str:
    """The figures as lines to read."""
    lines = [f"{figures['videos']} videos from seed {figures['first_seed']}, model {figures['model']}"]
    for task in (task for task in LOCALIZED if task in figures):
        lines.append(f"\n{task}")
        for name, value in figures[task].items():
            if not isinstance(value, dict):
                lines.append(f"  {name:32} {value}")
                continue
            lines.append(f"  {name}")
            for key, inner in value.items():
                told = f"{inner['miou']:.4f}  of {inner['questions']}" if isinstance(inner, dict) else inner
                lines.append(f"    {key:30} {told}")
    lines.append("\nin words")
    lines += [f"  {t:32} {v['score']}  of {v['answers']}" for t, v in figures["in_words"].items()]
    lines.append("")
    lines += [f"{'met   ' if met else 'MISSED'}  {name}" for name, met in figures["checks"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
