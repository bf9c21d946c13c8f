"""What a run's log says: its last lines, and why the run ended."""

from __future__ import annotations

import shutil
from pathlib import Path

from litakit.training.failures import Failure, diagnose
from litakit.training.processes import boot
from litakit.training.run_folder import EXIT_FILE, LOG_FILE, RunExit, RunProcess, RunStatus, read_record

TAIL_BYTES = 262_144
LEAST_FREE_BYTES = 65_536
RESUME_HINT = "resume goes on from its last checkpoint"


def last_lines_of(path: Path, count: int | None) -> list[str]:
    """Return the last lines of a log.

    Args:
        path: the log; there may be none yet.
        count: how many, of its last 256 KiB; None for all there are.
    """
    if not path.is_file():
        return []
    size = path.stat().st_size
    lines = shown_lines(_read_from(path, 0 if count is None else max(0, size - TAIL_BYTES)))
    return lines if count is None else lines[max(0, len(lines) - count) :]


def shown_lines(content: bytes) -> list[str]:
    r"""Return the lines of a text as a terminal shows them: what a line was written over with counts.

    >>> shown_lines(b"start\n 10% \r 20% \r\nend\n")
    ['start', ' 20% ', 'end']
    """
    lines = content.decode("utf-8", errors="replace").split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.rstrip("\r").rpartition("\r")[2] for line in lines]


def cause_of_end(folder: Path, status: RunStatus, process: RunProcess | None) -> Failure:
    """Return why a run has ended whose processes are gone without having said that they end.

    Args:
        folder: of the run.
        status: the last that it said.
        process: that led it, where one is known.
    """
    path = folder / LOG_FILE
    text = ""
    if path.is_file():
        begin = process.log_offset if process is not None else 0
        text = _read_from(path, max(begin, path.stat().st_size - TAIL_BYTES)).decode(
            "utf-8", errors="replace"
        )
    try:
        returncode = read_record(folder / EXIT_FILE, RunExit).returncode
    except FileNotFoundError:
        returncode = None
    found = diagnose(text, returncode)
    if found is not None and (returncode is not None or found.kind != "error"):
        return found
    birth = process.birth if process is not None else status.birth
    if birth and boot() and not birth.startswith(boot()):
        return Failure("killed", "the machine was restarted", RESUME_HINT)
    if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:  # then the log is the first to fall silent
        hint = f"make room; {RESUME_HINT}"
        return Failure("disk_full", f"no room is left on the disk of {folder}", hint)
    last = last_lines_of(path, 1)
    said = f"; the last line of its log: {last[0]}" if last else ""
    hint = f"killed from outside, for want of memory perhaps (see `dmesg`); {RESUME_HINT}"
    return Failure("killed", f"its processes are gone, and none of them could say why{said}", hint)


def _read_from(path: Path, begin: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read()
