"""Reading for training: samples and features a second, beside decoding 100 frames for each.

    python scripts/benchmarks/data.py [--folder FOLDER] [--seconds 5]

Makes its own data: 256 videos' features of the published shape (356 x 1024, float16), 100,000 samples of
the five tasks, a folder of 600 frames (jpg, 320 x 240), and 1,000,000 samples to index. The page cache is
warm. Targets on two cores: 1,500 samples a second in batches of 16 with ids and masks; features alone 3,000
a second; 150 times the published way, which decodes and resizes 100 jpgs for each sample, here in two
processes; 50 us for a draw and its row; an index of 1,000,000 lines in 10 s and 500 MB, opened again in
0.5 s. Exit code 1 where one is missed. Measure on an otherwise idle machine.
"""

import argparse
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

TARGETS = {
    "samples_per_second": (1500.0, "at least"),
    "features_per_second": (3000.0, "at least"),
    "times_the_published_way": (150.0, "at least"),
    "microseconds_per_draw": (50.0, "at most"),
    "million_index_seconds": (10.0, "at most"),
    "million_index_mb": (500.0, "at most"),
    "million_open_seconds": (0.5, "at most"),
}
BATCH = 16
NUM_VIDEOS = 256
SHAPE = (356, 1024)
SHARDS = 8


