"""Frames of a video file by PyAV: by jumps where its packets can be trusted, else from the start."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Full, Queue
from typing import TYPE_CHECKING

from litakit.video._colour import RgbConverter
from litakit.video._errors import PacketsMisledError, Ping
from litakit.video._jumper import Jumper, Run, runs_of
from litakit.video._orientation import Orientation
from litakit.video._scan import decode_all, open_video
from litakit.video._table import FrameTable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from litakit.video.types import Indices

NUM_LANES = 2
"""Runs that are decoded side by side, by a decoder of one thread each: two threads of one decoder wait for
each other at every end of a run."""
STOP_SECONDS = 0.1

Decoded = tuple[int, "VideoFrame", RgbConverter]


def decode_indices(path: str, table: FrameTable, wanted: Indices, ping: Ping) -> Iterator[Decoded]:
    """Yield (index, decoded frame, what makes it RGB) once for each wanted index, in no particular order.

    Args:
        path: video file.
        table: what `scan` found.
        wanted: ascending indices without repeats.
        ping: called now and then, as a sign of life.

    Raises:
        PacketsMisledError: the decoder does not show what the table promises.
    """
    packets = table.packets
    runs = runs_of(packets, wanted) if packets is not None else []
    if packets is not None and packets.jumps_are_plain and len(runs) > 1 and not table.is_large:
        yield from _in_lanes(path, table, runs, ping)
        return
    container, stream = open_video(path)
    with container:
        converter = _converter(stream, table)
        if packets is None:
            for index, frame in _from_the_start(container, stream, wanted, ping):
                yield index, frame, converter
            return
        jumper = Jumper(container, stream, packets, ping)
        for run in runs:
            for index, frame in jumper.run(run):
                yield index, frame, converter


def _in_lanes(path: str, table: FrameTable, runs: list[Run], ping: Ping) -> Iterator[Decoded]:
    """Share the runs among threads, each with a decoder of its own."""
    results: Queue[Decoded | int | None] = Queue(NUM_LANES)  # the number of a lane that ends; a sign of life
    waiting = iter(runs)  # shared: a list's iterator gives each run to one lane
    stopped = threading.Event()

    def put(item: Decoded | int | None) -> None:
        while not stopped.is_set():
            with suppress(Full):
                results.put(item, timeout=STOP_SECONDS)
                return

    def lane(number: int) -> None:
        try:
            container, stream = open_video(path, num_threads=1)
            with container:
                assert table.packets is not None
                jumper = Jumper(container, stream, table.packets, lambda: put(None))
                converter = _converter(stream, table)
                for run in waiting:
                    for index, frame in jumper.run(run):
                        put((index, frame, converter))
                        if stopped.is_set():
                            return
        finally:
            put(number)

    with ThreadPoolExecutor(NUM_LANES) as pool:
        try:
            lanes = {number: pool.submit(lane, number) for number in range(NUM_LANES)}
            while lanes:
                item = results.get()
                if isinstance(item, int):
                    lanes.pop(item).result()
                elif item is None:
                    ping()
                else:
                    yield item
        finally:
            stopped.set()


def _converter(stream: VideoStream, table: FrameTable) -> RgbConverter:
    return RgbConverter(stream.time_base, Orientation(table.rotation, table.is_mirrored))


def _from_the_start(
    container: InputContainer, stream: VideoStream, wanted: Indices, ping: Ping
) -> Iterator[tuple[int, VideoFrame]]:
    left = iter(wanted.tolist())
    target = next(left, None)
    index = 0
    for frame, _ in decode_all(container, stream):
        if frame is None:
            continue
        if index == target:
            yield index, frame
            target = next(left, None)
            if target is None:
                return
        index += 1
        if index % 50 == 0:
            ping()
    raise PacketsMisledError(f"frame {target} of a file does not come a second time")
