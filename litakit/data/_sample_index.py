"""Where each sample lies in a file of JSON lines: made once, kept beside the file, opened at once."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from pydantic_core import from_json

from litakit.files import write_atomic

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
FIELDS = frozenset({"schema_version", "id", "video", "task", "messages", "subjects", "style"})


@dataclass(frozen=True, eq=False)
class SampleIndex:
    """The lines of a file, and which of them belong together.

    Attributes:
        offsets: (N + 1,) int64, where each line begins, and the end of the file.
        rows: (N,) int64, all rows, those of a group side by side.
        groups: (G + 1,) int64, where each group begins in `rows`, and N.
    """

    offsets: np.ndarray
    rows: np.ndarray
    groups: np.ndarray

    @property
    def num_samples(self) -> int:
        """Lines of the file, N."""
        return len(self.offsets) - 1

    @property
    def num_groups(self) -> int:
        """Groups of rows, G."""
        return len(self.groups) - 1

    def place(self, row: int) -> tuple[int, int]:
        """Return the bytes of a row, first and behind the last."""
        return int(self.offsets[row]), int(self.offsets[row + 1])

    def row(self, for_group: int, for_row: int) -> int:
        """Return a row by two numbers in [0, 2**64): one chooses the group, the other a row of it."""
        number = for_group * self.num_groups >> 64
        first = int(self.groups[number])
        count = int(self.groups[number + 1]) - first
        return int(self.rows[first + (for_row * count >> 64)])


def open_index(path: Path, *, by_video: bool) -> SampleIndex:
    """Return the index of a file of samples: the one kept beside it if it is of this file, else a new one.

    Args:
        path: of the samples.
        by_video: whether the rows of one video are a group; else each row is one.

    Raises:
        ValueError: a file that cannot be read, or a line that is no sample, with its number.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ValueError(
            f"{path}: samples that the mixture names cannot be read ({error.strerror}); prepare it anew"
        ) from error
    kept = path.with_name(path.name + ".index.npz")
    stamp = np.array([SCHEMA_VERSION, by_video, state.st_size, state.st_mtime_ns], dtype=np.int64)
    index = _load(kept, stamp)
    if index is None:
        index = _make(path, by_video=by_video)
        content = io.BytesIO()
        np.savez(content, stamp=stamp, offsets=index.offsets, rows=index.rows, groups=index.groups)
        try:
            write_atomic(kept, content.getvalue())
        except OSError as error:
            logger.warning("the index of %s cannot be kept (%s): it is made each time", path, error)
    return index


def _load(kept: Path, stamp: np.ndarray) -> SampleIndex | None:
    try:
        with kept.open("rb") as raw, np.load(raw) as file:
            if not np.array_equal(file["stamp"], stamp):
                return None
            return SampleIndex(file["offsets"], file["rows"], file["groups"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        logger.warning("%s cannot be read (%s): made anew", kept, error)
        return None


def _make(path: Path, *, by_video: bool) -> SampleIndex:
    lengths: list[int] = []
    group_of_row: list[int] = []
    group_of_video: dict[str, int] = {}
    with path.open("rb") as file:
        for row, line in enumerate(file):
            try:
                record = from_json(line)
            except ValueError as error:
                raise ValueError(f"{path}:{row + 1}: not a line of JSON: {error}") from error
            if not isinstance(record, dict) or not record.keys() >= FIELDS:
                absent = sorted(FIELDS - set(record)) if isinstance(record, dict) else sorted(FIELDS)
                raise ValueError(f"{path}:{row + 1}: not a sample: it lacks {', '.join(absent)}")
            lengths.append(len(line))
            if by_video:
                group_of_row.append(group_of_video.setdefault(record["video"], len(group_of_video)))
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(np.array(lengths, dtype=np.int64), out=offsets[1:])
    if not by_video:
        every = np.arange(len(lengths) + 1)
        return SampleIndex(offsets, every[:-1], every)
    numbers = np.array(group_of_row, dtype=np.int64)
    rows = np.argsort(numbers, kind="stable")
    return SampleIndex(offsets, rows, np.searchsorted(numbers[rows], np.arange(len(group_of_video) + 1)))
