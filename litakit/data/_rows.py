"""Tables of one's own: a row for each event or each question, as CSV or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from litakit.data._fields import field, number, text
from litakit.data.annotations import Annotation, AnnotationError, Pair, TimedCaption
from litakit.rows import csv_rows, json_lines
from litakit.timestamps import write_timestamp

EVENTS = ("video", "start", "end", "caption")
QUESTIONS = ("video", "question", "answer")
FIELDS = (
    "video, start, end, caption for events, or video, question, answer for questions "
    "(with start and end where the answer is a span), and duration if it is known"
)

Row = tuple[int, Mapping[str, Any]]


def read_csv(path: Path) -> Iterator[Annotation]:
    """Read a table with a header: video, start, end, caption; or video, question, answer.

    Rows of one video become one annotation, in file order, wherever they stand.
    """
    yield from _gathered(path, csv_rows(path, (EVENTS, QUESTIONS)))


def read_json_lines(path: Path) -> Iterator[Annotation]:
    """Read one JSON object a line, its fields named as the columns of `read_csv`; null is as good as none.

    Lines of one video become one annotation, in file order, wherever they stand.
    """
    rows = json_lines(path)
    yield from _gathered(
        path,
        ((line, {name: value for name, value in row.items() if value is not None}) for line, row in rows),
    )


def _gathered(path: Path, rows: Iterable[Row]) -> Iterator[Annotation]:
    captions: dict[str, list[TimedCaption]] = {}
    pairs: dict[str, list[Pair]] = {}
    durations: dict[str, float | None] = {}
    for line, row in rows:
        place = f"{path}:{line}"
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
            times = _timestamps(span, place) if span else ""
            pairs.setdefault(video, []).append(
                Pair(text(row["question"], f"{place}: question"), (times + answer).strip())
            )
        elif span:
            caption = text(row.get("caption", ""), f"{place}: caption")
            captions.setdefault(video, []).append(TimedCaption(*span, caption))
        else:
            raise AnnotationError(f"{place}: expected {FIELDS}; got {', '.join(row)}")
    for video, duration in durations.items():
        yield Annotation(video, video, duration, tuple(captions.get(video, ())), tuple(pairs.get(video, ())))


def _span_of(row: Mapping[str, Any], place: str) -> tuple[float, float] | None:
    if "start" not in row and "end" not in row:
        return None
    return number(row.get("start"), f"{place}: start"), number(row.get("end"), f"{place}: end")


def _timestamps(span: tuple[float, float], place: str) -> str:
    if min(span) < 0:
        raise AnnotationError(f"{place}: expected times from 0 s on in an answer, got {min(span)} s")
    return "".join(f"{write_timestamp(seconds)} " for seconds in span)
