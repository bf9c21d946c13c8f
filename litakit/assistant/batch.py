"""Many questions from a file, answered video by video, as JSON lines that a new run continues."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litakit.files import write_atomic

if TYPE_CHECKING:
    from litakit.assistant.answer import Answer
    from litakit.assistant.loading import Assistant
    from litakit.assistant.session import VideoSession

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
COLUMNS = ("id", "video", "question", "start", "end", "fps", "duration")


@dataclass(frozen=True)
class VideoQuestion:
    """A question about a video, from a file.

    Attributes:
        id: unique in its file; its answer is found by it.
        video: file, folder of frames, or image.
        question: in words.
        start: first second of the part that is asked about; None for the beginning.
        end: its last second; None for the end.
        fps: frames a second, for a folder of frames.
        duration: seconds, for a folder of frames.
    """

    id: str
    video: str
    question: str
    start: float | None = None
    end: float | None = None
    fps: float | None = None
    duration: float | None = None

    @property
    def view(self) -> tuple[str | float | None, ...]:
        """What is looked at: questions that share it share an encoding."""
        return self.video, self.start, self.end, self.fps, self.duration


def read_questions(path: str | Path) -> tuple[VideoQuestion, ...]:
    """Return the questions of a CSV file with a header line, or of a file of JSON lines.

    Both have the fields `video` and `question`, and may have `id`, `start`, `end`, `fps` and `duration`.
    Without an `id` it is the number of the question in the file, from 1. A video that is not where it says is
    looked for beside the file.

    Raises:
        ValueError: a line is not readable, lacks a field or has an unknown one, or an id occurs twice.
        OSError: the file cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#x}"
        ) from None
    is_csv = path.suffix.lower() == ".csv"
    rows = list(_csv_rows(io.StringIO(text, newline=""), path) if is_csv else _json_rows(text, path))
    if not rows:
        raise ValueError(f"{path} holds no questions: expected a CSV file with a header, or JSON lines")
    questions = tuple(_question(row, number, path) for number, row in enumerate(rows, 1))
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise ValueError(f"{path}: the id {question.id!r} occurs twice; an id must be unique")
        seen.add(question.id)
    return questions


