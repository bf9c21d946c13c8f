"""Runs as text and as HTML: one run, and a table of runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from litakit.training.commands import shell_text
from litakit.training.run_folder import ENDED, STATUS_FILE, RunFormatError, RunStatus, read_status
from litakit.training.runs import DEFAULT_ROOT, Run

LOG_LINES = 8
CELL_CHARACTERS = 80


@dataclass(frozen=True)
class RunTable:
    """Runs, newest first; shown as a table.

    Attributes:
        runs: them.
        root: folder that they are in.
    """

    runs: tuple[Run, ...]
    root: str

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, index: int) -> Run:
        return self.runs[index]

    def __repr__(self) -> str:
        if not self.runs:
            return f"no runs in {self.root}"
        rows = [("run", "state", "step", "updated", ""), *map(_row, self.runs)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join([*map(str.ljust, row, widths), row[4]]).rstrip() for row in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self.runs:
            return f"<p>no runs in <code>{escape(self.root)}</code></p>"
        head = "".join(f"<th>{name}</th>" for name in ("run", "state", "step", "updated", ""))
        body = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in _row(run))
            + "</tr>"
            for run in self.runs
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def list_runs(root: str | os.PathLike[str] = DEFAULT_ROOT) -> RunTable:
    """Return the runs in a folder, newest first; none where the folder is not there.

    Args:
        root: folder of the runs.
    """
    runs = [Run(path.parent.absolute()) for path in Path(root).glob(f"*/{STATUS_FILE}")]
    return RunTable(tuple(sorted(runs, key=_started, reverse=True)), str(root))


def run_text(run: Run) -> str:
    """Return what there is to say about a run, as a few lines."""
    status = _status(run)
    lines = [f"Run {run.id}: {_headline(run, status)}"]
    lines += [f"  {name:<8} {value}" for name, value in _facts(run, status)]
    if tail := _tail_of_failed(run, status):
        lines += ["  the last lines of its log:", *(f"    {line}" for line in tail.splitlines())]
    return "\n".join(lines)


def run_html(run: Run) -> str:
    """Return what there is to say about a run, as HTML."""
    status = _status(run)
    facts = "".join(
        f'<div><span style="opacity:.6">{escape(name)}</span> <code>{escape(value)}</code></div>'
        for name, value in _facts(run, status)
    )
    tail = _tail_of_failed(run, status)
    log = f"<pre>{escape(tail)}</pre>" if tail else ""
    return f"<div><div><b>Run {escape(run.id)}</b>: {escape(_headline(run, status))}</div>{facts}{log}</div>"


def _status(run: Run) -> RunStatus | str:
    """Return how far a run is, or in words why that cannot be read."""
    try:
        return run.status
    except (FileNotFoundError, RunFormatError) as error:
        return f"unreadable: {error}"


def _headline(run: Run, status: RunStatus | str) -> str:
    if isinstance(status, str):
        return status
    total = f" of {status.total_steps:,}" if status.total_steps else ""
    epoch = f" (epoch {status.epoch:.2f})" if status.epoch else ""
    stopping = ", stopping" if status.state not in ENDED and run.is_stopping else ""
    return f"{status.state}{stopping}, step {status.step:,}{total}{epoch}, {_ago(status.updated)}"


def _facts(run: Run, status: RunStatus | str) -> list[tuple[str, str]]:
    facts = [("folder", str(run.folder))]
    with suppress(FileNotFoundError, RunFormatError):  # a run that a scheduler started has none
        command = run.command
        facts += [("command", shell_text(command.argv, command.environment)), ("in", command.cwd)]
    if isinstance(status, RunStatus) and status.error is not None:
        error = status.error
        facts += [("cause", f"{error.kind.replace('_', ' ')}: {error.message}"), ("hint", error.hint)]
    return facts


def _tail_of_failed(run: Run, status: RunStatus | str) -> str:
    return run.log(LOG_LINES) if isinstance(status, RunStatus) and status.state == "failed" else ""


def _row(run: Run) -> tuple[str, str, str, str, str]:
    status = _status(run)
    if isinstance(status, str):
        return run.id, "unreadable", "", "", _short(status.removeprefix("unreadable: "))
    total = f"/{status.total_steps:,}" if status.total_steps else ""
    cause = "" if status.error is None else f"{status.error.kind.replace('_', ' ')}: {status.error.message}"
    return run.id, status.state, f"{status.step:,}{total}", _ago(status.updated), _short(cause)


def _started(run: Run) -> tuple[str, str]:
    try:
        return read_status(run.folder).started, run.id
    except RunFormatError:
        moment = datetime.fromtimestamp((run.folder / STATUS_FILE).stat().st_mtime, UTC)
        return moment.isoformat(timespec="milliseconds"), run.id


def _ago(moment: str) -> str:
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return "at an unknown time"
    for name, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name} ago"
    return f"{max(0, seconds):.0f} s ago"


def _short(text: str) -> str:
    return text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 3] + "..."
