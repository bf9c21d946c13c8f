"""How long 100 frames of a video take to become pixels, against a full decode and against decord + HF.

    python scripts/benchmarks/video.py [--rounds 5] [--folder KEEP] [--quick] [--preset veryfast]

F is the time of `ffmpeg -threads 2 -i VIDEO -f null -`; without an ffmpeg binary, of a full decode by PyAV
with two threads, and it says so. The other yardstick is decord's `get_batch` at native size and the HF image
processor behind it. Every figure is a median over the rounds, in which the three take turns, on a warm
worker; nothing is cached. Memory is what parent and worker together hold above their idle state. Exit code
1 where a target is missed. Measure on an otherwise idle machine; the videos take some minutes to make,
`--folder` keeps them.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent))
from _video_making import CONTENTS, FPS, encode, repeat

from litakit.video import FrameTransform, decode_frames
from litakit.video._client import worker

NUM_FRAMES = 100
TRANSFORM = FrameTransform(224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
MEMORY_LIMIT = 400.0


@dataclass(frozen=True)
class Case:
    """One kind of video, and what is asked of it: at most so many F, at least so much faster than decord."""

    name: str
    width: int
    height: int
    seconds: int
    keys_every: int
    most_f: float
    least_speedup: float


CASES = (
    Case("60 s 640x360", 640, 360, 60, 250, 1.1, 0.0),
    Case("60 s 1920x1080", 1920, 1080, 60, 250, 1.1, 1.5),
    Case("20 min 640x360, key 2 s", 640, 360, 1200, 50, 0.12, 2.0),
    Case("20 min 640x360, key 10 s", 640, 360, 1200, 250, 0.35, 2.0),
)


def main() -> int:
    """Make the videos, measure, print a table and a line of JSON, and say whether the targets are met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="Keep the videos here and take them from here.")
    parser.add_argument("--preset", default="veryfast", help="x264's, for the videos made.")
    parser.add_argument("--quick", action="store_true", help="One content only.")
    parser.add_argument("--make-only", action="store_true", help="Make the videos and stop.")
    parser.add_argument("--no-decord", action="store_true", help="Leave the comparison with decord + HF out.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        contents = list(CONTENTS)[-1:] if arguments.quick else list(CONTENTS)
        videos = [
            (case, name, make(folder, case, name, arguments.preset)) for case in CASES for name in contents
        ]
        large = encode(
            folder / "4k.mp4", CONTENTS["camera-like"](3840, 2160), 3840, 2160, 8, 250, "ultrafast"
        )
        if arguments.make_only:
            return 0
        rows = [measure(case, name, path, arguments) for case, name, path in videos]
        memory = {"3840x2160": peak_memory(large), "1920x1080": peak_memory(largest(videos))}
    return report(rows, memory)


def make(folder: Path, case: Case, content: str, preset: str) -> Path:
    """Write one of the videos; a long one is a minute of it, repeated."""
    stem = f"{content.replace(' ', '-')}-{case.width}x{case.height}-{case.keys_every}-{preset}"
    draw = CONTENTS[content](case.width, case.height)
    minute = encode(folder / f"{stem}-60.mp4", draw, case.width, case.height, 60, case.keys_every, preset)
    times = case.seconds // 60
    return minute if times == 1 else repeat(minute, folder / f"{stem}-{case.seconds}.mp4", times)


def largest(videos: list[tuple[Case, str, Path]]) -> Path:
    """Return a video of the largest frames among those measured for speed."""
    return max(videos, key=lambda video: video[0].width)[2]


def measure(case: Case, content: str, path: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Let the three take turns on one video."""
    ours: list[float] = []
    full: list[float] = []
    theirs: list[float] = []
    litakit_pixels(path)  # a warm worker, a file in the page cache, memory touched before
    for _ in range(arguments.rounds):
        full.append(timed(lambda: full_decode(path)))
        ours.append(timed(lambda: litakit_pixels(path)))
        if not arguments.no_decord:
            theirs.append(timed(lambda: decord_pixels(path)))
    row = {
        "case": case.name,
        "content": content,
        "seconds": statistics.median(ours),
        "F": statistics.median(full),
        "in_F": statistics.median(ours) / statistics.median(full),
        "most_F": case.most_f,
        "speedup": statistics.median(theirs) / statistics.median(ours) if theirs else None,
        "least_speedup": case.least_speedup,
    }
    print(line(row), flush=True)
    return row


def line(row: dict[str, object]) -> str:
    """Write one row of the table."""
    speedup = "" if row["speedup"] is None else f"{row['speedup']:6.2f} x decord + HF"
    needed = f" (>= {row['least_speedup']})" if row["least_speedup"] else ""
    return (
        f"{row['case']:26} {row['content']:13} {row['seconds']:7.2f} s  F {row['F']:7.2f} s  "
        f"{row['in_F']:6.3f} F (<= {row['most_F']})  {speedup}{needed}"
    )


def timed(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes, in seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def litakit_pixels(path: Path) -> np.ndarray:
    """Return (100, 3, 224, 224) float32 by litakit."""
    return TRANSFORM.normalize(decode_frames(path, NUM_FRAMES, transform=TRANSFORM).pixels)


def decord_pixels(path: Path) -> np.ndarray:
    """Return the same by decord at native size and the HF image processor."""
    import decord
    from transformers import CLIPImageProcessorPil

    reader = decord.VideoReader(str(path), num_threads=2)
    indices = np.round(np.linspace(0, len(reader) - 1, NUM_FRAMES)).astype(int)
    frames = reader.get_batch(indices).asnumpy()
    return CLIPImageProcessorPil()(list(frames), return_tensors="np")["pixel_values"]


def full_decode(path: Path) -> None:
    """Decode every frame and throw it away, by ffmpeg where there is one."""
    if shutil.which("ffmpeg"):
        command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "2", "-i", str(path), "-f", "null", "-"]
        subprocess.run(command, check=True)
        return
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = 2
        for _ in container.decode(stream):
            pass


def peak_memory(path: Path) -> float:
    """Return the most that parent and worker hold above idle while decoding, in MB of resident memory."""
    decode_frames(path, 1, transform=TRANSFORM)
    worker().close()
    tiny = np.zeros((8, 8, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        from PIL import Image

        Image.fromarray(tiny).save(Path(folder) / "tiny.png")
        decode_frames(Path(folder) / "tiny.png", 1)  # an idle worker that has decoded nothing yet
    processes = [psutil.Process(), psutil.Process(worker().pid)]
    idle = sum(process.memory_info().rss for process in processes)
    peak, stop = [idle], threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            peak[0] = max(peak[0], sum(process.memory_info().rss for process in processes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    litakit_pixels(path)
    stop.set()
    watcher.join()
    return (peak[0] - idle) / 1e6


def report(rows: list[dict[str, object]], memory: dict[str, float]) -> int:
    """Print the rest and return the exit code."""
    for size, megabytes in memory.items():
        print(f"memory above idle, {size}: {megabytes:.0f} MB (<= {MEMORY_LIMIT:.0f})")
    yardstick = "ffmpeg" if shutil.which("ffmpeg") else "PyAV, since there is no ffmpeg binary"
    print(f"F is a full decode by {yardstick}; {FPS} fps, h264 with B-frames")
    print(json.dumps({"rows": rows, "memory_megabytes": memory}))
    met = all(
        row["in_F"] <= row["most_F"] and (row["speedup"] is None or row["speedup"] >= row["least_speedup"])
        for row in rows
    ) and all(megabytes <= MEMORY_LIMIT for megabytes in memory.values())
    print("targets met" if met else "targets missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
