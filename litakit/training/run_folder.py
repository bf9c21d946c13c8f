"""A run as a folder: its files, as training writes them and as everybody else reads them.

``runs/<id>/`` holds

- ``config.yaml``, ``command.json``, ``versions.json``: what was asked for, how it was started, with what;
- ``status.json``: how far it is; ``process.json``, ``exit.json``: its processes, and how they ended;
- ``metrics.jsonl``: one object a line, with ``step`` and whatever was measured there;
- ``log.txt``: what all its processes say;
- ``STOP``, when it is to stop after this step;
- ``checkpoints/`` and ``model/``.

Nothing here imports torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from litakit.files import write_atomic
from litakit.rows import RowError, parse_json, read_json
from litakit.training.failures import Failure

SCHEMA_VERSION = 1
CONFIG_FILE = "config.yaml"
COMMAND_FILE = "command.json"
VERSIONS_FILE = "versions.json"
STATUS_FILE = "status.json"
PROCESS_FILE = "process.json"
EXIT_FILE = "exit.json"
METRICS_FILE = "metrics.jsonl"
LOG_FILE = "log.txt"
STOP_FILE = "STOP"
CHECKPOINTS_FOLDER = "checkpoints"
MODEL_FOLDER = "model"

State = Literal["starting", "running", "saving", "stopped", "done", "failed"]
ENDED: tuple[State, ...] = ("stopped", "done", "failed")


class RunFormatError(ValueError):
    """A file of a run that cannot be read: cut short, of another version, or not what it should be."""


@dataclass(frozen=True)
class RunStatus:
    """How far a run is; times are ISO 8601 in UTC.

    Attributes:
        state: "starting" until the first step is about to be taken, then "running" and "saving"; at the end
            "done", "stopped" (asked to, and saved) or "failed".
        step: optimiser steps taken.
        total_steps: that are to be taken; None until that is known.
        epoch: passes over the data, fractions included.
        pid, birth, host: of the process that writes this.
        started: when the run was launched for the first time.
        updated: when this was written.
        error: of a run that failed.
    """

    state: State
    step: int = 0
    total_steps: int | None = None
    epoch: float = 0.0
    pid: int | None = None
    birth: str | None = None
    host: str = ""
    started: str = ""
    updated: str = ""
    error: Failure | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class RunCommand:
    """How a run was started, enough to start it again.

    Attributes:
        argv: the command.
        cwd: the folder that it runs in.
        environment: variables that were set for it.
        withheld: names of variables that were set for it and are not written down, because they are secrets.
        inherited: variables of ours and of the libraries that were there anyway, for the record only.
    """

    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    withheld: tuple[str, ...] = ()
    inherited: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class RunProcess:
    """The process that leads a run's process group.

    Attributes:
        pid, birth, host: of that process.
        token: that all processes of the run carry in their environment.
        started: when, ISO 8601 in UTC.
        log_offset: where in log.txt the words of this start begin, in bytes.
    """

    pid: int
    birth: str | None
    host: str
    token: str
    started: str
    log_offset: int = 0
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class RunExit:
    """How a run's process ended: its exit code, or minus the signal; and when, ISO 8601 in UTC."""

    returncode: int
    ended: str
    schema_version: int = SCHEMA_VERSION


Record = TypeVar("Record", RunStatus, RunCommand, RunProcess, RunExit)


def now() -> str:
    """Return this moment, ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_record(path: Path, record: RunStatus | RunCommand | RunProcess | RunExit) -> None:
    """Write a record as JSON, whole or not at all."""
    write_atomic(path, json.dumps(asdict(record), ensure_ascii=False, indent=1) + "\n")


def read_record(path: Path, kind: type[Record]) -> Record:
    """Read a record.

    Args:
        path: the file.
        kind: what it holds.

    Raises:
        FileNotFoundError: there is no such file.
        RunFormatError: it is cut short, of another version, or not that record; the message names the file.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        content = read_json(path)
    except RowError as error:
        raise RunFormatError(f"{error}; a file cut short or edited by hand?") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise RunFormatError(
            f"{path}: expected a JSON object with schema_version, got none; no file of a run?"
        )
    if version != SCHEMA_VERSION:
        what = (
            "a newer litakit wrote it, update this one" if version > SCHEMA_VERSION else "too old to be read"
        )
        raise RunFormatError(f"{path}: expected schema_version {SCHEMA_VERSION}, got {version}: {what}")
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        faults = ", ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)
        )
        raise RunFormatError(f"{path}: not a {kind.__name__}: {faults}") from error


def read_status(folder: Path) -> RunStatus:
    """Read how far the run in a folder says it is.

    Raises:
        FileNotFoundError: there is no run in the folder.
        RunFormatError: the file cannot be used.
    """
    return read_record(folder / STATUS_FILE, RunStatus)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read what a run measured, a dict a line; a last line that is being written is left out.

    Raises:
        RunFormatError: a line before the last is not a JSON object; with file and line.
    """
    path = folder / METRICS_FILE
    content = path.read_bytes() if path.is_file() else b""
    # A line is appended together with its end, so what has none is being written, or was cut off.
    lines = content.split(b"\n")[:-1]
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = parse_json(line.decode("utf-8", errors="replace"), path, first_line=number)
        except RowError as error:
            raise RunFormatError(str(error)) from error
        if not isinstance(row, dict):
            raise RunFormatError(f"{path}:{number}: expected a JSON object, got {str(row)[:80]}")
        rows.append(row)
    return rows


def is_stop_asked(folder: Path) -> bool:
    """Say whether the run in a folder is to stop after this step."""
    return (folder / STOP_FILE).exists()