def answer_questions(
    assistant: Assistant,
    questions: Sequence[VideoQuestion],
    model: str,
    *,
    on_answer: Callable[[Answer], None] | None = None,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Yield a record for each question: its answer, or `error` with the reason why there is none.

    Questions about the same view of a video come together, in the order of their first; each is asked on its
    own.

    Args:
        assistant: answers.
        questions: of any videos.
        model: what the records say answered.
        on_answer: is shown every answer before its record.
        **options: of `VideoSession.ask`.
    """
    views: dict[tuple[str | float | None, ...], list[VideoQuestion]] = {}
    for question in questions:
        views.setdefault(question.view, []).append(question)
    for group in views.values():
        session: VideoSession | None = None
        failure = ""
        try:
            first = group[0]
            session = assistant.open(
                first.video, start=first.start, end=first.end, fps=first.fps, duration=first.duration
            )
        except (ValueError, OSError, RuntimeError) as error:
            failure = _reason(error)
        for question in group:
            record: dict[str, Any] = {
                "schema_version": SCHEMA_VERSION,
                "id": question.id,
                "model": model,
                **{name: value for name, value in _asked(question).items() if value is not None},
            }
            if session is None:
                yield {**record, "error": failure}
                continue
            session.reset()
            try:
                answer = session.ask(question.question, **options)
            except (ValueError, OSError, RuntimeError) as error:
                yield {**record, "error": _reason(error)}
                continue
            if on_answer is not None:
                on_answer(answer)
            yield {**record, "duration": session.info.duration, **answer_fields(answer)}


def answer_fields(answer: Answer) -> dict[str, Any]:
    """Return what a line says of an answer."""
    return {
        "text": answer.text,
        "spans": span_records(answer),
        "raw_text": answer.raw_text,
        "truncated": answer.truncated,
        "notes": list(answer.notes),
    }


def span_records(answer: Answer) -> list[dict[str, float | None]]:
    """Return the spans of an answer as JSON has them, in seconds."""
    return [
        {"start": span.start, "end": span.end, "confidence": None if sure is None else round(sure, 4)}
        for span, sure in zip(answer.spans, answer.confidence, strict=True)
    ]


def open_questions(
    out: str | Path, questions: Sequence[VideoQuestion], model: str
) -> tuple[VideoQuestion, ...]:
    """Return the questions that a file of answers does not answer yet, and ready the file to be appended to.

    Failures, and a last line that a killed run left unfinished, are taken out of it: they are tried again.

    Raises:
        ValueError: the file holds something else than answers of this model to these questions.
        OSError: it cannot be read or written.
    """
    path = Path(out)
    if not path.is_file():  # a pipe or device has nothing to go on from, and might be read for ever
        return tuple(questions)
    content = path.read_bytes()
    # Bytes, because a killed run may have left half a character at the end; and split at line ends only,
    # because JSON strings may hold other characters that str.splitlines would split at.
    lines = content.removesuffix(b"\n").split(b"\n")
    by_id = {question.id: question for question in questions}
    done: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _read_record(line, path, number, last=number == len(lines))
        if record is None or "error" in record:
            continue
        _check_same(record, by_id, model, path, number)
        done[record["id"]] = line
    kept = b"".join(line + b"\n" for line in done.values())
    if kept != content:
        write_atomic(path, kept)
    return tuple(question for question in questions if question.id not in done)


def _csv_rows(file: Iterable[str], path: Path) -> Iterator[Mapping[str, Any]]:
    reader = csv.DictReader(file, strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(
                    f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or ())} values, "
                    f"got {dict(row)}"
                )
            yield {name: value for name, value in row.items() if value != ""}
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not CSV: {error}") from error


def _json_rows(text: str, path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(  # noqa: TRY004
                f"{path}, line {number}: expected an object with 'video' and 'question'"
            )
        yield {name: value for name, value in row.items() if value is not None}


def _question(row: Mapping[str, Any], number: int, path: Path) -> VideoQuestion:
    unknown = sorted(set(row) - set(COLUMNS))
    missing = [name for name in ("video", "question") if not str(row.get(name, "")).strip()]
    if unknown or missing:
        raise ValueError(
            f"{path}, question {number}: "
            + (
                f"unknown fields {unknown}, expected {COLUMNS}"
                if unknown
                else f"no {' and no '.join(missing)}"
            )
        )
    numbers: dict[str, float] = {}
    for name in ("start", "end", "fps", "duration"):
        if name in row:
            try:
                numbers[name] = float(row[name])
            except (TypeError, ValueError):
                raise ValueError(f"{path}, question {number}: {name} is no number: {row[name]!r}") from None
            if not math.isfinite(numbers[name]):
                raise ValueError(f"{path}, question {number}: {name} is not finite: {row[name]!r}")
    video = Path(str(row["video"]))
    beside = path.parent / video
    if not video.exists() and beside.exists():
        video = beside
    return VideoQuestion(str(row.get("id", number)), str(video), str(row["question"]), **numbers)


def _read_record(line: bytes, path: Path, number: int, last: bool) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        if not isinstance(record, dict) or "id" not in record or "question" not in record:
            raise ValueError(
                f"{path}, line {number} is no answer of `litakit ask`: give another file to write to"
            )
    except (json.JSONDecodeError, UnicodeDecodeError):
        if last:
            logger.warning("%s: the last line is unfinished and is made anew", path)
            return None
        raise ValueError(f"{path}, line {number} is no JSON: give another file to write to") from None
    if record.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path}, line {number} is of schema {record.get('schema_version')}, expected {SCHEMA_VERSION}: "
            "give another file to write to"
        )
    return record


def _check_same(
    record: Mapping[str, Any], by_id: Mapping[str, VideoQuestion], model: str, path: Path, number: int
) -> None:
    question = by_id.get(record["id"])
    if question is None or any(record.get(name) != value for name, value in _asked(question).items()):
        raise ValueError(
            f"{path}, line {number} answers another question under the id {record['id']!r}: "
            "give another file to write to, or ids that stay"
        )
    if record["model"] != model:
        raise ValueError(
            f"{path}, line {number} is of the model {record['model']!r}, not {model!r}: "
            "give another file to write to"
        )


def _asked(question: VideoQuestion) -> dict[str, Any]:
    """What a record says of its question, so that a changed one is not taken for answered."""
    asked = {name: getattr(question, name) for name in COLUMNS if name != "id"}
    asked["frames_duration"] = asked.pop("duration")  # "duration" is the video's own, in an answer
    return asked


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
