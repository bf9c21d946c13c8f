"""Many questions from a file, answered video by video, as JSON lines that a new run continues."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litakit.rows import RowError, csv_rows, json_lines, resume_json_lines

if TYPE_CHECKING:
    from litakit.assistant.answer import Answer
    from litakit.assistant.loading import Assistant
    from litakit.assistant.session import VideoSession

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
    is_csv = path.suffix.lower() == ".csv"
    rows: Iterator[tuple[int, Mapping[str, Any]]] = (
        csv_rows(path, [("video", "question")]) if is_csv else json_lines(path)
    )
    questions = tuple(
        _question(
            {name: value for name, value in row.items() if value is not None},
            number,
            f"{path}:{line}",
            path.parent,
        )
        for number, (line, row) in enumerate(rows, 1)
    )
    if not questions:
        raise ValueError(f"{path} holds no questions: expected a CSV file with a header, or JSON lines")
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
    by_id = {question.id: question for question in questions}
    done: set[str] = set()

    def keep(line: int, record: dict[str, Any]) -> bool:
        """Say whether a line is the first answer to one of the questions."""
        place = f"{out}:{line}"
        _check_record(record, place)
        if "error" in record:
            return False
        _check_same(record, by_id, model, place)
        is_new = record["id"] not in done
        done.add(record["id"])
        return is_new

    try:
        resume_json_lines(out, keep)
    except RowError as error:
        raise ValueError(f"{error}: give another file to write to") from error
    return tuple(question for question in questions if question.id not in done)


def _question(row: Mapping[str, Any], number: int, place: str, beside: Path) -> VideoQuestion:
    unknown = sorted(set(row) - set(COLUMNS))
    if unknown:
        raise ValueError(f"{place}: unknown fields {unknown}, expected {COLUMNS}")
    texts = {}
    for name in ("video", "question"):
        value = row.get(name, "")
        if not isinstance(value, str):
            raise ValueError(f"{place}: {name} is no text: {value!r:.80}")  # noqa: TRY004
        texts[name] = value
    missing = [name for name, words in texts.items() if not words.strip()]
    if missing:
        raise ValueError(f"{place}: no {' and no '.join(missing)}")
    name = row.get("id", number)
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise ValueError(f"{place}: id is neither text nor a whole number: {name!r:.80}")  # noqa: TRY004
    numbers: dict[str, float] = {}
    for field in ("start", "end", "fps", "duration"):
        if field in row:
            numbers[field] = _number(row[field], f"{place}: {field}")
    video = Path(texts["video"])
    if not video.exists() and (beside / video).exists():
        video = beside / video
    return VideoQuestion(str(name), str(video), texts["question"], **numbers)


def _number(value: Any, place: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"{place} is no number: {value!r:.80}")
    if not math.isfinite(number):
        raise ValueError(f"{place} is not finite: {value!r}")
    return number


def _check_record(record: Mapping[str, Any], place: str) -> None:
    if not isinstance(record.get("id"), str) or "question" not in record:
        raise ValueError(f"{place} is no answer of `litakit ask`: give another file to write to")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{place} is of schema {record.get('schema_version')}, expected {SCHEMA_VERSION}: "
            "give another file to write to"
        )


def _check_same(
    record: Mapping[str, Any], by_id: Mapping[str, VideoQuestion], model: str, place: str
) -> None:
    question = by_id.get(record["id"])
    if question is None or any(record.get(name) != value for name, value in _asked(question).items()):
        raise ValueError(
            f"{place} answers another question under the id {record['id']!r}: "
            "give another file to write to, or ids that stay"
        )
    if record.get("model") != model:
        raise ValueError(
            f"{place} is of the model {record.get('model')!r}, not {model!r}: give another file to write to"
        )


def _asked(question: VideoQuestion) -> dict[str, Any]:
    """What a record says of its question, so that a changed one is not taken for answered."""
    asked = {name: getattr(question, name) for name in COLUMNS if name != "id"}
    asked["frames_duration"] = asked.pop("duration")  # "duration" is the video's own, in an answer
    return asked


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
