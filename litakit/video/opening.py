"""Opening many sources to see whether they are whole, by several workers side by side."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from litakit.video._client import Worker, worker
from litakit.video._job import Request
from litakit.video._sources import IMAGE_SUFFIXES, kind_of
from litakit.video.transform import FrameTransform
from litakit.video.types import VideoError, VideoInfo

DEADLINE_SECONDS = 120.0
MAX_WORKERS = 8
SOURCES_A_WORKER = 32
"""A worker takes half a second to start, as long as opening so many."""
NUM_FRAMES = 3  # the first, the middle and the last
SMALL = FrameTransform(size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resample="bilinear")


class Source(NamedTuple):
    """What is to be opened: a file or folder, and the frames a second of a folder of frames."""

    path: Path
    fps: float | None = None


def open_all(
    sources: Sequence[Source],
    *,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> list[VideoInfo | VideoError]:
    """Open every source and return facts about it, or why it cannot be opened.

    The first, the middle and the last frame are decoded. A video's container is read from beginning to end
    before that, and all of it is decoded where its packets or these frames leave a doubt: a file that is cut
    off, lacks packets, or begins or ends in garbage is found. The frames of a folder are listed with their
    sizes: empty ones and links that lead nowhere are found wherever they are. What is not found is garbage
    elsewhere, in packets and in frames' files that are there and not empty.

    Args:
        sources: files and folders.
        num_workers: decoding processes; None takes one a core, at most 8, and fewer for few sources.
        progress: called with the sources opened so far and all there are.
        deadline_seconds: how long a decoder may go without a sign of life.

    Returns:
        For each source its facts, with what is odd about it among the warnings; or the error.

    Raises:
        ValueError: `num_workers` is not positive.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, got {num_workers}")
    most = min(num_workers or min(MAX_WORKERS, _num_cores()), max(1, len(sources) // SOURCES_A_WORKER))
    results = _by_one if most == 1 else partial(_by_several, num_workers=most)
    opened: dict[int, VideoInfo | VideoError] = {}
    with closing(results(sources, deadline_seconds)) as running:
        for number, result in running:
            opened[number] = result
            if progress is not None:
                progress(len(opened), len(sources))
    return [opened[number] for number in range(len(sources))]


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Results = Generator[tuple[int, VideoInfo | VideoError], None, None]


def _by_one(sources: Sequence[Source], deadline_seconds: float) -> Results:
    """Open one source after another by the process's own worker, which goes on living."""
    for number, source in enumerate(sources):
        yield number, _open(worker(), source, deadline_seconds)


def _by_several(sources: Sequence[Source], deadline_seconds: float, num_workers: int) -> Results:
    """Open sources by workers that end with this, a thread to wait for each."""
    workers = [Worker(os.getpid()) for _ in range(num_workers)]
    free = list(workers)
    local = threading.local()
    pool = ThreadPoolExecutor(num_workers, initializer=lambda: setattr(local, "worker", free.pop()))

    def by_mine(source: Source) -> VideoInfo | VideoError:
        return _open(local.worker, source, deadline_seconds)

    try:
        futures = {pool.submit(by_mine, source): number for number, source in enumerate(sources)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for one in workers:  # those that are still at work, after Ctrl-C: their threads see the end, and end
            if (pid := one.pid) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        pool.shutdown(wait=True)
        for one in workers:
            one.close()


def _open(by: Worker, source: Source, deadline_seconds: float) -> VideoInfo | VideoError:
    path = str(source.path)
    try:
        path, kind = kind_of(source.path)
        file = str(source.path.absolute())
        request = Request(path, file, NUM_FRAMES, fps=source.fps, transform=SMALL)
        if kind == "frames":
            return _open_folder(by, request, deadline_seconds)
        return by.decode(request, deadline_seconds)[2]
    except VideoError as error:
        return error
    except OSError as error:
        return VideoError(path, error.strerror or str(error))


def _open_folder(by: Worker, request: Request, deadline_seconds: float) -> VideoInfo:
    bad = []
    try:
        info = by.decode(request, deadline_seconds)[2]
    except VideoError as error:
        info = by.decode(replace(request, num_frames=0), deadline_seconds)[2]  # is the first frame good?
        bad.append(error.reason)
    return replace(info, warnings=(*info.warnings, *bad, *_lost_frames(request.file)))


def _lost_frames(folder: str) -> Iterator[str]:
    """Say which frames' files are empty, or links to nothing, by a listing alone."""
    empty, broken = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.stat().st_size == 0 and Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                    empty.append(entry.name)
            except OSError:
                broken.append(entry.name)
    if empty:
        yield f"{len(empty)} of its frames are empty files (0 bytes), such as {min(empty)}"
    if broken:
        yield f"{len(broken)} of its frames are links that lead nowhere, such as {min(broken)}"
