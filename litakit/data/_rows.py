"""Tables of one's own: a row for each event or each question, as CSV or as JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from litakit.data._fields import field, number, text, words_of_json
from litakit.data.annotations import Annotation, AnnotationError, Pair, TimedCaption

COLUMNS = (
    "video, start, end, caption for events, or video, question, answer for questions "
    "(with start and end where the answer is a span), and duration if it is known"
)


def read_csv(path: Path) -> Iterator[Annotation]:
    """Read a table with a header: video, start, end, caption; or video, question, answer.

    Rows of one video become one annotation, in file order, wherever they stand.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, strict=True)
        try:
            names = table.fieldnames or []
            if "video" not in names or not (
                {"start", "end", "caption"} <= set(names) or {"question", "answer"} <= set(names)
            ):
                raise AnnotationError(
                    f"{path}:1: expected the columns {COLUMNS}; got {', '.join(names) or 'an empty file'}"
                )
            yield from _gathered(_csv_rows(path, table))
        except csv.Error as error:
            raise AnnotationError(f"{path}:{table.reader.line_num}: not CSV: {error}") from error


def read_json_lines(path: Path) -> Iterator[Annotation]:
    """Read one JSON object a line, its fields named as the columns of `read_csv`.

    Lines of one video become one annotation, in file order, wherever they stand.
    """
    yield from _gathered((f"{path}:{line}", entry) for line, entry in json_lines(path))


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each line that is not empty.

    Raises:
        AnnotationError: a line that is no JSON object.
    """
    with path.open("rb") as lines:
        for line_number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise AnnotationError(f"{path}:{line_number}: not a line of JSON: {error}") from error
            if not isinstance(entry, dict):
                raise AnnotationError(f"{path}:{line_number}: expected an object, got {words_of_json(entry)}")
            yield line_number, entry


def _csv_rows(path: Path, table: csv.DictReader[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in table:
        place = f"{path}:{table.line_num}"
        if None in row:
            raise AnnotationError(f"{place}: more values than the header has names; quote texts with commas")
        yield place, {name: value for name, value in row.items() if value not in (None, "")}


def _gathered(rows: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Annotation]:
    captions: dict[str, list[TimedCaption]] = {}
    pairs: dict[str, list[Pair]] = {}
    durations: dict[str, float | None] = {}
    for place, row in rows:
        video = field(row, "video", str, place)
        duration = number(row["duration"], f"{place}: duration") if "duration" in row else None
        known = durations.setdefault(video, duration)
        if known is None:
            durations[video] = duration
        elif duration is not None and duration != known:
            raise AnnotationError(f"{place}: {video} lasts {duration} s here and {known} s further up")
        span = _span_of(row, place)
        if "question" in row:
            answer = text(row.get("answer", ""), f"{place}: answer")
            times = f"<{span[0]}> <{span[1]}> " if span else ""
            pairs.setdefault(video, []).append(
                Pair(text(row["question"], f"{place}: question"), (times + answer).strip())
            )
        elif span:
            caption = text(row.get("caption", ""), f"{place}: caption")
            captions.setdefault(video, []).append(TimedCaption(*span, caption))
        else:
            raise AnnotationError(f"{place}: expected {COLUMNS}; got {', '.join(row)}")
    for video, duration in durations.items():
        yield Annotation(video, video, duration, tuple(captions.get(video, ())), tuple(pairs.get(video, ())))


def _span_of(row: dict[str, Any], place: str) -> tuple[float, float] | None:
    if "start" not in row and "end" not in row:
        return None
    return number(row.get("start"), f"{place}: start"), number(row.get("end"), f"{place}: end")
