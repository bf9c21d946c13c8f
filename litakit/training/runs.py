"""Run: a training run seen from outside, by its folder alone, also after the kernel that launched it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from litakit.training.failures import Failure
from litakit.training.processes import is_same_process, members, send_signal
from litakit.training.run_folder import (
    CHECKPOINTS_FOLDER,
    COMMAND_FILE,
    CONFIG_FILE,
    ENDED,
    LOG_FILE,
    MODEL_FOLDER,
    PROCESS_FILE,
    STATUS_FILE,
    STOP_FILE,
    RunCommand,
    RunProcess,
    RunStatus,
    now,
    read_metrics,
    read_record,
    read_status,
    write_record,
)
from litakit.training.run_log import cause_of_end, last_lines_of, shown_lines

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_ROOT = "runs"
POLL_SECONDS = 0.1
# A run that another machine does cannot be looked at: it counts as alive as long as it says something.
SILENT_SECONDS = 1800.0
# Between the folder and the first process of a run lies a moment in which it has none.
LAUNCH_SECONDS = 30.0
LINGER_SECONDS = 30.0


@dataclass(frozen=True)
class Run:
    """A training run, by its folder; the training itself goes on whether or not anybody looks.

    Attributes:
        folder: of the run, absolute.
    """

    folder: Path

    @classmethod
    def attach(cls, id_or_path: str | os.PathLike[str], root: str | os.PathLike[str] = DEFAULT_ROOT) -> Run:
        """Return the run with an id, or in a folder.

        Args:
            id_or_path: the id, the end of it that no other run has, or the folder.
            root: folder of the runs.

        Raises:
            FileNotFoundError: there is no such run; the message names those that there are.
            ValueError: the end of an id that several runs have.
        """
        for folder in (Path(root) / id_or_path, Path(id_or_path)):
            if (folder / STATUS_FILE).is_file():
                return cls(folder.absolute())
        ids = sorted((path.parent.name for path in Path(root).glob(f"*/{STATUS_FILE}")), reverse=True)
        fitting = [name for name in ids if name.endswith(str(id_or_path))]
        if len(fitting) > 1:
            raise ValueError(
                f"expected the id of one run, got {str(id_or_path)!r}, which fits {', '.join(fitting)}"
            )
        if not fitting:
            there = f"the newest are {', '.join(ids[:5])}" if ids else "there are none"
            raise FileNotFoundError(f"no run {str(id_or_path)!r} in {root}: {there}")
        return cls((Path(root) / fitting[0]).absolute())

    @property
    def id(self) -> str:
        """Its name, that of its folder."""
        return self.folder.name

    @property
    def config_file(self) -> Path:
        """The config that it runs by."""
        return self.folder / CONFIG_FILE

    @property
    def checkpoints(self) -> Path:
        """Folder of its checkpoints."""
        return self.folder / CHECKPOINTS_FOLDER

    @property
    def model(self) -> Path:
        """Folder of the model that it makes; `litakit.load` opens it."""
        return self.folder / MODEL_FOLDER

    @property
    def command(self) -> RunCommand:
        """How it was started."""
        return read_record(self.folder / COMMAND_FILE, RunCommand)

    @property
    def status(self) -> RunStatus:
        """How far it is; "failed", with the cause, where its processes are gone without a word about it.

        Raises:
            RunFormatError: status.json cannot be used.
        """
        status = read_status(self.folder)
        if status.state not in ENDED and not self.is_alive:
            status = read_status(self.folder)  # it may have said so between the two looks
        if status.state not in ENDED and not self.is_alive:
            return replace(status, state="failed", error=cause_of_end(self.folder, status, self._process()))
        if status.state == "failed" and status.error is not None and status.error.kind == "peer_lost":
            return replace(status, error=cause_of_end(self.folder, status, self._process()))
        return status

    @property
    def is_alive(self) -> bool:
        """Whether a process of it lives; of a run on another machine, whether it said something of late."""
        process = self._process()
        status = read_status(self.folder)
        host = process.host if process is not None else status.host
        if host and host != socket.gethostname():
            return status.state not in ENDED and _seconds_since(status.updated) < SILENT_SECONDS
        if process is not None:
            return bool(self._members(process))
        if status.pid is not None:
            return is_same_process(status.pid, status.birth)
        return status.state not in ENDED and _seconds_since(status.updated) < LAUNCH_SECONDS

    @property
    def is_stopping(self) -> bool:
        """Whether it lives and was asked to stop."""
        return (self.folder / STOP_FILE).exists() and self.is_alive

    @property
    def metrics(self) -> pd.DataFrame:
        """What it measured so far: a row a step, with columns such as step, loss, lr, grad_norm, seconds."""
        import pandas as pd

        rows = read_metrics(self.folder)
        return pd.DataFrame.from_records(rows) if rows else pd.DataFrame({"step": pd.Series(dtype="int64")})

    def log(self, last_lines: int | None = 50) -> str:
        """Return what its processes said.

        Args:
            last_lines: how many lines from the end, of the last 256 KiB; None for all of it. Of a progress
                bar, which writes over its own line, the last state counts.
        """
        return "\n".join(last_lines_of(self.folder / LOG_FILE, last_lines))

    def follow(self) -> Iterator[str]:
        """Yield the lines of its log from the beginning, as they come, until it has ended."""
        path, rest = self.folder / LOG_FILE, b""
        with path.open("rb") as file:
            while True:
                has_ended = not self.is_alive
                *lines, rest = (rest + file.read()).split(b"\n")
                for line in lines:
                    yield from shown_lines(line)
                if has_ended:
                    yield from shown_lines(rest)
                    return
                time.sleep(POLL_SECONDS)

    def stop(self, timeout: float | None = None) -> RunStatus:
        """Ask it to stop after this step, saving; a run that has ended is left as it is.

        Args:
            timeout: seconds to wait for its end; None returns at once.

        Returns:
            How far it is, at the end or when the time is up.
        """
        if self.is_alive:
            (self.folder / STOP_FILE).touch()
        deadline = time.monotonic() + (timeout or 0.0)
        while self.is_alive and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return self.status

    def kill(self, grace_seconds: float = 5.0) -> RunStatus:
        """End all its processes now, without saving: first asked to (SIGTERM), then not (SIGKILL).

        Args:
            grace_seconds: between the two.

        Returns:
            How it ended: "failed", of the kind "killed", unless it had ended before.

        Raises:
            RuntimeError: it runs on another machine, or does not end.
        """
        process = self._process()
        status = read_status(self.folder)
        host = process.host if process is not None else status.host
        if host and host != socket.gethostname():
            raise RuntimeError(
                f"{self.id} runs on {host} and can be killed only there (scancel); stop() works from here"
            )
        was_alive = self.is_alive
        for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
            deadline = time.monotonic() + seconds
            send_signal(self._all(process, status), number)
            while (left := self._all(process, status)) and time.monotonic() < deadline:
                if number == signal.SIGKILL:
                    send_signal(left, number)  # also what was started meanwhile
                time.sleep(POLL_SECONDS)
        if left := self._all(process, status):
            raise RuntimeError(
                f"{self.id} does not end: the processes {left} wait for a device or a file system"
            )
        status = read_status(self.folder)
        if was_alive and status.state not in ENDED:
            error = Failure(
                "killed", "killed as asked, without saving", "resume goes on from its last checkpoint"
            )
            status = replace(status, state="failed", error=error, updated=now())
            write_record(self.folder / STATUS_FILE, status)
        return self.status

    def wait(self, timeout: float | None = None) -> RunStatus:
        """Wait until it has ended.

        Args:
            timeout: seconds; None waits as long as it takes.

        Returns:
            How it ended.

        Raises:
            TimeoutError: it had not ended by then; it goes on.
        """
        begin = time.monotonic()
        ended = None
        while self.is_alive:
            moment = time.monotonic()
            if read_status(self.folder).state in ENDED:
                ended = ended or moment
                if moment - ended > LINGER_SECONDS:  # what it had to say is said; some libraries end slowly
                    break
            if timeout is not None and moment - begin >= timeout:
                status = self.status
                raise TimeoutError(
                    f"{self.id} is {status.state} at step {status.step} after {timeout:g} s of waiting"
                )
            time.sleep(POLL_SECONDS)
        return self.status

    def __repr__(self) -> str:
        from litakit.training.run_views import run_text

        return run_text(self)

    def _repr_html_(self) -> str:
        from litakit.training.run_views import run_html

        return run_html(self)

    def _process(self) -> RunProcess | None:
        try:
            return read_record(self.folder / PROCESS_FILE, RunProcess)
        except FileNotFoundError:
            return None

    def _members(self, process: RunProcess) -> tuple[int, ...]:
        """Return the processes of the run; only its leader, where that is enough to know that it lives."""
        if is_same_process(process.pid, process.birth):
            return (process.pid,)
        return members(process.token)

    def _all(self, process: RunProcess | None, status: RunStatus) -> tuple[int, ...]:
        if process is not None:
            leads = is_same_process(process.pid, process.birth)
            return members(process.token, process.pid if leads else None)
        if status.pid is not None and is_same_process(status.pid, status.birth):
            return (status.pid,)
        return ()


def _seconds_since(moment: str) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return float("inf")