def main() -> int:
    """Measure, print a line for each figure and one of JSON, and say whether the targets are met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="Where the data is made; by default a temporary folder.")
    parser.add_argument("--seconds", type=float, default=5.0, help="How long each rate is measured.")
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.index is not None:
        return open_million(arguments.index)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        make_features(folder / "features")
        make_mixture(folder / "mixture", 100_000)
        make_mixture(folder / "million", 1_000_000)
        make_frames(folder / "frames")
        figures = {
            **rates(folder, arguments.seconds),
            **published_way(folder / "frames", arguments.seconds),
            **million(folder / "million"),
        }
    figures["times_the_published_way"] = (
        figures["samples_per_second"] / figures["published_samples_per_second"]
    )
    met = True
    for name, value in figures.items():
        target, kind = TARGETS.get(name, (None, ""))
        reached = target is None or (value >= target if kind == "at least" else value <= target)
        met = met and reached
        aim = "" if target is None else f"   {kind} {target:g}: {'met' if reached else 'MISSED'}"
        print(f"{name:32} {value:12.3f}{aim}")
    print(json.dumps(figures))
    return 0 if met else 1


def make_features(folder: Path) -> None:
    """Write features of random numbers, as `litakit data features` does those of videos."""
    import torch

    from litakit.features import FeatureFolder, VideoFeatures
    from litakit.features.links import EncoderFacts, SourceStamp
    from litakit.video import VideoInfo

    made = FeatureFolder.create(folder, EncoderFacts("e" * 64, "random", 100, *SHAPE, "float16"))
    times = np.linspace(0, 59.9, 100)
    for number in range(NUM_VIDEOS):
        name = f"v_{number:06d}"
        if made.link_of(name, 5.0) is None:
            info = VideoInfo(name, "frames", 60.0, 300, 5.0, 320, 240)
            values = torch.randn(SHAPE, generator=torch.Generator().manual_seed(number)).half()
            video = VideoFeatures(
                values, info, 60.0, 0.0, times, np.arange(100), backend="pillow", sampling="index"
            )
            made.add(name, video, f"{number:064x}", SourceStamp(300, 0), 5.0)


def make_mixture(folder: Path, num_samples: int) -> None:
    """Write samples of the five tasks in about the lengths that the published data has."""
    from litakit.data.annotations import Annotation, Pair, TimedCaption
    from litakit.data.samples import Sample, to_line
    from litakit.data.tasks import samples_of

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "mixture.json").exists():
        return
    words = ["".join(random.Random(number).choices("aeioubdfgklmnprst", k=5)) for number in range(200)]
    draw = random.Random(0)
    sources = []
    for task in ("dvc", "event_loc", "vidqa", "imgqa", "rtl"):
        file = f"bench.train.{task}.jsonl"
        count = 0
        with (folder / file).open("w") as lines:
            while count < num_samples // 5:
                name = f"v_{draw.randrange(NUM_VIDEOS):06d}"
                captions = tuple(
                    TimedCaption(
                        round(4.5 * i, 2), round(4.5 * i + 9.25, 2), " ".join(draw.sample(words, 12))
                    )
                    for i in range(4)
                )
                pairs = tuple(
                    Pair(
                        f"when does {' '.join(draw.sample(words, 6))}",
                        f"<{3.5 * i}> <{3.5 * i + 7}> because {' '.join(draw.sample(words, 14))}",
                    )
                    for i in range(3)
                )
                told = Annotation(f"{name}_{count}", name, 60.0, captions, pairs)
                made, _ = samples_of(told, task, source="bench", split="train")
                for sample in made:
                    placed = Sample(**{**vars(sample), "path": name, "fps": 5.0})
                    lines.write(to_line(placed) + "\n")
                    count += 1
        sources.append(
            {"task": task, "dataset": "bench", "split": "train", "task_weight": 1.0, "weight": 1.0}
            | {"file": file, "num_samples": count}
        )
    record = {"schema_version": 1, "name": "bench", "title": "bench", "epoch_size": 50_000, "num_epochs": 1}
    (folder / "mixture.json").write_text(json.dumps({**record, "sources": sources}))


def make_frames(folder: Path) -> None:
    """Write a folder of frames as ActivityNet's: 2 minutes at 5 a second, 320 x 240, with grain."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((640, 480), 3)
    for number in range(600):
        path = folder / f"{number + 1:06d}.jpg"
        if not path.exists():
            view = coarse.crop((number // 2, number // 4, number // 2 + 320, number // 4 + 240))
            grain = rng.integers(-8, 9, (240, 320, 1))
            pixels = (np.asarray(view, dtype=int) + grain).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path, quality=90)


def rates(folder: Path, seconds: float) -> dict[str, float]:
    """Samples and features a second, and what a draw with its row costs."""
    from litakit.assets import bundled_model
    from litakit.data.mixture import Mixture
    from litakit.data.reading import SampleReader
    from litakit.features import FeatureFolder
    from litakit.modeling import LitaProcessor

    processor = LitaProcessor.from_pretrained(bundled_model("tiny"))
    processor.num_visual_tokens = SHAPE[0]
    mixture = Mixture(folder / "mixture")
    reader = SampleReader(mixture, processor, FeatureFolder(folder / "features"), template="v1")
    warm(folder / "features")
    figures = {}
    started, read, tokens = time.perf_counter(), 0, 0
    for batch in reader.batches(BATCH, threads=2):
        read += len(batch.indices)
        tokens += int(batch.inputs["attention_mask"].sum())
        if time.perf_counter() - started > seconds:
            break
    figures["samples_per_second"] = read / (time.perf_counter() - started)
    figures["tokens_per_sample"] = tokens / read
    figures["features_per_second"] = features_alone(reader.features, seconds)
    numbers = range(min(20_000, len(mixture)))
    started = time.perf_counter()
    for number in numbers:
        mixture[number]
    figures["microseconds_per_draw"] = (time.perf_counter() - started) / len(numbers) * 1e6
    return figures


def features_alone(features: object, seconds: float) -> float:
    """Features a second, in batches, by two threads."""
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from litakit.features.buffers import BufferPool

    memory = BufferPool()
    batches = [[f"v_{(first + i) % NUM_VIDEOS:06d}" for i in range(BATCH)] for first in range(0, 4096, BATCH)]

    def read(names: list[str]) -> int:
        out = memory.take((BATCH, *SHAPE), torch.float16)
        for place, name in enumerate(names):
            features.read_into(features.key_of(name, 5.0), out[place])
        return len(names)

    with ThreadPoolExecutor(2) as pool:
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            count += sum(pool.map(read, batches))
        return count / (time.perf_counter() - started)


def warm(folder: Path) -> None:
    """Read every file once."""
    for path in folder.rglob("*.safetensors"):
        path.read_bytes()


def published_way(frames: Path, seconds: float) -> dict[str, float]:
    """Samples a second where each decodes and resizes 100 jpgs: two processes, as two workers of a loader."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(decode_hundred, [frames] * 2)  # the workers are there
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            count += len(pool.map(decode_hundred, [frames] * SHARDS))
        return {"published_samples_per_second": count / (time.perf_counter() - started)}


def decode_hundred(frames: Path) -> tuple[int, ...]:
    """Read one sample as the published data set does: 100 of the folder's jpgs through the CLIP processor."""
    import torch
    from transformers import CLIPImageProcessorPil

    torch.set_num_threads(1)
    files = sorted(frames.iterdir())
    chosen = [files[round(place)] for place in np.linspace(0, len(files) - 1, 100)]
    pictures = [Image.open(path).convert("RGB") for path in chosen]
    return tuple(CLIPImageProcessorPil()(pictures, return_tensors="pt")["pixel_values"].shape)


def million(folder: Path) -> dict[str, float]:
    """Indexing a million samples for the first time, and opening them again, each in a process of its own."""
    for index in folder.glob("*.index.npz"):
        index.unlink()
    figures = {}
    for name in ("index", "open"):
        command = [sys.executable, str(Path(__file__).resolve()), "--index", str(folder)]
        record = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        figures[f"million_{name}_seconds"] = record["seconds"]
        figures[f"million_{name}_mb"] = record["mb"]
    return figures


def open_million(folder: Path) -> int:
    """Open a mixture and say how long it took, and how much memory was added at most."""
    from litakit.data.mixture import Mixture

    before = peak_mb()
    started = time.perf_counter()
    mixture = Mixture(folder)
    mixture[0]
    taken = time.perf_counter() - started
    print(json.dumps({"seconds": taken, "mb": peak_mb() - before}))
    return 0


def peak_mb() -> float:
    """Most memory that this process has had so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not say how much memory a process had at most: expected Linux")


if __name__ == "__main__":
    sys.exit(main())
