"""The worker: a process that decodes videos, one job after another, until its parent closes the pipe.

It loads no torch. Requests come through standard input; results go through what was standard output, which is
pointed at standard error meanwhile, so that no library's words mix with them.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import struct
import sys
import threading
import time
from queue import SimpleQueue
from typing import Any, BinaryIO

import numpy as np

from litakit.video import _extract_job, _job
from litakit.video._errors import FolderError
from litakit.video.types import Pixels, VideoError

PING_SECONDS = 0.2
Request = _job.Request | _extract_job.ExtractRequest

# After this much more than the parent's patience the worker ends itself: the parent may be gone.
GRACE_SECONDS = 5.0
HEADER = struct.Struct("<Q")


def main() -> None:
    """Serve requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: SimpleQueue[tuple[Request, float]] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    pipe = Pipe(results)
    pipe.send("ready", None)
    while True:
        request, patience = requests.get()
        pipe.patience = patience
        _serve(request, pipe)


def _listen(source: BinaryIO, requests: SimpleQueue[tuple[Request, float]]) -> None:
    """Take requests in; end the whole process when there is no parent any more."""
    while (header := source.read(HEADER.size)) and len(header) == HEADER.size:
        requests.put(pickle.loads(source.read(HEADER.unpack(header)[0])))  # noqa: S301  # law: our own parent's words
    os._exit(0)


class Pipe:
    """The way back to the parent: messages, and frames as bare bytes behind them."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.patience = math.inf
        self.last_sent = 0.0

    def send(self, kind: str, value: Any, raw: Pixels | None = None) -> None:
        """Send one message: its kind, anything picklable, and the bytes of a frame."""
        body = pickle.dumps((kind, value), protocol=pickle.HIGHEST_PROTOCOL)
        self.stream.write(HEADER.pack(len(body)) + body)
        if raw is not None:
            self.stream.write(raw.data.cast("B"))
        self.stream.flush()
        self.last_sent = time.monotonic()
        self.wind()

    def wind(self) -> None:
        """Set the clock at which the system ends this process, even in the middle of a decoder's loop."""
        if hasattr(signal, "setitimer"):
            seconds = 0.0 if math.isinf(self.patience) else self.patience + GRACE_SECONDS
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def plan(self, plan: _job.Plan) -> None:
        """Announce the frames that will come."""
        self.send("plan", plan)

    def frame(self, slot: int, pixels: Pixels) -> None:
        """Send one frame."""
        self.send("frame", (slot, pixels.shape), np.ascontiguousarray(pixels))

    def ping(self) -> None:
        """Send a sign of life, if the last one is a while ago."""
        if time.monotonic() - self.last_sent > PING_SECONDS:
            self.send("ping", None)


def _serve(request: Request, pipe: Pipe) -> None:
    pipe.wind()
    try:
        if isinstance(request, _extract_job.ExtractRequest):
            answer: tuple[str, Any] = ("done", _extract_job.run(request, pipe.ping))
        else:
            answer = ("done", _job.run(request, pipe))
    except VideoError as error:
        answer = ("error", error.reason)
    except FolderError as error:
        answer = ("not written", error.error)
    except MemoryError:
        answer = ("error", "not enough memory to decode it")
    except Exception as error:  # noqa: BLE001  # law: the worker lives on; its parent says what happened
        answer = ("error", f"the decoder failed: {type(error).__name__}: {error}")
    pipe.patience = math.inf
    pipe.send(*answer)
