"""RunWriter: how the training process says how far it is, and hears that it is to stop."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from litakit.rows import RowError, resume_json_lines
from litakit.training.failures import Failure, diagnose
from litakit.training.processes import birth_of
from litakit.training.run_folder import (
    ENDED,
    METRICS_FILE,
    STATUS_FILE,
    RunFormatError,
    RunStatus,
    State,
    is_stop_asked,
    now,
    read_status,
    write_record,
)

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 0.5


class RunWriter:
    """The side of the training process: says how far it is, and hears whether it is to stop.

    One process of a run writes, that of rank 0. An exception that leaves the `with` block is written down as
    the run's failure, and goes on its way.

    Args:
        folder: of the run.
        total_steps: optimiser steps that are to be taken; None where that is not known yet.
        step: steps that were taken before, when the run is resumed; lines measured after it are taken out,
            because these steps are taken again.

    Attributes:
        folder: of the run.
        status: what was last said.

    Raises:
        RunFormatError: the folder holds files that cannot be gone on with.

    >>> import tempfile
    >>> from litakit.training.run_folder import read_metrics
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RunWriter(folder, total_steps=2) as writer:
    ...         for step in (1, 2):
    ...             writer.append_metrics(step, loss=1 / step)
    ...             writer.update(step=step)
    ...     read_status(Path(folder)).state, read_metrics(Path(folder))[-1]
    ('done', {'step': 2, 'loss': 0.5})
    """

    def __init__(
        self, folder: str | os.PathLike[str], total_steps: int | None = None, *, step: int = 0
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            before = read_status(self.folder)
        except FileNotFoundError:
            before = RunStatus("starting", started=now())
        pid = os.getpid()
        self.status = replace(before, state="starting", step=step, total_steps=total_steps, error=None)
        self.status = replace(self.status, pid=pid, birth=birth_of(pid), host=socket.gethostname())
        path = self.folder / METRICS_FILE
        try:
            resume_json_lines(path, lambda _, row: row.get("step", 0) <= step)
        except RowError as error:
            raise RunFormatError(f"{error}; move {METRICS_FILE} away to go on without it") from error
        self._written = float("-inf")
        self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self.fail(error)
            elif self.status.state not in ENDED:
                self.finish()
        except OSError:
            if error is None:
                raise
            logger.exception(
                "the run's end could not be written down"
            )  # the first error is the one to be seen

    @property
    def is_stop_asked(self) -> bool:
        """Whether the run is to stop after this step."""
        return is_stop_asked(self.folder)

    def update(
        self, *, step: int | None = None, epoch: float | None = None, total_steps: int | None = None
    ) -> None:
        """Say that training runs, and how far it is; written at most twice a second.

        Args:
            step: optimiser steps taken.
            epoch: passes over the data.
            total_steps: steps that are to be taken.
        """
        status = replace(self.status, state="running")
        if step is not None:
            status = replace(status, step=step)
        if epoch is not None:
            status = replace(status, epoch=epoch)
        if total_steps is not None:
            status = replace(status, total_steps=total_steps)
        is_news = status.state != self.status.state or status.step == status.total_steps
        self.status = status
        if is_news or time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self._write()

    def append_metrics(self, step: int, **values: Any) -> None:
        """Append a line of what was measured; a reader sees it at once, and whole.

        Args:
            step: optimiser steps taken.
            values: such as loss, lr, grad_norm, seconds, samples_per_second, tokens_per_second, memory_mb;
                numbers of numpy and torch are taken as floats.
        """
        line = json.dumps({"step": step, **values}, ensure_ascii=False, default=float)
        with (self.folder / METRICS_FILE).open("ab") as file:
            file.write(line.encode() + b"\n")

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Say, while the block runs, that a checkpoint or the model is being saved."""
        before = self.status.state
        self._write("saving")
        yield
        self._write(before)

    def finish(self) -> None:
        """Say that training ended well: "stopped" if that was asked for and steps are left, else "done"."""
        steps = self.status.total_steps
        is_left = steps is None or self.status.step < steps
        self._write("stopped" if is_left and self.is_stop_asked else "done")

    def fail(self, error: BaseException | Failure) -> None:
        """Say that training ended as it should not.

        Args:
            error: an exception, whose cause is looked for, or the cause.
        """
        if isinstance(error, BaseException):
            text = "".join(traceback.format_exception(error))
            error = diagnose(text) or Failure("error", repr(error), "")
        self.status = replace(self.status, error=error)
        self._write("failed")

    def _write(self, state: State | None = None) -> None:
        self.status = replace(self.status, state=state or self.status.state, updated=now())
        write_record(self.folder / STATUS_FILE, self.status)
        self._written = time.monotonic()
