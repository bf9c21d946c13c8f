"""How long until the first token of a first and of a second question, and of a whole `litakit ask`.

    python scripts/benchmarks/assistant.py [--model tiny] [--video VIDEO] [--rounds 5]

The first question pays for decoding 100 frames, encoding them and reading the prompt; the second only
for its own words. No disk cache. Target: the second at least 15 times faster, on 60 s of 640x360. Exit
code 1 where it is missed. Measure on an otherwise idle machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

import litakit

TARGET_RATIO = 15.0
TARGET_COLD_SECONDS = 12.0
TARGET_LOADED_SECONDS = 2.0
FIRST = "When does the red circle appear?"
SECOND = "When does the blue square leave the picture, and what happens right before that?"


def main() -> int:
    """Measure, print a line for each figure and one of JSON, and say whether the targets are met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--video", type=Path, help="By default 60 s of 640x360, made here.")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = arguments.video or write_video(Path(folder) / "moving.mp4")
        figures = {
            **cold_start(arguments.model, video, Path(folder)),
            **session(arguments.model, video, arguments.rounds),
        }
    for name, value in figures.items():
        print(f"{name:32} {value:10.3f}")
    print(json.dumps(figures))
    met = (
        figures["first_over_second"] >= TARGET_RATIO
        and figures["cold_ask_seconds"] < TARGET_COLD_SECONDS
        and figures["loaded_ask_seconds"] < TARGET_LOADED_SECONDS
    )
    print("targets met" if met else "targets missed")
    return 0 if met else 1


def write_video(path: Path, seconds: int = 60, fps: int = 25, width: int = 640, height: int = 360) -> Path:
    """Write moving stripes with a little grain, as h264 with B-frames."""
    rng = np.random.default_rng(0)
    grain = rng.integers(0, 24, (height, width, 3), dtype=np.uint8)
    columns, rows = np.arange(width)[None, :], np.arange(height)[:, None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(seconds * fps):
            pattern = ((columns + 3 * index) % 200 + (rows + index) % 120).astype(np.uint8) // 2
            picture = pattern[..., None] + np.roll(grain, 7 * index, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def timed(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cold_start(model: str, video: Path, folder: Path) -> dict[str, float]:
    """Wall time of `litakit ask` in a process of its own, its features not cached, and then cached."""
    environment = {**os.environ, "LITAKIT_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "litakit", "ask", str(video), FIRST, "--model", model, "--json"]

    def ask() -> None:
        subprocess.run(command, env=environment, check=True, capture_output=True)

    helped = [sys.executable, "-m", "litakit", "--help"]
    return {
        "help_seconds": timed(lambda: subprocess.run(helped, check=True, capture_output=True)),
        "cold_ask_seconds": timed(ask),
        "cached_ask_seconds": timed(ask),
    }


def session(model: str, video: Path, rounds: int) -> dict[str, float]:
    """Times to the first token, medians over fresh sessions, after one that warms everything up."""
    assistant = litakit.load(model, cache=False)
    assistant.open(video).ask(SECOND, max_new_tokens=2)
    first, second, whole, opened = [], [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        conversation = assistant.open(video)
        opened.append(time.perf_counter() - started)
        conversation.ask(FIRST, max_new_tokens=1)
        first.append(time.perf_counter() - started)
        conversation.reset()
        second.append(timed(lambda: conversation.ask(SECOND, max_new_tokens=1)))  # noqa: B023
        whole.append(timed(lambda: assistant.open(video).ask(FIRST)))
    return {
        "open_seconds": statistics.median(opened),
        "first_token_of_first_seconds": statistics.median(first),
        "first_token_of_second_seconds": statistics.median(second),
        "first_over_second": statistics.median(first) / statistics.median(second),
        "loaded_ask_seconds": statistics.median(whole),
    }


if __name__ == "__main__":
    sys.exit(main())
