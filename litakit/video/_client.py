"""The parent's end of the worker: starts it, asks it, and ends it at a deadline."""

from __future__ import annotations

import atexit
import fcntl
import functools
import logging
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from litakit.video._errors import FolderError
from litakit.video._extract_job import Extracted, ExtractRequest
from litakit.video._job import Plan, Request
from litakit.video._worker import HEADER
from litakit.video.types import Pixels, VideoError, VideoInfo

logger = logging.getLogger(__name__)

START_SECONDS = 60.0
# So that decoding need not wait until a frame is fetched; Linux gives 64 KiB, not half a frame of 224x224.
PIPE_BYTES = 1 << 20
# The worker finds this package where its parent did, and runs no script of the parent's again.
BOOT = (
    "import sys; root = sys.argv[1]; sys.path[:0] = [] if root in sys.path else [root]; "
    "from litakit.video._worker import main; main()"
)


def worker() -> Worker:
    """Return this process's decoding worker; one is enough, since it uses every core it may."""
    return _worker_of(os.getpid())


@functools.cache
def _worker_of(pid: int) -> Worker:
    made = Worker(pid)
    atexit.register(made.close)
    return made


class Worker:
    """A decoding process that is started when first needed and after each end."""

    def __init__(self, owner_pid: int) -> None:
        self.owner_pid = owner_pid
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.complaints: BinaryIO | None = None

    @property
    def pid(self) -> int | None:
        """The process's number; None where none runs."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def decode(self, request: Request, deadline_seconds: float) -> tuple[Plan, Pixels, VideoInfo]:
        """Have frames decoded.

        Args:
            request: what is wanted.
            deadline_seconds: how long the worker may be silent.

        Returns:
            The plan, (n, H, W, 3) uint8 frames by their place in the plan, and facts about the source.

        Raises:
            VideoError: the source cannot be read, or the worker was silent too long or died.
        """
        with self.lock, self._ended_where_broken():
            return self._decode(request, deadline_seconds)

    def extract(self, request: ExtractRequest, deadline_seconds: float) -> Extracted:
        """Have frames written into a folder.

        Args:
            request: what is wanted.
            deadline_seconds: how long the worker may be silent.

        Raises:
            VideoError: the source cannot be read, or the worker was silent too long or died.
            FolderError: the folder cannot be written.
        """
        with self.lock, self._ended_where_broken():
            return self._extract(request, deadline_seconds)

    def close(self) -> None:
        """End the process, if it runs and is ours."""
        if os.getpid() == self.owner_pid:
            self._end()

    @contextmanager
    def _ended_where_broken(self) -> Iterator[None]:
        """Pass errors on, and end the process where it may still be at the work that they stopped."""
        try:
            yield
        except VideoError as error:
            if isinstance(error.__cause__, _SilentError):
                self._end()
            raise
        except FolderError:
            raise
        except BaseException:  # law: Ctrl-C too: what is still in the pipe belongs to nobody; raised on
            self._end()
            raise

    def _extract(self, request: ExtractRequest, deadline_seconds: float) -> Extracted:
        try:
            self._start()
            self._write(pickle.dumps((request, deadline_seconds)))
            for kind, value in self._messages(deadline_seconds):
                if kind == "error":
                    raise VideoError(request.source, value)
                if kind == "not written":
                    raise FolderError(value)
                if kind == "done":
                    extracted: Extracted = value
                    return extracted
        except _SilentError as silent:
            raise VideoError(request.source, str(silent)) from silent
        raise AssertionError("the worker's messages end with done or an error")

    def _decode(self, request: Request, deadline_seconds: float) -> tuple[Plan, Pixels, VideoInfo]:
        path = request.source
        try:
            self._start()
            self._write(pickle.dumps((request, deadline_seconds)))
            plan: Plan | None = None
            pixels: Pixels = np.empty((0, 0, 0, 3), dtype=np.uint8)
            for kind, value in self._messages(deadline_seconds):
                if kind == "plan":
                    plan, pixels = value, np.empty((0, 0, 0, 3), dtype=np.uint8)
                elif kind == "frame":
                    slot, shape = value
                    if pixels.shape[1:] != shape:
                        assert plan is not None
                        pixels = np.empty((len(plan.indices), *shape), dtype=np.uint8)
                    self._read_into(pixels[slot].data.cast("B"), deadline_seconds)
                elif kind == "error":
                    raise VideoError(path, value)
                elif kind == "done":
                    assert plan is not None
                    return plan, pixels, value
        except _SilentError as silent:
            raise VideoError(path, str(silent)) from silent
        raise AssertionError("the worker's messages end with done or error")

    def _start(self) -> None:
        if self.pid is not None:
            return
        self._end()
        root = str(Path(__file__).parents[2])
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", BOOT, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            start_new_session=True,
            bufsize=0,
        )
        assert self.process.stdout is not None
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # a system's limit may be lower: then frames wait for the pipe
                fcntl.fcntl(self.process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        logger.debug("decoding worker started, pid %d", self.process.pid)
        next(self._messages(START_SECONDS))

    def _end(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        if self.complaints is not None:
            self.complaints.close()
            self.complaints = None

    def _messages(self, deadline_seconds: float) -> Iterator[tuple[str, Any]]:
        while True:
            header = bytearray(HEADER.size)
            self._read_into(memoryview(header), deadline_seconds)
            body = bytearray(HEADER.unpack(header)[0])
            self._read_into(memoryview(body), deadline_seconds)
            yield pickle.loads(body)  # noqa: S301  # law: our own worker's words, through a pipe of ours

    def _write(self, body: bytes) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(HEADER.pack(len(body)) + body)
        except BrokenPipeError as error:
            raise _SilentError(self._obituary()) from error

    def _read_into(self, target: memoryview, deadline_seconds: float) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        source = self.process.stdout.fileno()
        poll = select.poll()
        poll.register(source, select.POLLIN)
        end = time.monotonic() + deadline_seconds
        place = 0
        while place < len(target):
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise _SilentError(
                    f"the decoder gave no sign of life for {deadline_seconds:g} s and was ended "
                    "(deadline_seconds= sets how long it may take)"
                )
            count = os.readv(source, [target[place:]])
            if count == 0:
                raise _SilentError(self._obituary())
            place += count
            end = time.monotonic() + deadline_seconds

    def _obituary(self) -> str:
        assert self.process is not None
        assert self.complaints is not None
        code = self.process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self.complaints.seek(0)
        last = self.complaints.read().decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        return f"the decoding process died ({how}{': ' + last if last else ''})"


class _SilentError(Exception):
    """The worker says nothing any more."""
