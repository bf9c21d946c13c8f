"""Mixture: samples drawn from prepared files, each draw a pure function of seed, epoch and number."""

from __future__ import annotations

import json
import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from hashlib import blake2b
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any, Self, overload

from pydantic_core import from_json

from litakit.data._sample_index import SampleIndex, open_index
from litakit.data.prepare import MIXTURE_FILE, SCHEMA_VERSION
from litakit.data.samples import Sample, from_record

DRAWS = struct.Struct("<5Q")
NUMBER = struct.Struct("<3q")


@dataclass(frozen=True)
class Draw:
    """Which sample a number stands for.

    Attributes:
        source: place among the mixture's sources.
        row: of its file.
        way: in which the question is put; to be counted round.
    """

    source: int
    row: int
    way: int


class Source:
    """Prepared samples of a data set's split for a task, drawn with a weight."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.task: str = record["task"]
        self.dataset: str = record["dataset"]
        self.split: str = record["split"]
        self.task_weight: float = record["task_weight"]
        self.weight: float = record["weight"]
        self.path = folder / record["file"]
        self.index: SampleIndex = open_index(self.path, by_video=self.task == "event_loc")
        if self.index.num_samples != record["num_samples"]:
            raise ValueError(
                f"{self.path} holds {self.index.num_samples} samples, {MIXTURE_FILE} says "
                f"{record['num_samples']}: prepare the mixture anew"
            )
        self._map: mmap.mmap | None = None

    def record(self, row: int) -> dict[str, Any]:
        """Return a line's record."""
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start, end = self.index.place(row)
        record: dict[str, Any] = from_json(self._map[start:end])
        return record

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}


class Mixture(Sequence[Sample]):
    """What `litakit data prepare` wrote, as a sequence of samples drawn with replacement.

    `mixture[i]` is a pure function of the seed, the epoch and `i`: the same on every machine, in whatever
    order it is asked, so that a run can go on exactly where it was. A draw chooses a task by the weights of
    the tasks, a source by the weights of the task's sources, and then as published: for event localization a
    video and one of its events, for every other task one of the samples; and a way to put the question.

    Args:
        folder: what `prepare` wrote.
        seed: another seed is another order.
        epoch: which epoch this is, from 0.
        epoch_size: samples in an epoch; None takes the mixture's own.

    Raises:
        ValueError: no such mixture, one of another schema, a source without samples, or a broken line in a
            file, with its number.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        seed: int = 0,
        epoch: int = 0,
        epoch_size: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        record = _read(self.folder)
        self.name: str = record["name"]
        self.num_epochs: int = record["num_epochs"]
        self.seed = seed
        self.epoch = epoch
        self.epoch_size: int = record["epoch_size"] if epoch_size is None else epoch_size
        if not -(2**63) <= seed < 2**63:
            raise ValueError(f"expected a seed of 64 bits, got {seed}")
        if self.epoch_size < 1 or epoch < 0:
            raise ValueError(f"expected an epoch from 0 and a size from 1, got {epoch} and {self.epoch_size}")
        self.sources = tuple(Source(self.folder, entry) for entry in record["sources"])
        for source in self.sources:
            if not source.index.num_samples:
                raise ValueError(
                    f"{source.path} holds no samples, and a mixture draws from every source: take "
                    f"{source.dataset} out of it"
                )
        self._task_sources = _by_task(self.sources)
        self._task_bounds = _bounds([sources[0][1].task_weight for sources in self._task_sources])
        self._source_bounds = [
            _bounds([source.weight for _, source in sources]) for sources in self._task_sources
        ]

    def __len__(self) -> int:
        return self.epoch_size

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Return the sample of a number in [0, epoch_size); negative numbers count from the end.

        Raises:
            IndexError: outside the epoch.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self.epoch_size))]
        draw = self.draw(index)
        return from_record(self.sources[draw.source].record(draw.row), draw.way)

    def draw(self, index: int) -> Draw:
        """Return which sample a number stands for, without reading it; errors as `mixture[index]`."""
        place = index + self.epoch_size if index < 0 else index
        if not 0 <= place < self.epoch_size:
            raise IndexError(f"sample {index} of an epoch of {self.epoch_size}")
        digest = blake2b(NUMBER.pack(self.seed, self.epoch, place), digest_size=DRAWS.size).digest()
        for_task, for_source, for_group, for_row, way = DRAWS.unpack(digest)
        task = bisect_right(self._task_bounds, for_task)
        source = bisect_right(self._source_bounds[task], for_source)
        number, chosen = self._task_sources[task][source]
        return Draw(number, chosen.index.row(for_group, for_row), way)

    def at(self, epoch: int) -> Self:
        """Return the same mixture in another epoch, counted from 0."""
        other = copy(self)
        other.epoch = epoch
        return other

    def describe(self) -> MixtureTable:
        """Return what this epoch really draws, counted."""
        draws: list[list[int]] = [[] for _ in self.sources]
        for index in range(self.epoch_size):
            draw = self.draw(index)
            draws[draw.source].append(draw.row)
        total = sum(sources[0][1].task_weight for sources in self._task_sources)
        task_weights = {
            sources[0][1].task: sum(source.weight for _, source in sources) for sources in self._task_sources
        }
        rows = tuple(
            MixtureRow(
                task=source.task,
                dataset=source.dataset,
                split=source.split,
                share=source.task_weight / total * source.weight / task_weights[source.task],
                drawn=len(rows),
                different=len(set(rows)),
                samples=source.index.num_samples,
            )
            for source, rows in zip(self.sources, draws, strict=True)
        )
        return MixtureTable(self.name, self.seed, self.epoch, rows)


@dataclass(frozen=True)
class MixtureRow:
    """What an epoch draws of one source.

    Attributes:
        task: the task.
        dataset: the data set.
        split: of it.
        share: of all draws, by the weights.
        drawn: samples that this epoch draws.
        different: of those, counted once each.
        samples: that there are.
    """

    task: str
    dataset: str
    split: str
    share: float
    drawn: int
    different: int
    samples: int


@dataclass(frozen=True)
class MixtureTable:
    """What an epoch draws; it prints as a table."""

    name: str
    seed: int
    epoch: int
    rows: tuple[MixtureRow, ...]

    def cells(self) -> list[list[str]]:
        """Return the table: a head, and a row for each source."""
        head = ["task", "data set", "split", "share", "drawn", "different", "of", "seen"]
        return [head] + [
            [
                row.task,
                row.dataset,
                row.split,
                f"{row.share:.1%}",
                f"{row.drawn:,}",
                f"{row.different:,}",
                f"{row.samples:,}",
                f"{row.different / row.samples:.1%}",
            ]
            for row in self.rows
        ]

    def __str__(self) -> str:
        cells = self.cells()
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]
        return "\n".join([f"{self.name}, seed {self.seed}, epoch {self.epoch}", *lines])

    def _repr_html_(self) -> str:
        head, *rows = self.cells()
        top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return (
            f"<table><caption>{escape(self.name)}, seed {self.seed}, epoch {self.epoch}</caption>"
            f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
        )


def _read(folder: Path) -> dict[str, Any]:
    path = folder / MIXTURE_FILE
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(
            f"{folder} holds no prepared mixture ({MIXTURE_FILE}: {error.strerror}): `litakit data prepare` "
            "makes one"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}; prepare the mixture anew") from error
    if record.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path} is of schema {record.get('schema_version')!r}, expected {SCHEMA_VERSION}: prepare the "
            "mixture anew"
        )
    return record


def _by_task(sources: Sequence[Source]) -> list[list[tuple[int, Source]]]:
    tasks: dict[str, list[tuple[int, Source]]] = {}
    for number, source in enumerate(sources):
        tasks.setdefault(source.task, []).append((number, source))
    return list(tasks.values())


def _bounds(weights: Sequence[float]) -> list[int]:
    """Return the inner borders of stretches of [0, 2**64) that are as long as the weights ask for."""
    total = sum(weights)
    return [int(share / total * 2**64) for share in accumulate(weights)][:-1]
